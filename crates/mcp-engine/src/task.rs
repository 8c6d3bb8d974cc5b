//! The unfinished tasks.

use crate::{
    index::Index,
    lanes::{Place, rank},
    slab::{Slab, Slot},
    types::{AttemptCount, Millis, State, Submission, TaskId, Token},
};

/// What the engine holds of an unfinished task: 88 bytes. All that tasks share is interned.
#[derive(Debug)]
pub(crate) struct Task {
    /// By halves: aligned to 8 bytes, a task takes 88 and not 96.
    id: [u64; 2],
    /// In `Running` the token of the attempt; else the latest one that is void, `Token::ZERO` when there is none. Of a
    /// restored task that runs at most once: the token under which it was started.
    pub(crate) token: Token,
    /// When the next attempt is due, or was due.
    pub(crate) not_before: Millis,
    /// When its timer fires; each state has at most one. See [`NO_TIMER`].
    pub(crate) timer: Millis,
    /// Its place in its lane, without the id.
    pub(crate) rank: i64,
    pub(crate) attempts: AttemptCount,
    pub(crate) lane: Slot,
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
    /// It has a name that no other unfinished task of its queue may have.
    pub(crate) unique: bool,
}

/// The time of a timer that is not set.
pub(crate) const NO_TIMER: Millis = Millis::MAX;

impl Task {
    /// A task that waits nowhere yet.
    pub(crate) fn new(submission: &Submission, state: State, lane: Slot, terms: Slot, now: Millis) -> Self {
        let submitted_at = if submission.submitted_at == 0 { now } else { submission.submitted_at };
        let rank = rank(submitted_at.max(submission.not_before), submission.priority);
        Self {
            id: submission.id.halves(),
            token: Token::ZERO,
            not_before: submission.not_before.max(now),
            timer: NO_TIMER,
            rank,
            attempts: AttemptCount::default(),
            lane,
            terms,
            worker: 0,
            priority: submission.priority,
            state,
            cancel_requested: false,
            restored: false,
            held: false,
            unique: false,
        }
    }

    /// Its id.
    pub(crate) const fn id(&self) -> TaskId {
        TaskId::from_halves(self.id)
    }

    /// Its place in its lane.
    pub(crate) const fn place(&self) -> Place {
        Place::new(self.rank, self.id())
    }

    /// True when it waits in its lane.
    pub(crate) const fn is_queued(&self) -> bool {
        matches!(self.state, State::Pending) && !self.held
    }
}

/// The unfinished tasks, found by id or by slot.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    entries: Slab<Task>,
    slots: Index,
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
    /// How many there are.
    pub(crate) const fn sum(&self) -> usize {
        self.pending + self.scheduled + self.running + self.retrying
    }

    /// The count of a state, if it is one of unfinished tasks.
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
        let (id, state) = (task.id(), task.state);
        let slot = self.entries.insert(task);
        let is_new = self.slots.insert(id, slot);
        debug_assert!(is_new, "a task's id was in use");
        if let Some(count) = self.counts.of(state) {
            *count += 1;
        }
        slot
    }

    /// Takes a task out; its state must be final.
    pub(crate) fn remove(&mut self, slot: Slot) -> Task {
        let task = self.entries.remove(slot);
        assert!(task.state.is_final(), "a task is given up unfinished: {task:?}");
        self.slots.remove(task.id());
        task
    }

    /// Takes out a task that is somebody else's from here on, whatever its state.
    pub(crate) fn forget(&mut self, slot: Slot) -> Task {
        let task = self.entries.remove(slot);
        self.slots.remove(task.id());
        if let Some(count) = self.counts.of(task.state) {
            *count -= 1;
        }
        task
    }

    /// Changes a task's state; panics when the move is illegal.
    pub(crate) fn set_state(&mut self, slot: Slot, next: State) {
        let task = self.entries.at_mut(slot);
        assert!(task.state.may_become(next), "illegal move of {:?}: {:?} to {next:?}", task.id(), task.state);
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
        self.slots.find(id)
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

    /// Tasks that are found by id. For checks.
    pub(crate) fn indexed(&self) -> usize {
        self.slots.len()
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
