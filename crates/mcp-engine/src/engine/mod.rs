//! The engine itself: its parts and how commands reach the rules.

mod attempts;
mod check;
mod dispatch;
mod restore;
mod sessions;
mod submit;
#[cfg(test)]
mod tests;
mod tick;

use crate::{
    board::Board,
    faults::Fault,
    idempotency::Keys,
    intern::Interner,
    retry::{Random, Terms},
    task::Tasks,
    timers::Timers,
    types::{Applied, AttemptCount, Command, Config, Effect, Millis, Refused, State, TaskId, Token, WorkerId},
    workers::Workers,
};

/// Catalogue numbers of the failures that the engine itself finds.
pub(crate) mod code {
    /// An attempt ran too long.
    pub(crate) const RUN_TIMEOUT: u32 = 3002;
    /// No worker took the task in time.
    pub(crate) const QUEUE_TIMEOUT: u32 = 3003;
    /// The task was lost with its workers too often.
    pub(crate) const WORKER_LOST: u32 = 3008;
    /// A caller cancelled the task.
    pub(crate) const CANCELLED: u32 = 3009;
}

/// An unfinished task, as [`Engine::view`] tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskView {
    /// Where it stands; never final.
    pub state: State,
    /// Attempts so far, the running one included in `started`.
    pub attempts: AttemptCount,
    /// Who has it, in `Running`.
    pub worker: Option<WorkerId>,
    /// The token of the running attempt.
    pub token: Option<Token>,
    /// A cancel was accepted.
    pub cancel_requested: bool,
    /// When its next attempt is due, or was due.
    pub not_before: Millis,
}

/// How much the engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Unfinished tasks.
    pub tasks: usize,
    /// Those in `Pending`.
    pub pending: usize,
    /// Those in `Scheduled`.
    pub scheduled: usize,
    /// Those in `Running`.
    pub running: usize,
    /// Those in `Retrying`.
    pub retrying: usize,
    /// Queues that hold an unfinished task.
    pub queues: usize,
    /// Workers that have a session, or whose lease still runs.
    pub workers: usize,
    /// Free slots of all workers with a session.
    pub free_slots: u64,
    /// Idempotency keys that are remembered.
    pub idempotency_keys: usize,
}

/// The scheduler's rules for one partition.
///
/// Its life: [`new`](Self::new), then [`restore`](Self::restore) and [`remember`](Self::remember) for what the store
/// holds, then [`opened`](Self::opened), then [`apply`](Self::apply) for ever.
///
/// Invariants: a task is in exactly one of waiting, running, final (S-1); it moves only as [`State::may_become`]
/// allows (S-2); only its newest token finishes it (S-3), and of the attempts of a task that are not void on record
/// at most one was ever sent out; while a task waits, no worker that serves it has a free slot (S-4).
/// [`check`](Self::check) looks at all of them.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    /// The latest time it was told.
    now: Millis,
    tasks: Tasks,
    terms: Interner<Terms>,
    board: Board,
    workers: Workers,
    timers: Timers,
    keys: Keys,
    /// Number of the latest dispatch.
    sequence: u64,
    random: Random,
    /// Keys of restored tasks, until the engine is opened.
    restored_keys: Vec<restore::RestoredKey>,
    #[cfg(test)]
    fault: Option<Fault>,
}

impl Engine {
    /// An empty engine.
    pub fn new(config: Config) -> Self {
        Self {
            random: Random::new(config.seed),
            config,
            now: 0,
            tasks: Tasks::default(),
            terms: Interner::default(),
            board: Board::default(),
            workers: Workers::default(),
            timers: Timers::default(),
            keys: Keys::default(),
            sequence: 0,
            restored_keys: Vec::new(),
            #[cfg(test)]
            fault: None,
        }
    }

    /// Applies a command at the time `now` and adds what is to be done to `effects`.
    ///
    /// The shell carries the effects out in their order, after the records among all effects of the batch are durable.
    /// The order within one command: for each task it moves, first the record, then the change for watchers, then what
    /// its worker is told; last the assignments that this made possible, each with the record it needs before it. When
    /// the commit fails, the shell drops the effects and the engine: it is ahead of the store. A time before that of an
    /// earlier call counts as that one.
    ///
    /// Takes O(log n) for each task that it moves, whatever the number of tasks that wait.
    ///
    /// # Errors
    /// [`Refused`]: the command changed nothing, and `effects` is as it was. Only `Submit` and `Cancel` can be refused.
    pub fn apply(&mut self, now: Millis, command: Command, effects: &mut Vec<Effect>) -> Result<Applied, Refused> {
        self.now = self.now.max(now);
        match command {
            Command::Submit(submission) => return self.submit(submission, effects),
            Command::Cancel(task) => return self.cancel(task, effects),
            Command::Finish { worker, attempt, outcome } => {
                return Ok(Applied::Finished(self.finish(worker, attempt, outcome, effects)));
            }
            Command::WorkerJoined { worker, spec, slots, running } => {
                self.worker_joined(worker, spec, slots, &running, effects);
            }
            Command::WorkerLost(worker) => self.worker_lost(worker),
            Command::SlotsFreed { worker, slots } => self.slots_freed(worker, slots, effects),
            Command::HandBack { worker, attempt } => self.hand_back(worker, attempt, effects),
            Command::Tick => self.tick(effects),
        }
        Ok(Applied::Done)
    }

    /// When the next [`Command::Tick`] is due; `None` while no timer runs. May lie in the past.
    pub fn next_timer(&self) -> Option<Millis> {
        let lease = self.workers.next_lease().map(|(at, _)| at);
        [self.timers.next(), lease, self.keys.next()].into_iter().flatten().min()
    }

    /// An unfinished task; `None` when it is final or was never submitted.
    pub fn view(&self, task: TaskId) -> Option<TaskView> {
        let task = self.tasks.at(self.tasks.find(task)?);
        let running = task.state == State::Running;
        Some(TaskView {
            state: task.state,
            attempts: task.attempts,
            worker: running.then(|| self.workers.at(task.worker).id),
            token: running.then_some(task.token),
            cancel_requested: task.cancel_requested,
            not_before: task.not_before,
        })
    }

    /// How much the engine holds. O(workers).
    pub fn stats(&self) -> Stats {
        let counts = self.tasks.counts();
        Stats {
            tasks: self.tasks.len(),
            pending: counts.pending,
            scheduled: counts.scheduled,
            running: counts.running,
            retrying: counts.retrying,
            queues: self.board.buckets.queues.with_tasks(),
            workers: self.workers.len(),
            free_slots: self.workers.iter().map(|(_, worker)| u64::from(worker.slots)).sum(),
            idempotency_keys: self.keys.len(),
        }
    }

    /// True when a test left this rule out.
    #[cfg(test)]
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// True when a test left this rule out: never.
    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests' twin needs it")]
    const fn has(&self, _: Fault) -> bool {
        false
    }

    /// Leaves a rule out.
    #[cfg(test)]
    pub(crate) fn plant(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }
}
