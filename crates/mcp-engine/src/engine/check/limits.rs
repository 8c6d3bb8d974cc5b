//! The invariants of gates: S-5, and that every gate is as it should be.

use super::Engine;
use crate::{slab::Slot, timers::Gate, types::State};

impl Engine {
    /// Looks at every gate; gives how many of them have a timer.
    pub(super) fn check_gates(&self) -> usize {
        let mut timers = 0;
        for (slot, queue) in self.board.queues.iter() {
            let (running, held) = self.recount(|task| self.queue_of(task) == slot);
            assert_eq!((queue.counts.running, queue.held), (running, held), "S-5: a queue counts what runs");
            let Some(limits) = &queue.limits else { continue };
            timers += self.check_timer(Gate::Queue(slot), limits.limit.wake);
            if queue.epoch > 0 && !self.is_unsettled() {
                let blocked = limits.blocks(queue.occupied(), self.now).next().is_some();
                let shut = limits.limit.shut.is_some();
                assert!(shut || !blocked, "S-5: a queue is open though a limit is reached: {limits:?}");
                let is_late = limits.limit.wake.is_some_and(|wake| wake <= self.now);
                let waits = queue.queued() > 0 && !is_late;
                assert!(blocked || !shut || !waits, "a queue is shut for no reason: {limits:?}");
            }
        }
        for (slot, party) in self.board.parties.check() {
            let of_party = |task: Slot| self.board.buckets.lanes.at(self.tasks.at(task).lane).party == Some(slot);
            let tasks = self.tasks.iter().filter(|(task, _)| of_party(*task)).count();
            let counted = (party.tasks, (party.running, party.held));
            assert_eq!(counted, (tasks, self.recount(of_party)), "S-5: a key counts its tasks, and what runs of them");
            timers += self.check_timer(Gate::Party(slot), party.limit.wake);
            let Some(limits) = &self.board.queues.at(party.queue).limits else {
                assert_eq!(party.limit.shut, None, "a key is shut without a rule");
                continue;
            };
            let waits = party.lanes.iter().any(|lane| !self.board.buckets.lanes.at(*lane).waiting.is_empty());
            if waits && !self.is_unsettled() {
                let blocked = party.blocks(limits, self.now).next().is_some();
                let shut = party.limit.shut.is_some();
                assert!(shut || !blocked, "S-5: a key is open though a limit is reached: {party:?}");
                let is_late = party.limit.wake.is_some_and(|wake| wake <= self.now);
                assert!(blocked || !shut || is_late, "a key is shut for no reason: {party:?}");
            }
        }
        timers
    }

    fn check_timer(&self, gate: Gate, wake: Option<u64>) -> usize {
        assert!(wake.is_none_or(|at| self.timers.wakes(at, gate)), "a timer of a gate that is set will fire");
        usize::from(wake.is_some())
    }

    /// How many of some tasks run, and how many may run.
    fn recount(&self, is_meant: impl Fn(Slot) -> bool) -> (usize, usize) {
        let tasks = || self.tasks.iter().filter(|(slot, _)| is_meant(*slot));
        let running = tasks().filter(|(_, task)| task.state == State::Running).count();
        (running, tasks().filter(|(_, task)| task.held).count())
    }
}
