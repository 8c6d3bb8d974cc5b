//! What goes into the engine and what comes out.

mod command;
mod config;
mod effect;

use std::{collections::BTreeSet, sync::Arc};

pub use self::{
    command::{Applied, Command, Refused},
    config::Config,
    effect::{Effect, Record},
};

/// Time in milliseconds since 1970. The shell makes it from a monotonic clock, so it never goes back while the
/// engine lives; it is used for liveness only, never for safety.
pub type Millis = u64;

/// A task's id as a number. Ids sort by submit time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u128);

impl TaskId {
    /// The id in two halves, which together sort as the id does.
    pub(crate) const fn halves(self) -> [u64; 2] {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is what is meant")]
        let low = self.0 as u64;
        [(self.0 >> 64) as u64, low]
    }
}

/// A worker, across its sessions; the shell gives each worker id of the wire a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

/// The fencing token of an attempt: owner epoch, then sequence. The tokens of a task only grow, so that a late
/// result under an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Epoch of the partition's owner.
    pub epoch: u64,
    /// Number of the dispatch within the epoch, from 1.
    pub sequence: u64,
}

impl Token {
    /// Below every token of an attempt.
    pub(crate) const ZERO: Self = Self { epoch: 0, sequence: 0 };

    /// Above every token of an earlier owner, below every one of the owner of `epoch`.
    pub(crate) const fn start_of(epoch: u64) -> Self {
        Self { epoch, sequence: 0 }
    }
}

/// A queue in its namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The queue.
    pub queue: Arc<str>,
}

/// What a worker must be able to do to run a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkKind {
    /// Run a program.
    Process,
    /// Call the function registered under this name.
    Handler(Arc<str>),
}

/// How many attempts there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttemptCount {
    /// Attempts started in all, whatever became of them.
    pub started: u32,
    /// Attempts that failed by themselves; the retry policy counts these.
    pub failed: u32,
    /// Attempts lost with their worker.
    pub lost: u32,
}

/// When a failed attempt is tried again. The shell has checked the ranges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryPolicy {
    /// Attempts in all, at least 1.
    pub max_attempts: u32,
    /// Wait after the first failure.
    pub initial_backoff: Millis,
    /// Longest wait.
    pub max_backoff: Millis,
    /// Growth from wait to wait, at least 1.
    pub multiplier: f64,
    /// Random part of each wait, 0 to 1.
    pub jitter: f64,
}

/// A repeated submit under the same key gets the first task.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Idempotency {
    /// The caller's key, unique within the queue.
    pub key: Arc<str>,
    /// Hash of the submitted task; another one under the same key is refused.
    pub body_hash: u64,
}

/// A task to accept. The shell keeps its payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Its id, never used before.
    pub id: TaskId,
    /// Where it waits.
    pub queue: QueueKey,
    /// Who can run it.
    pub kind: WorkKind,
    /// Higher is dispatched first.
    pub priority: i16,
    /// When a failure is tried again.
    pub retry: RetryPolicy,
    /// How long an attempt may run.
    pub run_timeout: Millis,
    /// How long it may wait for its first attempt, from the moment it is due.
    pub queue_timeout: Option<Millis>,
    /// Not before this moment; 0 means at once.
    pub not_before: Millis,
    /// Key under which a repeat finds it.
    pub idempotency: Option<Idempotency>,
}

/// What a worker serves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WorkerSpec {
    /// Namespaces; empty means every one.
    pub namespaces: BTreeSet<Arc<str>>,
    /// Queues in them; empty means every one.
    pub queues: BTreeSet<Arc<str>>,
    /// True when it runs programs.
    pub processes: bool,
    /// Functions it registered.
    pub handlers: BTreeSet<Arc<str>>,
}

/// An attempt that a worker says it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunningAttempt {
    /// The task.
    pub task: TaskId,
    /// The attempt's token.
    pub token: Token,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Number from the error catalogue.
    pub code: u32,
    /// For people.
    pub message: String,
    /// False stops the retries.
    pub retryable: bool,
    /// The worker's advice on when to retry, instead of the backoff.
    pub retry_after: Option<Millis>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work; the shell keeps the output.
    Succeeded,
    /// It failed.
    Failed(Failure),
    /// It was stopped because of a [`Effect::CancelAttempt`].
    Cancelled,
}

/// Where a task stands. The last three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Due, and waiting for a worker.
    Pending,
    /// Waiting for its delay.
    Scheduled,
    /// With a worker.
    Running,
    /// Waiting for its backoff after a failure.
    Retrying,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Ended by a caller.
    Cancelled,
}

impl State {
    /// True when nothing can change any more.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// True when a task may go from this state to `next` (S2 of the requirements). The engine asserts it at every
    /// change, so an illegal move cannot happen.
    pub const fn may_become(self, next: Self) -> bool {
        use State::{Cancelled, Failed, Pending, Retrying, Running, Scheduled, Succeeded};
        match self {
            Scheduled => matches!(next, Pending | Cancelled),
            Pending => matches!(next, Running | Failed | Cancelled),
            // Back to pending: handed back by the worker, or lost with it.
            Running => matches!(next, Succeeded | Failed | Retrying | Cancelled | Pending),
            Retrying => matches!(next, Pending | Cancelled),
            Succeeded | Failed | Cancelled => false,
        }
    }
}

/// A task as the store had it, for [`Engine::restore`](crate::Engine::restore).
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredTask {
    /// As it was submitted; `not_before` is that of the next attempt.
    pub submission: Submission,
    /// Attempts on record.
    pub attempts: AttemptCount,
    /// Where the store says it stands; RUNNING is never stored.
    pub state: State,
    /// A cancel was accepted.
    pub cancel_requested: bool,
    /// Token in the latest [`Record::Retry`] of the task; `None` when there was none.
    pub void: Option<Token>,
}
