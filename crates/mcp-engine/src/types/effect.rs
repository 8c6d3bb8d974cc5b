//! What the shell is to do.

use super::{AttemptCount, Failure, Millis, RunningAttempt, State, TaskId, Token, WorkerId};

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
    /// A submit with an idempotency key was merged into the task, whose unique name it has: the key is the task's from
    /// here on. Comes back through [`Engine::remember`](crate::Engine::remember).
    Merged {
        /// The task.
        task: TaskId,
        /// The id that the submit came with.
        submitted: TaskId,
    },
    /// The task's attempts so far are over and another will follow. Written when an attempt ends without ending the
    /// task, and once with the first dispatch of a task that an earlier owner may have dispatched too.
    Retry {
        /// The task.
        task: TaskId,
        /// RETRYING, or PENDING after an attempt that was lost, handed back, or stopped for a more urgent one.
        state: State,
        /// Attempts so far.
        attempts: AttemptCount,
        /// When the next one is due.
        not_before: Millis,
        /// Why the attempt failed; `None` when it did not fail by itself.
        failure: Option<Failure>,
        /// The task's attempts up to this token are void for ever. Comes back as
        /// [`RestoredTask::void`](super::RestoredTask::void): without it a later owner could take an attempt that
        /// ended for one that still runs. Its sequence is 0 when the record comes with the first dispatch of a
        /// restored task: then nothing failed, and nothing is retried.
        void: Token,
    },
    /// A task that runs at most once is about to be sent to a worker. At most one such record exists for a task, ever,
    /// and it is durable before the attempt is sent out. Comes back as
    /// [`RestoredTask::started`](super::RestoredTask::started).
    Started {
        /// The task.
        task: TaskId,
        /// The attempt's token.
        token: Token,
        /// To whom it is sent.
        worker: WorkerId,
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
    /// Tell a worker that its result, or its handing back, is durable or outdated: it may forget it.
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
