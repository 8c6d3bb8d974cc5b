//! Why a task does not run.

use std::sync::Arc;

use super::{LabelRule, Millis, State, Taint, TaskId, WorkKind, WorkerId};

/// Why an unfinished task is where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Where it stands.
    pub state: State,
    /// What it waits for, what blocks first coming first; never empty.
    pub reasons: Vec<Reason>,
    /// When time alone changes something next; `None` when something else has to happen.
    pub next_change: Option<Millis>,
}

/// One thing that a task waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Its delay runs.
    Delayed {
        /// Until when.
        until: Millis,
    },
    /// Its backoff runs.
    BackingOff {
        /// Until when.
        until: Millis,
        /// Attempts that failed.
        failed: u32,
        /// Attempts that its policy allows.
        max_attempts: u32,
    },
    /// Its partition changed owners, and a worker may still run it.
    Grace {
        /// Until when a worker may report it.
        until: Millis,
    },
    /// The queue is paused.
    QueuePaused {
        /// Since when.
        since: Millis,
    },
    /// As many attempts of the queue run as may.
    QueueConcurrency(Saturation),
    /// As many attempts of the task's key run as may.
    KeyConcurrency {
        /// The key.
        key: Arc<str>,
        /// Who has the permits.
        saturation: Saturation,
    },
    /// The queue's rate is used up.
    QueueRate {
        /// When the next attempt may start.
        next_token: Millis,
    },
    /// The rate of the task's key is used up.
    KeyRate {
        /// The key.
        key: Arc<str>,
        /// When the next attempt may start.
        next_token: Millis,
    },
    /// No worker has a session.
    NoWorkers,
    /// No worker that has a session can run it.
    NoWorkerMatches {
        /// Workers with a session.
        workers: usize,
        /// What they fail on, each worker counted once, most frequent first.
        mismatches: Vec<(Mismatch, usize)>,
        /// Since when this is so.
        since: Millis,
    },
    /// No worker that can run it has a free slot or room for it.
    WorkersBusy {
        /// Workers that can run it.
        workers: usize,
        /// Some of them.
        some: Vec<WorkerId>,
        /// Those among them that have a free slot, but not the cpu or memory it asks for.
        without_room: usize,
    },
    /// A worker is stopping another attempt to make room for this task.
    MakingRoom {
        /// The worker.
        worker: WorkerId,
    },
    /// Others of its key, or without a key as it is, come first.
    Behind {
        /// How many.
        tasks: usize,
        /// There are more; they were not counted.
        more: bool,
    },
    /// Tasks of other keys come first.
    FairShare {
        /// How many other keys.
        keys: usize,
        /// There are more; they were not counted.
        more: bool,
    },
    /// It can run, and does when the engine is told the time.
    Ready,
    /// It runs.
    Running {
        /// Who has it.
        worker: WorkerId,
        /// Since when, as far as this owner knows.
        since: Millis,
        /// When it is given up if its worker stays silent.
        deadline: Millis,
    },
    /// Its worker was told to stop it, or is told when it reports it.
    Cancelling {
        /// Who has it; `None` while no worker reported it.
        worker: Option<WorkerId>,
    },
}

/// A limit on how many attempts run, which is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saturation {
    /// The limit.
    pub limit: u32,
    /// Attempts that run.
    pub running: usize,
    /// Attempts that may still run after a change of owners; they count until the grace is over.
    pub perhaps_running: usize,
    /// Since when nothing more may start.
    pub since: Millis,
    /// Some of those that run.
    pub holders: Vec<Holder>,
}

/// An attempt that holds a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its task.
    pub task: TaskId,
    /// Who runs it.
    pub worker: WorkerId,
    /// Since when, as far as this owner knows.
    pub since: Millis,
}

/// Why a worker cannot run a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mismatch {
    /// It does not serve the namespace.
    Namespace,
    /// It does not serve the queue.
    Queue,
    /// It does not run programs, or did not register this function.
    Kind(WorkKind),
    /// Its labels are not as this rule wants.
    Label(LabelRule),
    /// It has this taint, which the task does not tolerate.
    Taint(Taint),
    /// All that it has is less than what the task asks for.
    Resources,
}
