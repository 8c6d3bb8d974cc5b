//! What goes into the engine and what comes out.

use std::{collections::BTreeSet, sync::Arc};

/// Time in milliseconds since 1970. The shell makes it from a monotonic clock, so it never goes back while the
/// engine lives; it is used for liveness only, never for safety.
pub type Millis = u64;

/// A task's id as a number. Ids sort by submit time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u128);

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

/// What the engine is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A caller submits a task.
    Submit(Submission),
    /// A caller ends a task.
    Cancel(TaskId),
    /// A worker opened a session: what it serves, its free slots, and the attempts it still runs. Its earlier
    /// session, if any, is over. Its tasks that it does not report are requeued at once (it lost them).
    WorkerJoined {
        /// The worker.
        worker: WorkerId,
        /// What it serves.
        spec: WorkerSpec,
        /// Slots that are free now.
        slots: u32,
        /// Attempts it still runs.
        running: Vec<RunningAttempt>,
    },
    /// A worker's session broke. Its attempts stay its own until the lease ends.
    WorkerLost(WorkerId),
    /// Slots of a worker became free.
    SlotsFreed {
        /// The worker.
        worker: WorkerId,
        /// How many.
        slots: u32,
    },
    /// An attempt ended. May come twice, late, or for an attempt that is not current: then it changes nothing and
    /// is acknowledged.
    Finish {
        /// Who says so.
        worker: WorkerId,
        /// The attempt.
        attempt: RunningAttempt,
        /// How it ended.
        outcome: Outcome,
    },
    /// A worker gives an attempt back unfinished; it does not count.
    HandBack {
        /// Who gives it back.
        worker: WorkerId,
        /// The attempt.
        attempt: RunningAttempt,
    },
    /// Time passed; due timers fire, at most [`Config::timers_per_tick_max`] of them. The shell sends it when
    /// [`Engine::next_timer`](crate::Engine::next_timer) is due.
    Tick,
}

/// What a command came to, for its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// The task was accepted, or found under its idempotency key.
    Submitted {
        /// The task: the submitted one, or the earlier one.
        id: TaskId,
        /// True when it is the earlier one.
        deduplicated: bool,
    },
    /// The cancel was accepted: the state is `Cancelled`, or `Running` until the worker has stopped it.
    Cancelling(State),
    /// The result was taken (true), or was outdated or a repeat (false).
    Finished(bool),
    /// Nothing to tell.
    Done,
}

/// Why a command was refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The idempotency key belongs to a different task.
    #[error("the idempotency key was used for a different task")]
    IdempotencyConflict(TaskId),
    /// The queue holds [`Config::queue_len_max`] tasks.
    #[error("the queue is full")]
    QueueFull,
    /// The engine holds [`Config::tasks_max`] tasks or [`Config::queues_max`] queues.
    #[error("the scheduler is full")]
    Full,
    /// No unfinished task has this id: it is final, or never was.
    #[error("no unfinished task has this id")]
    NotLive,
}

/// A record to make durable. The shell attaches payload, output and wall-clock times.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// The task exists.
    Submitted {
        /// The task.
        task: TaskId,
        /// PENDING or SCHEDULED.
        state: State,
    },
    /// An attempt ended and another will follow.
    Retry {
        /// The task.
        task: TaskId,
        /// RETRYING, or PENDING after a lost attempt or one handed back.
        state: State,
        /// Attempts so far.
        attempts: AttemptCount,
        /// When the next one is due.
        not_before: Millis,
        /// Why the attempt failed; `None` when it was lost or handed back.
        failure: Option<Failure>,
    },
    /// A cancel of a running task was accepted: it must end, and never run again.
    CancelRequested {
        /// The task.
        task: TaskId,
    },
    /// The task is final. At most one such record exists for a task, ever.
    Finished {
        /// The task.
        task: TaskId,
        /// SUCCEEDED, FAILED or CANCELLED.
        state: State,
        /// Attempts so far.
        attempts: AttemptCount,
        /// Why, unless it succeeded.
        failure: Option<Failure>,
    },
}

/// What the shell has to do, in this order, after the batch's records are durable.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Make this durable first.
    Persist(Record),
    /// Send an attempt to a worker.
    Assign {
        /// To whom.
        worker: WorkerId,
        /// The attempt.
        attempt: RunningAttempt,
        /// Which attempt of the task it is, from 1.
        number: u32,
        /// How long it may run.
        run_timeout: Millis,
    },
    /// Tell a worker to stop an attempt.
    CancelAttempt {
        /// To whom.
        worker: WorkerId,
        /// The attempt.
        attempt: RunningAttempt,
    },
    /// Tell a worker that its result is durable, or outdated: it may forget it.
    Acknowledge {
        /// To whom.
        worker: WorkerId,
        /// The attempt.
        attempt: RunningAttempt,
    },
    /// Tell a worker that an attempt is not its any more.
    Revoke {
        /// To whom.
        worker: WorkerId,
        /// The attempt.
        attempt: RunningAttempt,
    },
    /// Tell watchers where a task stands now.
    Changed {
        /// The task.
        task: TaskId,
        /// Its state.
        state: State,
        /// Attempts started so far.
        attempt: u32,
        /// Who has it, in `Running`.
        worker: Option<WorkerId>,
    },
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
}

/// Limits and times of the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Owner epoch; larger than that of every earlier owner of the partition.
    pub epoch: u64,
    /// Seed of the backoff jitter.
    pub seed: u64,
    /// How long a worker without a session keeps its attempts, and how long after a start the tasks on record wait
    /// for a worker to report them before they are dispatched anew.
    pub worker_lease: Millis,
    /// How much longer than its run timeout an attempt may be silent about its end before it counts as timed out
    /// (the worker enforces the timeout itself; this is the scheduler's own net).
    pub run_timeout_grace: Millis,
    /// How often a task may be lost with its worker before it fails.
    pub lost_attempts_max: u32,
    /// How long an idempotency key is remembered.
    pub idempotency_window: Millis,
    /// Unfinished tasks a queue may hold.
    pub queue_len_max: usize,
    /// Unfinished tasks in all.
    pub tasks_max: usize,
    /// Queues in all.
    pub queues_max: usize,
    /// Idempotency keys in all; the oldest are forgotten first.
    pub idempotency_keys_max: usize,
    /// Timers one tick may fire.
    pub timers_per_tick_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            epoch: 1,
            seed: 0,
            worker_lease: 10_000,
            run_timeout_grace: 5_000,
            lost_attempts_max: 5,
            idempotency_window: 24 * 60 * 60 * 1_000,
            queue_len_max: 2_000_000,
            tasks_max: 4_000_000,
            queues_max: 100_000,
            idempotency_keys_max: 1_000_000,
            timers_per_tick_max: 10_000,
        }
    }
}
