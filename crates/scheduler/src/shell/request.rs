//! What the loop is asked to do, and what comes back.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use mcp_engine::{Idempotency, Outcome, QueueKey, RestoredTask, RunningAttempt, WorkerId, WorkerSpec};
use mcp_proto::{
    TaskId,
    common::v1::Error as WireError,
    scheduler::v1::{LogLine, Progress, TaskState},
};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::{
    dead::DeadRequest,
    explain::Explain,
    outbox::Outbox,
    queues::{QueueRequest, QueueSettings},
};
use crate::{
    conductor::Conduct,
    error::Error,
    store::{Entry, PartitionStore},
    validate::NewTask,
    workflow::records::Found,
};

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
    /// A queue is asked about, or changed.
    Queue(QueueRequest),
    /// Failed tasks are submitted again, or taken off their list.
    Dead(DeadRequest),
    /// Somebody asks why a task is where it is.
    Explain(Explain),
    /// A partition changes hands.
    Move(Move),
    /// Something about schedules or workflows, and its share of the inbox's bytes.
    Conduct(Box<Conduct>, Option<OwnedSemaphorePermit>),
    /// Finish what is in the inbox, then end.
    Stop,
}

impl Request {
    /// Answers what the loop will not get to: nothing was done.
    pub(super) fn give_back(self) {
        match self {
            Self::Submit(submit) => drop(submit.reply.send(Ok(Submitted::Moved(submit.tasks)))),
            Self::Cancel(cancel) => drop(cancel.reply.send(Err(Error::NotOwner))),
            Self::Join(join) => drop(join.reply.send(Err(Error::NotOwner))),
            Self::Queue(request) => request.give_back(),
            Self::Dead(request) => request.give_back(),
            Self::Explain(explain) => explain.give_back(),
            // Their askers see that the answer does not come, or need none.
            Self::Input(_) | Self::Leave(_) | Self::Move(_) | Self::Conduct(..) | Self::Stop => {}
        }
    }
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
    pub(super) reply: Reply<Submitted>,
}

/// What became of a submit.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// They are durable, in their order.
    Stored(Vec<Accepted>),
    /// Nothing was done, since a partition of theirs is not open here: they come back.
    Moved(Vec<NewTask>),
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
    /// False when no unfinished task has this id. [`Error::NotOwner`]: nothing was done.
    pub(super) reply: Reply<bool>,
}

/// A partition that changes hands.
#[derive(Debug)]
pub(super) enum Move {
    /// It begins to be loaded.
    Load {
        /// The partition.
        partition: u16,
        /// Its records.
        store: Arc<dyn PartitionStore>,
    },
    /// A part of what it holds.
    Slice {
        /// The partition.
        partition: u16,
        /// The part.
        items: Vec<Restored>,
        /// Bounds how many are under way.
        _credit: OwnedSemaphorePermit,
    },
    /// All of it was loaded.
    Open {
        /// The partition.
        partition: u16,
        /// The owner's epoch.
        epoch: u64,
        /// Comes when it is open.
        reply: Reply<()>,
    },
    /// The ownership was claimed again under this epoch.
    Advance {
        /// The partition.
        partition: u16,
        /// The new epoch.
        epoch: u64,
        /// Tells whether the store took it.
        reply: Reply<()>,
    },
    /// It goes to another owner, or is given up.
    Close {
        /// The partition.
        partition: u16,
        /// Comes when everything accepted before is durable, and nothing more is accepted.
        reply: Reply<()>,
    },
}

/// Something that a partition's records hold, in the engine's terms.
#[derive(Debug)]
pub(super) enum Restored {
    /// What is set for a queue.
    Queue(QueueKey, Box<QueueSettings>),
    /// An unfinished task.
    Task(Box<RestoredTask>),
    /// What an entry of a workflow says.
    Run(Box<Found>),
    /// An entry of what else is kept besides tasks.
    Entry(Entry),
    /// Its last owner closed it in order, and these may run.
    ClosedInOrder(Vec<mcp_engine::TaskId>),
    /// An idempotency key.
    Key {
        /// Its queue.
        queue: QueueKey,
        /// The key.
        idempotency: Idempotency,
        /// The task.
        task: mcp_engine::TaskId,
        /// Until when it is remembered, milliseconds since 1970.
        forget_at: u64,
    },
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
    /// Attempts of partitions that are not open here.
    pub(crate) not_mine: Vec<RunningAttempt>,
    /// Attempts that are the worker's, known before or not.
    pub(crate) adopted: Vec<RunningAttempt>,
}

/// One session of one worker. A later session of the worker makes it void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionRef {
    /// The worker.
    pub(crate) worker: WorkerId,
    /// Number of the session, unique in the life of the loop.
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
    /// Attempts that run and that no replica has adopted.
    pub(crate) running: Vec<RunningAttempt>,
    /// Slots that it wants back.
    pub(crate) reclaim: u32,
    /// Its share of the inbox's bytes.
    pub(super) _admitted: Option<OwnedSemaphorePermit>,
}

impl Input {
    /// A message that says nothing yet.
    pub(crate) fn empty(session: SessionRef) -> Self {
        let (results, logs, progress, handed_back, running) = Default::default();
        Self { session, slots: 0, results, logs, progress, handed_back, running, reclaim: 0, _admitted: None }
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
    WireError {
        code: failure.code,
        name: failure.name.clone(),
        message: failure.message.clone(),
        retryable: failure.retryable,
        retry_after: failure.retry_after.and_then(|wait| std::time::Duration::from_millis(wait).try_into().ok()),
        violations: Vec::new(),
        metadata: BTreeMap::new(),
    }
}
