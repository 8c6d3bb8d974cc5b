//! The running tasks, for queries: a view that the loop keeps and everyone may read, without asking the loop.
//!
//! It changes after commits only. It holds what is nowhere on record: a dispatch is not written. Its size is bounded by
//! the slots that workers granted.

use std::sync::Arc;

use dashmap::DashMap;
use mcp_engine::{QueueKey, RunningAttempt, Token};
use mcp_proto::{TaskId, scheduler::v1::Progress};

use crate::store::{Fixed, Moving};

/// A running attempt.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Its token.
    pub(crate) token: Token,
    /// The id that the worker chose.
    pub(crate) worker_id: Arc<str>,
    /// Which attempt of the task it is, from 1.
    pub(crate) attempt: u32,
    /// When it started, or was claimed; milliseconds since 1970.
    pub(crate) start_ms: u64,
    /// The latest progress.
    pub(crate) progress: Option<Progress>,
    /// A cancel was accepted.
    pub(crate) cancel_requested: bool,
    /// The task as submitted, when it is at hand.
    pub(crate) fixed: Option<Fixed>,
    /// Its queue, when it is at hand.
    pub(crate) queue: Option<QueueKey>,
    /// Its latest record, when it is at hand.
    pub(crate) moving: Option<Arc<Moving>>,
}

/// All running tasks.
pub(crate) type LiveTasks = DashMap<TaskId, Live>;

/// A change of the view, to be made after the commit.
#[derive(Debug)]
pub(super) enum LiveChange {
    /// An attempt runs.
    Start(TaskId, Live),
    /// It made progress.
    Progress(RunningAttempt, Progress),
    /// It is to be cancelled.
    CancelRequested(TaskId),
    /// It is over, and another will follow.
    Retry(TaskId),
    /// The task is over.
    End(TaskId),
}

/// The wire's form of an engine id.
pub(crate) fn wire_id(id: mcp_engine::TaskId) -> TaskId {
    TaskId::from_u128(id.0)
}

/// The engine's form of a wire id.
pub(crate) fn engine_id(id: TaskId) -> mcp_engine::TaskId {
    mcp_engine::TaskId(id.as_u128())
}
