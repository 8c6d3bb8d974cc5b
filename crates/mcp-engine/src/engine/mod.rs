//! The engine itself: its parts and how commands reach the rules.

mod admit;
mod attempts;
mod check;
mod dispatch;
mod explain;
mod gates;
mod listing;
mod moves;
mod preempt;
mod restore;
mod rules;
mod sessions;
mod stats;
mod submit;
#[cfg(test)]
mod tests;
mod tick;

use std::collections::{BTreeMap, BTreeSet};

#[cfg(doc)]
use crate::types::State;
use crate::{
    board::Board,
    faults::Fault,
    idempotency::Keys,
    intern::Interner,
    retry::{Random, Terms},
    slab::Slot,
    task::Tasks,
    timers::{Gate, Timers},
    types::{Applied, Command, Config, Effect, Millis, Partition, Refused},
    uniques::Uniques,
    workers::Workers,
};

pub use self::{
    listing::{QueuePage, Serving},
    stats::{Stats, TaskView},
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

/// The scheduler's rules for the partitions that one process owns.
///
/// Its life: [`new`](Self::new), then [`apply`](Self::apply) for ever. A partition is taken over with
/// [`restore`](Self::restore), [`remember`](Self::remember) and [`restore_queue`](Self::restore_queue) for what the
/// store holds of it, then [`opened`](Self::opened), and given up with [`close`](Self::close), each at any time.
///
/// Invariants: a task is in exactly one of waiting, running, final (S-1); it moves only as [`State::may_become`]
/// allows (S-2); only its newest token finishes it (S-3), and of the attempts of a task that are not void on record
/// at most one was ever sent out; while a task waits that no limit keeps back, no worker that serves it has a free
/// slot and room for it (S-4); what counts under a limit is what runs or may run, counted from the tasks themselves
/// (S-5). [`check`](Self::check) looks at all of them.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    /// The latest time it was told.
    now: Millis,
    /// Partitions that are open or being restored.
    parts: BTreeMap<Partition, restore::Part>,
    tasks: Tasks,
    terms: Interner<Terms>,
    board: Board,
    workers: Workers,
    timers: Timers,
    keys: Keys,
    uniques: Uniques,
    /// Number of the latest dispatch.
    sequence: u64,
    random: Random,
    /// Gates that may have opened in this command.
    marked: Vec<Gate>,
    /// Workers that may have more room than before this command.
    roomy: Vec<Slot>,
    /// Buckets whose tasks stop others of a lower priority.
    urgent: BTreeSet<Slot>,
    /// Waiting tasks for which a worker is making room.
    reservations: BTreeMap<Slot, Slot>,
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
            parts: BTreeMap::new(),
            tasks: Tasks::default(),
            terms: Interner::default(),
            board: Board::default(),
            workers: Workers::default(),
            timers: Timers::default(),
            keys: Keys::default(),
            uniques: Uniques::default(),
            sequence: 0,
            marked: Vec::new(),
            roomy: Vec::new(),
            urgent: BTreeSet::new(),
            reservations: BTreeMap::new(),
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
    /// [`Refused`]: the command changed nothing, and `effects` is as it was. Only `Submit`, `Cancel` and `SetQueue` can
    /// be refused.
    pub fn apply(&mut self, now: Millis, command: Command, effects: &mut Vec<Effect>) -> Result<Applied, Refused> {
        self.now = self.now.max(now);
        let applied = self.carry_out(command, effects);
        // A refusal changes nothing, also nothing that was left from the opening or closing of a partition.
        if applied.is_ok() && self.is_unsettled() {
            self.settle(effects);
        }
        applied
    }

    fn carry_out(&mut self, command: Command, effects: &mut Vec<Effect>) -> Result<Applied, Refused> {
        match command {
            Command::Submit(submission) => return self.submit(&submission, effects),
            Command::Cancel(task) => return self.cancel(task, effects),
            Command::SetQueue { queue, partition, rules } => self.set_queue(&queue, partition, rules)?,
            Command::Finish { worker, attempt, outcome } => {
                return Ok(Applied::Finished(self.finish(worker, attempt, outcome, effects)));
            }
            Command::WorkerJoined { worker, spec, slots, running } => {
                self.worker_joined(worker, spec, slots, &running, effects);
            }
            Command::AttemptsReported { worker, running } => self.attempts_reported(worker, &running, effects),
            Command::WorkerLost(worker) => self.worker_lost(worker),
            Command::SlotsFreed { worker, slots } => self.slots_freed(worker, slots, effects),
            Command::ReclaimSlots { worker, slots } => {
                return Ok(Applied::Reclaimed(self.reclaim_slots(worker, slots)));
            }
            Command::HandBack { worker, attempt } => self.hand_back(worker, attempt, effects),
            Command::Tick => self.tick(effects),
        }
        Ok(Applied::Done)
    }

    /// When the next [`Command::Tick`] is due; `None` while no timer runs. May lie in the past.
    pub fn next_timer(&self) -> Option<Millis> {
        let lease = self.workers.next_lease().map(|(at, _)| at);
        let unsettled = (!self.marked.is_empty() || !self.roomy.is_empty()).then_some(self.now);
        [self.timers.next(), lease, self.keys.next(), unsettled].into_iter().flatten().min()
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
