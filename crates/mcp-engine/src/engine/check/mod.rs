//! The invariants, looked at one by one.

mod board;
mod limits;
mod workers;

use std::collections::BTreeMap;

use super::Engine;
use crate::{
    slab::Slot,
    task::{Counts, NO_TIMER, Task},
    types::{State, Token},
};

/// What the tasks of something come to.
#[derive(Debug, Default)]
struct Tally {
    counts: Counts,
    held: usize,
    queued: usize,
}

impl Engine {
    /// Looks at every invariant. For tests: takes time for everything the engine holds.
    ///
    /// # Panics
    /// When an invariant is broken.
    pub fn check(&self) {
        let mut all = Tally::default();
        let mut lanes: BTreeMap<Slot, Tally> = BTreeMap::new();
        let mut timers = 0;
        for (slot, task) in self.tasks.iter() {
            self.check_task(slot, task);
            for tally in [&mut all, lanes.entry(task.lane).or_default()] {
                *tally.counts.of(task.state).expect("the engine holds unfinished tasks only") += 1;
                tally.held += usize::from(task.held);
                tally.queued += usize::from(task.is_queued() && self.epoch_of(slot) > 0);
            }
            timers += usize::from(task.timer != NO_TIMER);
            if self.epoch_of(slot) > 0 {
                let explanation = self.explain(task.id()).expect("an unfinished task is explained");
                assert!(!explanation.reasons.is_empty(), "there is a reason why a task is not done: {task:?}");
            }
        }
        assert_eq!(self.tasks.counts(), all.counts, "the counts match the tasks");
        assert_eq!(self.tasks.indexed(), self.tasks.len(), "tasks are found by id, and nothing else is");
        assert_eq!(self.terms.references(), self.tasks.len(), "every task has its terms");
        let (task_timers, gate_timers) = self.timers.len();
        assert_eq!(task_timers, timers, "every timer belongs to a task");
        assert_eq!(gate_timers, self.check_gates(), "every timer of a gate belongs to one");
        self.check_names();
        self.check_lanes(&lanes);
        self.check_queues(&lanes);
        self.check_pools();
        self.check_workers(all.counts.running);
        if self.marked.is_empty() && self.roomy.is_empty() {
            self.check_settled();
        }
    }

    fn check_task(&self, slot: Slot, task: &Task) {
        assert_eq!(self.tasks.find(task.id()), Some(slot), "a task is found by its id");
        let epoch = self.epoch_of(slot);
        let newest = Token { epoch: if epoch == 0 { u64::MAX } else { epoch }, sequence: self.sequence };
        assert!(task.token <= newest, "no token is ahead of the latest dispatch: {task:?}");
        if task.timer != NO_TIMER {
            assert!(self.timers.contains(task.timer, slot), "a timer that is set will fire: {task:?}");
        }
        let waits = self.board.buckets.lanes.at(task.lane).waiting.get(task.place()) == Some(slot);
        if epoch == 0 {
            assert!(!waits && task.timer == NO_TIMER && task.state != State::Running, "{task:?}");
            return;
        }
        assert_eq!(waits, task.is_queued(), "a task waits in its lane exactly when it should: {task:?}");
        assert!(!task.held || task.state == State::Pending, "{task:?}");
        match task.state {
            State::Running => {
                let worker = self.workers.get(task.worker).expect("a running task has a worker");
                assert!(worker.attempts.contains(&(task.id(), slot)), "its worker has it: {task:?}");
                assert!(!task.restored && task.token != Token::ZERO && task.attempts.started > 0, "{task:?}");
            }
            State::Scheduled | State::Retrying => assert_eq!(task.timer, task.not_before, "{task:?}"),
            State::Pending if task.held => assert_ne!(task.timer, NO_TIMER, "{task:?}"),
            State::Pending => assert_eq!(task.timer, self.queue_deadline(slot).unwrap_or(NO_TIMER), "{task:?}"),
            State::Succeeded | State::Failed | State::Cancelled => panic!("a final task is kept: {task:?}"),
        }
        let never_dispatched = task.state != State::Running && (task.restored || task.held);
        assert!(task.state == State::Running || !task.cancel_requested || never_dispatched, "{task:?}");
    }

    /// Names of tasks go with their tasks.
    fn check_names(&self) {
        let mut named = 0;
        for (task, queue) in self.uniques.check() {
            named += 1;
            let entry = self.tasks.get(task).expect("a name belongs to an unfinished task");
            assert!(entry.unique && self.queue_of(task) == queue, "a name is that of a task of its queue");
        }
        assert_eq!(self.tasks.iter().filter(|(_, task)| task.unique).count(), named, "every name is kept");
    }
}
