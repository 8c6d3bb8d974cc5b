//! The unfinished tasks.

use std::collections::BTreeMap;

use crate::{
    buckets::Place,
    slab::{Slab, Slot},
    types::{AttemptCount, Millis, State, TaskId, Token},
};

/// What the engine holds of an unfinished task: 80 bytes. All that tasks share is interned.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) id: TaskId,
    /// In `Running` the token of the attempt; else the latest one that is void, `Token::ZERO` when there is none.
    pub(crate) token: Token,
    /// When the next attempt is due, or was due.
    pub(crate) not_before: Millis,
    /// When its timer fires; each state has at most one. See [`NO_TIMER`].
    pub(crate) timer: Millis,
    pub(crate) attempts: AttemptCount,
    pub(crate) bucket: Slot,
    pub(crate) terms: Slot,
    /// Who has it, in `Running`.
    pub(crate) worker: Slot,
    pub(crate) priority: i16,
    pub(crate) state: State,
    pub(crate) cancel_requested: bool,
    /// It came from the store and this owner has not dispatched it: an earlier owner's attempt may still run.
    pub(crate) restored: bool,
    /// `Pending`, but kept back until the grace after a start is over.
    pub(crate) held: bool,
}

/// The time of a timer that is not set.
pub(crate) const NO_TIMER: Millis = Millis::MAX;

impl Task {
    /// Its place in the order of its bucket.
    pub(crate) const fn place(&self) -> Place {
        Place::new(self.priority, self.id)
    }

    /// True when it waits in its bucket for a worker.
    pub(crate) const fn is_queued(&self) -> bool {
        matches!(self.state, State::Pending) && !self.held
    }
}

/// The unfinished tasks, found by id or by slot.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    entries: Slab<Task>,
    /// By the halves of the id: aligned to 8 bytes, an entry takes 20 and not 32. Ordered and not hashed: ids grow and
    /// end about in their order, so that the entries in use are close together in memory, and it never grows all at
    /// once.
    slots: BTreeMap<[u64; 2], Slot>,
    counts: Counts,
}

/// How many unfinished tasks are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) pending: usize,
    pub(crate) scheduled: usize,
    pub(crate) running: usize,
    pub(crate) retrying: usize,
}

impl Counts {
    pub(crate) fn of(&mut self, state: State) -> Option<&mut usize> {
        match state {
            State::Pending => Some(&mut self.pending),
            State::Scheduled => Some(&mut self.scheduled),
            State::Running => Some(&mut self.running),
            State::Retrying => Some(&mut self.retrying),
            State::Succeeded | State::Failed | State::Cancelled => None,
        }
    }
}

impl Tasks {
    /// Adds a task whose id is not there yet.
    pub(crate) fn insert(&mut self, task: Task) -> Slot {
        let (key, state) = (task.id.halves(), task.state);
        let slot = self.entries.insert(task);
        let earlier = self.slots.insert(key, slot);
        debug_assert!(earlier.is_none(), "a task's id was in use");
        if let Some(count) = self.counts.of(state) {
            *count += 1;
        }
        slot
    }

    /// Takes a task out; its state must be final.
    pub(crate) fn remove(&mut self, slot: Slot) -> Task {
        let task = self.entries.remove(slot);
        assert!(task.state.is_final(), "a task is given up unfinished: {task:?}");
        self.slots.remove(&task.id.halves());
        task
    }

    /// Changes a task's state; panics when the move is illegal.
    pub(crate) fn set_state(&mut self, slot: Slot, next: State) {
        let task = self.entries.at_mut(slot);
        assert!(task.state.may_become(next), "illegal move of {:?}: {:?} to {next:?}", task.id, task.state);
        self.place_in(slot, next);
    }

    /// Puts a restored task into the state that follows from the time, whatever the store said.
    pub(crate) fn place_in(&mut self, slot: Slot, next: State) {
        let task = self.entries.at_mut(slot);
        if let Some(count) = self.counts.of(task.state) {
            *count -= 1;
        }
        if let Some(count) = self.counts.of(next) {
            *count += 1;
        }
        task.state = next;
    }

    /// The slot of a task.
    pub(crate) fn find(&self, id: TaskId) -> Option<Slot> {
        self.slots.get(&id.halves()).copied()
    }

    /// The task in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Task {
        self.entries.at(slot)
    }

    /// The task in a slot that is in use.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut Task {
        self.entries.at_mut(slot)
    }

    /// The task in a slot, if there is one.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Task> {
        self.entries.get(slot)
    }

    /// Unfinished tasks.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many are in each state.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Every task, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Task)> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::Task;

    #[test]
    fn a_waiting_task_stays_small() {
        assert!(size_of::<Option<Task>>() <= 96, "{}", size_of::<Option<Task>>());
    }
}
