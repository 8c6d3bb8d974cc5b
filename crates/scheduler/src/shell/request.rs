//! What the partition's loop is asked to do, and what comes back.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use mcp_engine::{Outcome, RunningAttempt, WorkerId, WorkerSpec};
use mcp_proto::{
    TaskId,
    common::v1::Error as WireError,
    scheduler::v1::{LogLine, Progress, TaskState},
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::outbox::Outbox;
use crate::{error::Error, validate::NewTask};

/// An answer to come. It is sent after the commit, or with the reason why there was none.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// Something in the inbox.
#[derive(Debug)]
pub(super) enum Request {
    /// Store tasks: all or none.
    Submit(Submit),
    /// End a task.
    Cancel(Cancel),
    /// A worker opens a session.
    Join(Join),
    /// A worker says something.
    Input(Input),
    /// A session ended.
    Leave(SessionRef),
    /// The ownership was claimed again under this epoch.
    Advance {
        /// The new epoch.
        epoch: u64,
        /// Tells whether the store took it.
        reply: Reply<()>,
    },
    /// Finish what is in the inbox, then end.
    Stop,
}

/// Tasks to store.
#[derive(Debug)]
pub(super) struct Submit {
    /// The tasks, at least one.
    pub(super) tasks: Vec<NewTask>,
    /// Where they are in the request, for errors: `task`, or `tasks[n]`.
    pub(super) is_batch: bool,
    /// Their share of the inbox's bytes.
    pub(super) _admitted: OwnedSemaphorePermit,
    /// One answer for all.
    pub(super) reply: Reply<Vec<Accepted>>,
}

/// A task that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its id, or that of the task submitted earlier under its key.
    pub(crate) id: TaskId,
    /// Where it stands; `None` when it is final already.
    pub(crate) state: Option<TaskState>,
    /// It was submitted earlier.
    pub(crate) deduplicated: bool,
}

/// A task to end.
#[derive(Debug)]
pub(super) struct Cancel {
    /// The task.
    pub(super) id: TaskId,
    /// Why; may be empty.
    pub(super) reason: String,
    /// False when no unfinished task has this id.
    pub(super) reply: Reply<bool>,
}

/// A worker that opens a session.
#[derive(Debug)]
pub(super) struct Join {
    /// Who it is and what it can run.
    pub(super) hello: Hello,
    /// Where its orders go.
    pub(super) outbox: Arc<Outbox>,
    /// The session.
    pub(super) reply: Reply<Joined>,
}

/// Who a worker is and what it can run.
#[derive(Debug)]
pub(crate) struct Hello {
    /// The id it chose, as text.
    pub(crate) worker_id: Arc<str>,
    /// What it serves.
    pub(crate) spec: WorkerSpec,
    /// Free slots.
    pub(crate) slots: u32,
    /// What it still runs.
    pub(crate) running: Vec<RunningAttempt>,
}

/// An open session.
#[derive(Debug)]
pub(crate) struct Joined {
    /// Its name.
    pub(crate) session: SessionRef,
    /// Attempts that are not the worker's any more.
    pub(crate) revoked: Vec<RunningAttempt>,
}

/// One session of one worker. A later session of the worker makes it void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionRef {
    /// The worker.
    pub(crate) worker: WorkerId,
    /// Number of the session, unique in the partition's opening.
    pub(crate) serial: u64,
}

/// What a worker said in one message.
#[derive(Debug)]
pub(crate) struct Input {
    /// The session.
    pub(crate) session: SessionRef,
    /// Slots that became free.
    pub(crate) slots: u32,
    /// Attempts that ended.
    pub(crate) results: Vec<Ended>,
    /// Lines of running attempts, not numbered yet.
    pub(crate) logs: Vec<(RunningAttempt, Vec<LogLine>)>,
    /// Progress of running attempts.
    pub(crate) progress: Vec<(RunningAttempt, Progress)>,
    /// Attempts given back.
    pub(crate) handed_back: Vec<RunningAttempt>,
    /// Its share of the inbox's bytes.
    pub(super) _admitted: Option<OwnedSemaphorePermit>,
}

impl Input {
    /// A message that says nothing yet.
    pub(crate) fn empty(session: SessionRef) -> Self {
        let (results, logs, progress, handed_back) = Default::default();
        Self { session, slots: 0, results, logs, progress, handed_back, _admitted: None }
    }
}

/// An attempt that ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The attempt.
    pub(crate) attempt: RunningAttempt,
    /// How, for the engine.
    pub(crate) outcome: Outcome,
    /// Why it failed, with all that the worker said.
    pub(crate) error: Option<WireError>,
    /// What it gave: an encoded `google.protobuf.Value`.
    pub(crate) output: Option<Bytes>,
    /// Exit code of a process.
    pub(crate) exit_code: Option<i32>,
}

/// A failure in the catalogue's terms, without more detail than the engine has.
pub(super) fn wire_error(failure: &mcp_engine::Failure) -> WireError {
    let name = mcp_proto::Code::from_number(failure.code).map_or("", mcp_proto::Code::name);
    WireError {
        code: failure.code,
        name: name.to_owned(),
        message: failure.message.clone(),
        retryable: failure.retryable,
        retry_after: failure.retry_after.and_then(|wait| std::time::Duration::from_millis(wait).try_into().ok()),
        violations: Vec::new(),
        metadata: BTreeMap::new(),
    }
}
