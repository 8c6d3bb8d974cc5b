//! What the conductor needs of the loop: the batch that is being made.

use std::fmt;

use bytes::Bytes;
use mcp_engine::Refused;
use mcp_proto::{TaskId, common::v1::Error as WireError, scheduler::v1::TaskState};

use super::{Item, Reply};
use crate::{
    error::Error,
    store::{self, Moving, Write},
    validate::NewTask,
};

/// A batch that is being made: everything in it is committed in one step, over all partitions.
pub(crate) trait Batch {
    /// The time, milliseconds since 1970.
    fn now(&self) -> u64;
    /// The partition of a home's hash.
    fn partition_of(&self, home: u16) -> u16;
    /// True when the partition is open here.
    fn is_open(&self, partition: u16) -> bool;
    /// An id for a new task with this home.
    fn new_id(&mut self, home: u16) -> TaskId;
    /// Submits a task under an id; its partition is open here.
    ///
    /// # Errors
    /// The store failed. A refusal is in the result: nothing has changed then.
    fn submit(&mut self, id: TaskId, task: NewTask) -> Result<Result<(), Refused>, store::Error>;
    /// Cancels a task whose partition is open here. One that is final already stays as it is.
    ///
    /// # Errors
    /// The store failed.
    fn cancel(&mut self, id: TaskId, reason: &str) -> Result<(), store::Error>;
    /// Where a task stands whose partition is open here. Unfinished ones are in memory; the others are only looked for
    /// when `thorough`, which reads the store.
    ///
    /// # Errors
    /// The store failed.
    fn standing(&self, id: TaskId, thorough: bool) -> Result<Standing, store::Error>;
    /// Adds a record.
    fn write(&mut self, partition: u16, write: Write);
    /// Gives an answer after the commit.
    fn answer(&mut self, answer: Later);
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// It was not found.
    Unknown,
    /// It is not over.
    Unfinished,
    /// It is over.
    Ended(End),
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct End {
    /// Its final state.
    pub(crate) state: TaskState,
    /// An encoded `google.protobuf.Value`, when it gave one.
    pub(crate) output: Option<Bytes>,
    /// Why it did not succeed.
    pub(crate) error: Option<WireError>,
}

impl End {
    /// From a final record.
    pub(crate) fn of(moving: &Moving) -> Self {
        Self { state: moving.state(), output: moving.output.clone(), error: moving.error.clone() }
    }

    /// A failure.
    pub(crate) fn failed(error: mcp_proto::Error) -> Self {
        Self { state: TaskState::Failed, output: None, error: Some(error.into()) }
    }
}

/// The end of something that a schedule or a workflow started.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    /// What it was started for.
    pub(crate) item: Item,
    /// The task, or the run of a workflow.
    pub(crate) task: TaskId,
    /// How it ended.
    pub(crate) end: End,
    /// False when it never started, because the owner of its queue refused it for good.
    pub(crate) was_started: bool,
}

/// An answer that waits for the commit.
pub(crate) struct Later(Box<dyn FnOnce(Result<(), Error>) + Send>);

impl Later {
    /// This answer, unless the commit fails.
    pub(crate) fn new<T: Send + 'static>(reply: Reply<T>, answer: Result<T, Error>) -> Self {
        Self(Box::new(move |committed| drop(reply.send(committed.and(answer)))))
    }

    /// The commit is done.
    pub(crate) fn give(self) {
        (self.0)(Ok(()));
    }

    /// The commit failed.
    pub(crate) fn fail(self, error: Error) {
        (self.0)(Err(error));
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}
