//! Taking over what the store holds.

use mcp_engine::{AttemptCount, Engine, Idempotency, RestoredTask, State, Token};
use mcp_proto::scheduler::v1::TaskState;

use super::live::engine_id;
use crate::{
    store::{self, Loaded, PartitionStore, Stored},
    validate::{Names, submission_of},
};

/// How much was taken over.
#[derive(Debug, Default)]
pub(super) struct Restored {
    pub(super) tasks: usize,
    pub(super) keys: usize,
}

/// Fills a new engine with the unfinished tasks and the idempotency keys of a partition, and opens it.
///
/// # Errors
/// The store cannot be read, or a record makes no sense.
pub(super) fn restore(engine: &mut Engine, store: &dyn PartitionStore, now: u64) -> Result<Restored, store::Error> {
    let mut names = Names::default();
    let mut restored = Restored::default();
    let mut fault = None;
    store.load(now, &mut |loaded| match loaded {
        Loaded::Unfinished(stored) => match task(&mut names, &stored) {
            Ok(task) => {
                engine.restore(task);
                restored.tasks += 1;
            }
            Err(error) => drop(fault.get_or_insert(error)),
        },
        Loaded::Key(key) => {
            let queue = names.queue(&key.namespace, &key.queue);
            let idempotency = Idempotency { key: key.key.into(), body_hash: key.body_hash };
            engine.remember(&queue, idempotency, engine_id(key.task), key.forget_at);
            restored.keys += 1;
        }
    })?;
    if let Some(error) = fault {
        return Err(error);
    }
    engine.opened(now);
    Ok(restored)
}

fn task(names: &mut Names, stored: &Stored) -> Result<RestoredTask, store::Error> {
    let Stored { id, fixed, moving } = stored;
    let spec = fixed.decode_spec()?;
    let mut submission = submission_of(names, &spec, engine_id(*id), fixed);
    submission.not_before = moving.not_before;
    let state = match moving.state() {
        TaskState::Pending => State::Pending,
        TaskState::Scheduled => State::Scheduled,
        TaskState::Retrying => State::Retrying,
        other => {
            let reason = format!("an unfinished task is recorded as {}", other.as_str_name());
            return Err(store::Error::Corrupt { key: id.to_string(), reason });
        }
    };
    let void = (moving.void_epoch != 0).then_some(Token { epoch: moving.void_epoch, sequence: moving.void_sequence });
    Ok(RestoredTask {
        submission,
        attempts: AttemptCount { started: moving.started, failed: moving.failed, lost: moving.lost },
        state,
        cancel_requested: moving.cancel_requested,
        void,
    })
}
