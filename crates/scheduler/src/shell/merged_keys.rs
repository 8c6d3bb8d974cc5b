//! Idempotency keys of submits that were merged into a task, whose unique key they have.
//!
//! The key of a task's own submit is written with the task. That of a merged one has an entry, which expires with it.

use mcp_engine::{Idempotency, QueueKey, Submission};
use mcp_proto::TaskId;
use prost::Message as _;

use super::{live::engine_id, request::Restored};
use crate::store::{self, Entry, Table};

/// The value of an entry.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Value {
    /// The task's id, as in keys.
    #[prost(bytes = "vec", tag = "1")]
    task: Vec<u8>,
    /// Hash of what was submitted.
    #[prost(fixed64, tag = "2")]
    body_hash: u64,
    /// Until when it is remembered, milliseconds since 1970.
    #[prost(uint64, tag = "3")]
    forget_at: u64,
}

/// The entry to write for a submit with an idempotency key that was merged into `task` at `now`.
pub(super) fn entry(submission: &Submission, task: TaskId, now: u64) -> Option<Entry> {
    let Submission { queue, idempotency, .. } = submission;
    let Idempotency { key, body_hash, window } = idempotency.as_ref()?;
    let forget_at = now.saturating_add(*window);
    let value = Value { task: task.as_u128().to_be_bytes().to_vec(), body_hash: *body_hash, forget_at };
    let parts = [queue.namespace.as_bytes(), queue.queue.as_bytes(), key.as_bytes()];
    Some(Entry {
        table: Table::MergedKey,
        key: parts.join(&0).into(),
        value: value.encode_to_vec().into(),
        expires_ms: forget_at,
    })
}

/// What an entry means to the engine.
///
/// # Errors
/// [`store::Error::Corrupt`].
pub(super) fn restored(entry: &Entry) -> Result<Restored, store::Error> {
    let corrupt =
        |reason: &str| store::Error::Corrupt { key: entry.key.escape_ascii().to_string(), reason: reason.to_owned() };
    let Value { task, body_hash, forget_at } =
        Value::decode(&entry.value[..]).map_err(|error| corrupt(&error.to_string()))?;
    let task = <[u8; 16]>::try_from(task).map_err(|_| corrupt("not the id of a task"))?;
    let texts: Option<Vec<&str>> =
        entry.key.splitn(3, |byte| *byte == 0).map(|part| str::from_utf8(part).ok()).collect();
    let Some(&[namespace, queue, key]) = texts.as_deref() else { return Err(corrupt("not an idempotency key")) };
    Ok(Restored::Key {
        queue: QueueKey { namespace: namespace.into(), queue: queue.into() },
        // The window counts for new keys only; this one has its end.
        idempotency: Idempotency { key: key.into(), body_hash, window: 0 },
        task: engine_id(TaskId::from_u128(u128::from_be_bytes(task))),
        forget_at,
    })
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::{HandlerWork, TaskSpec, task_spec::Work};

    use super::*;
    use crate::{config::Settings, validate::Intake};

    #[test]
    fn a_key_comes_back_as_it_was() {
        let spec = TaskSpec {
            queue: "q".to_owned(),
            work: Some(Work::Handler(HandlerWork { handler: "h".to_owned(), input: None })),
            idempotency_key: "a key\0with a NUL".to_owned(),
            ..TaskSpec::default()
        };
        let submission = Intake::new(&Settings::default(), 0, "").single(Some(spec)).unwrap().submission;
        let task = TaskId::new(1, 2, 3, 4);
        let written = entry(&submission, task, 1_000).unwrap();
        let asked = submission.idempotency.unwrap();
        let Restored::Key { queue, idempotency, task: restored, forget_at } = restored(&written).unwrap() else {
            panic!("not a key")
        };
        assert_eq!((queue, restored, forget_at), (submission.queue, engine_id(task), written.expires_ms));
        assert_eq!((idempotency.key, idempotency.body_hash), (asked.key, asked.body_hash));
        assert_eq!(forget_at, 1_000 + asked.window);
        let cut = Entry { key: bytes::Bytes::from_static(b"n"), ..written };
        assert!(super::restored(&cut).is_err());
    }
}
