//! The tasks' timers.

use std::collections::BTreeSet;

use crate::{slab::Slot, types::Millis};

/// When something is due for which task. A task has one timer at most; what it means follows from the task's state.
#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Millis, Slot)>);

impl Timers {
    /// Sets a timer.
    pub(crate) fn set(&mut self, at: Millis, task: Slot) {
        self.0.insert((at, task));
    }

    /// Takes a timer back.
    pub(crate) fn unset(&mut self, at: Millis, task: Slot) {
        let was_set = self.0.remove(&(at, task));
        debug_assert!(was_set, "a timer to take back was not set");
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.0.first().map(|(at, _)| *at)
    }

    /// The next task whose timer is due at `now`; the timer stays set.
    pub(crate) fn due(&self, now: Millis) -> Option<Slot> {
        self.0.first().filter(|(at, _)| *at <= now).map(|(_, task)| *task)
    }

    /// Timers that are set.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// True when this timer is set.
    pub(crate) fn contains(&self, at: Millis, task: Slot) -> bool {
        self.0.contains(&(at, task))
    }
}
