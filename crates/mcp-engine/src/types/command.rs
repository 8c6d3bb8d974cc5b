//! What the engine is told, and what it answers.

#[cfg(doc)]
use super::Config;
use super::{
    Millis, Outcome, Partition, QueueKey, QueueRules, RunningAttempt, State, Submission, TaskId, WorkerId, WorkerSpec,
};

/// What the engine is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// A caller submits a task.
    Submit(Submission),
    /// A caller ends a task.
    Cancel(TaskId),
    /// Somebody sets the rules of a queue, all of them at once; they hold from here on. The shell keeps them, and gives
    /// them to [`Engine::restore_queue`](crate::Engine::restore_queue) after a restart.
    SetQueue {
        /// The queue.
        queue: QueueKey,
        /// Its partition.
        partition: Partition,
        /// What holds from now on.
        rules: QueueRules,
    },
    /// A worker opened a session: what it serves, its free slots, and the attempts it still runs or whose results
    /// were not acknowledged. Its earlier session, if any, is over: effects for it that were not carried out yet are
    /// the earlier session's, and the shell drops them. Its tasks that it does not report are requeued at once (it
    /// lost them), those that it should not have are revoked.
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
    /// A worker with a session names attempts that it runs, or whose results were not acknowledged: a partition was
    /// opened that they may belong to. Those that may still count are its own from here on, the others are revoked.
    /// Nothing else follows: what it does not name stays as it is, and its free slots are as many as before.
    AttemptsReported {
        /// The worker.
        worker: WorkerId,
        /// Attempts that it runs.
        running: Vec<RunningAttempt>,
    },
    /// A worker's latest session broke. Its attempts stay its own until the lease ends.
    WorkerLost(WorkerId),
    /// Slots of a worker became free. The only thing that frees a slot within a session, and not safe to repeat:
    /// the shell tells it once, and only for the latest session.
    SlotsFreed {
        /// The worker.
        worker: WorkerId,
        /// How many.
        slots: u32,
    },
    /// A worker wants free slots back. Those that have no attempt yet are taken away, as many as it asks for at most.
    ReclaimSlots {
        /// The worker.
        worker: WorkerId,
        /// How many it wants.
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
    /// A worker gives an attempt back unfinished; it does not count. May come twice or late, as a result may, and is
    /// acknowledged like one.
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
    /// The task was accepted, or found under its idempotency key or its unique name.
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
    /// So many free slots were taken away.
    Reclaimed(u32),
    /// Nothing to tell.
    Done,
}

/// Why a command was refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The idempotency key belongs to a different task.
    #[error("the idempotency key was used for a different task")]
    IdempotencyConflict(TaskId),
    /// The queue holds as many tasks as it may, by its rules or by [`Config::queue_len_max`].
    #[error("the queue is full")]
    QueueFull {
        /// When to try again.
        retry_after: Millis,
    },
    /// The queue takes nothing new: it is being drained.
    #[error("the queue takes no new tasks")]
    QueueClosed,
    /// The engine holds [`Config::tasks_max`] tasks or [`Config::queues_max`] queues.
    #[error("the scheduler is full")]
    Full,
    /// No unfinished task has this id: it is final, or never was, or its partition is not open here.
    #[error("no unfinished task has this id")]
    NotLive,
    /// The partition is not open here.
    #[error("partition {} is not open here", .0.0)]
    NotOwned(Partition),
}
