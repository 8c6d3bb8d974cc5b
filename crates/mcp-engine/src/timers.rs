//! The timers of tasks, and those of what keeps tasks back.

use std::collections::BTreeSet;

use crate::{slab::Slot, types::Millis};

/// What lets tasks through or not: a queue as a whole, or a key of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gate {
    /// A queue.
    Queue(Slot),
    /// The tasks of one key of a queue.
    Party(Slot),
}

/// When something is due. A task has one timer at most, and what it means follows from the task's state. A gate that
/// waits for a token has one, however many tasks wait behind it.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    tasks: BTreeSet<(Millis, Slot)>,
    gates: BTreeSet<(Millis, Gate)>,
}

impl Timers {
    /// Sets a task's timer.
    pub(crate) fn set(&mut self, at: Millis, task: Slot) {
        self.tasks.insert((at, task));
    }

    /// Takes a task's timer back.
    pub(crate) fn unset(&mut self, at: Millis, task: Slot) {
        let was_set = self.tasks.remove(&(at, task));
        debug_assert!(was_set, "a timer to take back was not set");
    }

    /// Moves a gate's timer.
    pub(crate) fn wake(&mut self, gate: Gate, before: Option<Millis>, after: Option<Millis>) {
        if let Some(at) = before {
            self.gates.remove(&(at, gate));
        }
        self.gates.extend(after.map(|at| (at, gate)));
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Millis> {
        let task = self.tasks.first().map(|(at, _)| *at);
        let gate = self.gates.first().map(|(at, _)| *at);
        [task, gate].into_iter().flatten().min()
    }

    /// The next task whose timer is due at `now`; the timer stays set.
    pub(crate) fn due(&self, now: Millis) -> Option<Slot> {
        self.tasks.first().filter(|(at, _)| *at <= now).map(|(_, task)| *task)
    }

    /// The next gate whose timer is due at `now`; the timer stays set.
    pub(crate) fn due_gate(&self, now: Millis) -> Option<Gate> {
        self.gates.first().filter(|(at, _)| *at <= now).map(|(_, gate)| *gate)
    }

    /// Timers of tasks, and of gates, that are set.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.tasks.len(), self.gates.len())
    }

    /// True when this task's timer is set.
    pub(crate) fn contains(&self, at: Millis, task: Slot) -> bool {
        self.tasks.contains(&(at, task))
    }

    /// True when this gate's timer is set.
    pub(crate) fn wakes(&self, at: Millis, gate: Gate) -> bool {
        self.gates.contains(&(at, gate))
    }
}
