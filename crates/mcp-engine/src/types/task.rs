//! Tasks: how they are submitted, how they come back from the store, and the states they go through.

use std::sync::Arc;

use super::{Millis, Partition, Placement, QueueKey, WorkKind};

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

    /// The id whose halves these are.
    pub(crate) const fn from_halves([high, low]: [u64; 2]) -> Self {
        Self(((high as u128) << 64) | low as u128)
    }
}

/// The fencing token of an attempt: owner epoch, then sequence. The tokens of a task only grow, so that a late
/// result under an older one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    /// Epoch of the owner of the task's partition.
    pub epoch: u64,
    /// Number of the dispatch within the engine's life, from 1.
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
    /// Attempts in all, at least 1; 1 is never to retry.
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
    /// How long the key is remembered, from the submit on.
    pub window: Millis,
}

/// A task to accept. The shell keeps its payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// Its id, never used before.
    pub id: TaskId,
    /// The partition of its queue.
    pub partition: Partition,
    /// Where it waits.
    pub queue: QueueKey,
    /// Who can run it.
    pub kind: WorkKind,
    /// Higher is dispatched first; each level is worth ten seconds of waiting, so that nothing starves.
    pub priority: i16,
    /// Limits and fair share are per key; tasks without one share theirs.
    pub key: Option<Arc<str>>,
    /// While an unfinished task of the queue has this name, a submit under it gets that task.
    pub unique: Option<Arc<str>>,
    /// It is started once at most, and never again after that, whatever becomes of the attempt.
    pub at_most_once: bool,
    /// What it asks of its worker.
    pub placement: Option<Arc<Placement>>,
    /// When a failure is tried again.
    pub retry: RetryPolicy,
    /// Names of failures that are never tried again.
    pub never_retry: Arc<[Arc<str>]>,
    /// How long an attempt may run.
    pub run_timeout: Millis,
    /// How long it may wait for its first attempt, from the moment it is due.
    pub queue_timeout: Option<Millis>,
    /// When it was submitted; 0 means now. Decides its place among the others.
    pub submitted_at: Millis,
    /// Not before this moment; 0 means at once.
    pub not_before: Millis,
    /// Key under which a repeat finds it.
    pub idempotency: Option<Idempotency>,
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Number from the error catalogue.
    pub code: u32,
    /// Name from the error catalogue, or the job's own; what [`Submission::never_retry`] names.
    pub name: String,
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
    /// It was stopped because of a [`Effect::CancelAttempt`](super::Effect::CancelAttempt).
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
            // Back to pending: handed back by the worker, lost with it, or stopped for a more urgent one.
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
    /// Token in the latest [`Record::Retry`](super::Record::Retry) of the task; `None` when there was none.
    pub void: Option<Token>,
    /// Token in the [`Record::Started`](super::Record::Started) of the task; only a task that runs at most once has it.
    pub started: Option<Token>,
}
