//! The single steps that rules are made of: a task changes its state, its timer, or the place where it waits.

use super::Engine;
use crate::{
    faults::Fault,
    slab::Slot,
    task::NO_TIMER,
    types::{Effect, Failure, Millis, Record, State},
};

impl Engine {
    /// Changes a task's state. Every move goes through here, so that what runs is counted in one place.
    pub(super) fn set_state(&mut self, slot: Slot, next: State) {
        let task = self.tasks.at(slot);
        let (lane, before) = (task.lane, task.state);
        self.tasks.set_state(slot, next);
        self.moved(lane, Some(before), Some(next));
    }

    /// Counts a task of a lane that comes, moves, or goes.
    pub(super) fn moved(&mut self, lane: Slot, from: Option<State>, to: Option<State>) {
        let entry = self.board.buckets.lanes.at(lane);
        let (queue, party) = (entry.queue, entry.party);
        self.board.queues.count(queue, from, to);
        let (ran, runs) = (from == Some(State::Running), to == Some(State::Running));
        if ran == runs {
            return;
        }
        if let Some(party) = party {
            let running = &mut self.board.parties.at_mut(party).running;
            *running = if runs { *running + 1 } else { *running - 1 };
        }
        self.occupancy_changed(queue, party, runs);
    }

    /// Keeps a task back that may run, so that it counts as if it did; or does so no more.
    pub(super) fn set_held(&mut self, slot: Slot, held: bool) {
        let task = self.tasks.at_mut(slot);
        if task.held == held {
            return;
        }
        task.held = held;
        let entry = self.board.buckets.lanes.at(task.lane);
        let (queue, party) = (entry.queue, entry.party);
        if self.has(Fault::HeldNotCounted) {
            return;
        }
        let count = |count: &mut usize| *count = if held { *count + 1 } else { *count - 1 };
        count(&mut self.board.queues.at_mut(queue).held);
        if let Some(party) = party {
            count(&mut self.board.parties.at_mut(party).held);
        }
        self.occupancy_changed(queue, party, held);
    }

    /// Takes a waiting task out of where it waits.
    pub(super) fn withdraw(&mut self, slot: Slot) {
        let task = self.tasks.at(slot);
        if task.is_queued() {
            let lane = self.board.buckets.lanes.at(task.lane);
            let (queue, party) = (lane.queue, lane.party);
            self.board.remove(task.lane, task.place());
            self.unreserve(slot);
            if let Some(party) = party {
                // Nothing may wait behind its gate any more; then nothing has to open it.
                self.refresh(queue, Some(party));
            }
        }
        self.unset_timer(slot);
        self.set_held(slot, false);
    }

    /// Takes a running task from its worker. Its token is void from here on.
    pub(super) fn detach(&mut self, slot: Slot) {
        self.unset_timer(slot);
        let task = self.tasks.at(slot);
        let request = self.board.buckets.lanes.at(task.lane).request;
        let worker = task.worker;
        self.workers.remove_attempt(worker, (task.id(), slot), request, &mut self.board);
        if request != Default::default() {
            self.roomy.push(worker);
        }
    }

    /// Ends a task that waits nowhere and runs nowhere, and forgets it.
    pub(super) fn end(&mut self, slot: Slot, state: State, failure: Option<Failure>, effects: &mut Vec<Effect>) {
        self.set_state(slot, state);
        let task = self.tasks.at(slot);
        if !self.has(Fault::FinishNotPersisted) {
            let record = Record::Finished { task: task.id(), state, attempts: task.attempts, failure };
            effects.push(Effect::Persist(record));
        }
        self.announce(slot, effects);
        let task = self.tasks.remove(slot);
        self.terms.release(task.terms);
        if task.unique && !self.has(Fault::UniqueKept) {
            self.uniques.remove(slot);
        }
        self.board.remove_task(task.lane, self.now);
    }

    /// Records that the attempts so far are over.
    pub(super) fn persist_retry(&self, slot: Slot, failure: Option<Failure>, effects: &mut Vec<Effect>) {
        let task = self.tasks.at(slot);
        let void =
            if failure.is_some() && self.has(Fault::RetryNotVoided) { crate::types::Token::ZERO } else { task.token };
        effects.push(Effect::Persist(Record::Retry {
            task: task.id(),
            state: task.state,
            attempts: task.attempts,
            not_before: task.not_before,
            failure,
            void,
        }));
    }

    /// Tells watchers where a task stands.
    pub(super) fn announce(&self, slot: Slot, effects: &mut Vec<Effect>) {
        let task = self.tasks.at(slot);
        let worker = (task.state == State::Running).then(|| self.workers.at(task.worker).id);
        let attempt = task.attempts.started;
        effects.push(Effect::Changed { task: task.id(), state: task.state, attempt, worker });
    }

    /// Until when the task may wait for its first attempt.
    pub(super) fn queue_deadline(&self, slot: Slot) -> Option<Millis> {
        let task = self.tasks.at(slot);
        let timeout = self.terms.at(task.terms).queue_timeout.filter(|_| task.attempts.started == 0)?;
        Some(task.not_before.saturating_add(timeout))
    }

    /// Sets a task's timer; none is set.
    pub(super) fn set_timer(&mut self, slot: Slot, at: Millis) {
        let task = self.tasks.at_mut(slot);
        debug_assert_eq!(task.timer, NO_TIMER, "a task has one timer");
        // The end of time is the mark of no timer; it never comes.
        task.timer = at;
        if at != NO_TIMER {
            self.timers.set(at, slot);
        }
    }

    /// Takes a task's timer back, if it is set.
    pub(super) fn unset_timer(&mut self, slot: Slot) {
        let timer = std::mem::replace(&mut self.tasks.at_mut(slot).timer, NO_TIMER);
        if timer != NO_TIMER {
            self.timers.unset(timer, slot);
        }
    }

    /// The queue that a task belongs to.
    pub(super) fn queue_of(&self, slot: Slot) -> Slot {
        self.board.buckets.lanes.at(self.tasks.at(slot).lane).queue
    }
}
