//! One dead letter, as it is stored: the task as it ended, under namespace, NUL, queue, NUL, task id.

use bytes::Bytes;
use mcp_engine::QueueKey;
use mcp_proto::TaskId;

use crate::store::{self, Stored};

/// Bytes of a task id.
const ID_LEN: usize = 16;

/// A dead letter.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    /// The task as it ended.
    pub(crate) task: Stored,
}

impl Letter {
    /// Reads a letter.
    ///
    /// # Errors
    /// [`store::Error::Corrupt`].
    pub(crate) fn decode(key: &[u8], value: &Bytes) -> Result<Self, store::Error> {
        let id = key.last_chunk::<ID_LEN>().map(|id| TaskId::from_u128(u128::from_be_bytes(*id)));
        let id = id.ok_or_else(|| store::Error::Corrupt {
            key: key.escape_ascii().to_string(),
            reason: "it names no task".to_owned(),
        })?;
        Ok(Self { task: Stored::decode(id, value)? })
    }

    /// Name of the error that ended the task.
    pub(crate) fn error_name(&self) -> &str {
        self.task.moving.error.as_ref().map_or("", |error| error.name.as_str())
    }

    /// When the task was given up, milliseconds since 1970.
    pub(crate) fn time(&self) -> u64 {
        self.task.moving.finish_ms
    }
}

/// What the keys of a queue's letters begin with.
pub(crate) fn letter_prefix(queue: &QueueKey) -> Vec<u8> {
    [queue.namespace.as_bytes(), &[0], queue.queue.as_bytes(), &[0]].concat()
}

/// Where the letter of a task is stored. Those of a queue are in the order of their ids.
pub(crate) fn letter_key(queue: &QueueKey, id: TaskId) -> Bytes {
    let mut key = letter_prefix(queue);
    key.extend_from_slice(&id.as_u128().to_be_bytes());
    key.into()
}

#[cfg(test)]
mod tests {
    use mcp_proto::{
        common::v1::Error,
        scheduler::v1::{TaskSpec, TaskState},
    };

    use super::*;
    use crate::store::{Fixed, Moving};

    #[test]
    fn a_letter_comes_back_under_its_key() {
        let queue = QueueKey { namespace: "n".into(), queue: "q".into() };
        let id = TaskId::new(7, 0, 3, 9);
        let error = Some(Error { name: "BOOM".to_owned(), ..Error::default() });
        let moving = Moving { state: TaskState::Failed.into(), finish_ms: 5, error, ..Moving::default() };
        let fixed = Fixed::encode(TaskSpec::default(), 0, 0, "", None).0;
        let mut value = Vec::new();
        Stored::encode(&fixed, &moving, &mut value);
        let key = letter_key(&queue, id);
        assert!(key.starts_with(&letter_prefix(&queue)));
        let letter = Letter::decode(&key, &value.into()).unwrap();
        assert_eq!((letter.task.id, letter.error_name(), letter.time()), (id, "BOOM", 5));
        assert!(Letter::decode(b"short", &Bytes::new()).is_err());
    }
}
