//! Bringing waiting tasks and free workers together, and moving tasks between the places where they wait.

use super::Engine;
use crate::{
    faults::Fault,
    slab::Slot,
    task::NO_TIMER,
    types::{Effect, Failure, Millis, Record, RunningAttempt, State, Token},
};

impl Engine {
    /// Gives a task that is `Pending` to a worker, or lets it wait for one.
    pub(super) fn enqueue(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        let task = self.tasks.at(slot);
        if let Some(worker) = self.board.free_worker(task.bucket) {
            // Others waiting in the bucket would have had this worker already.
            return self.assign(slot, worker, effects);
        }
        self.board.push(task.bucket, task.place(), slot);
        if let Some(deadline) = self.queue_deadline(slot) {
            self.set_timer(slot, deadline);
        }
    }

    /// Gives a worker tasks until its slots are taken or nothing waits for it.
    pub(super) fn serve(&mut self, worker: Slot, effects: &mut Vec<Effect>) {
        let Some(pool) = self.workers.at(worker).pool else { return };
        while self.workers.at(worker).slots > 0
            && let Some(slot) = self.board.pop(pool)
        {
            self.unset_timer(slot);
            self.assign(slot, worker, effects);
        }
    }

    /// Starts an attempt of a task that waits nowhere on a worker with a free slot.
    fn assign(&mut self, slot: Slot, worker: Slot, effects: &mut Vec<Effect>) {
        self.sequence += 1;
        let token = Token { epoch: self.config.epoch, sequence: self.sequence };
        let task = self.tasks.at_mut(slot);
        if task.restored {
            // An earlier owner may have sent out an attempt without a record. From here on it must never count
            // again, not even for a later owner that hears of it before it hears of the new attempt.
            task.restored = false;
            task.token = Token::start_of(self.config.epoch);
            if !self.has(Fault::RestoredNotVoided) {
                self.persist_retry(slot, None, effects);
            }
        }
        let run_timeout = self.start(slot, worker, token);
        if !self.has(Fault::SlotNotTaken) {
            self.workers.take_slot(worker, token.sequence, &mut self.board);
        }
        let (id, task) = (self.workers.at(worker).id, self.tasks.at(slot));
        let attempt = RunningAttempt { task: task.id, token };
        effects.push(Effect::Assign { worker: id, attempt, number: task.attempts.started, run_timeout });
        self.announce(slot, effects);
    }

    /// Notes that an attempt runs from now on, with its net against silence; gives how long it may run.
    pub(super) fn start(&mut self, slot: Slot, worker: Slot, token: Token) -> Millis {
        self.tasks.set_state(slot, State::Running);
        let task = self.tasks.at_mut(slot);
        task.attempts.started += 1;
        task.token = token;
        task.worker = worker;
        let id = task.id;
        let run_timeout = self.terms.at(task.terms).run_timeout;
        self.workers.at_mut(worker).attempts.insert((id, slot));
        let deadline = self.now.saturating_add(run_timeout).saturating_add(self.config.run_timeout_grace);
        self.set_timer(slot, deadline);
        run_timeout
    }

    /// Takes a waiting task out of where it waits.
    pub(super) fn withdraw(&mut self, slot: Slot) {
        let task = self.tasks.at(slot);
        if task.is_queued() {
            self.board.remove(task.bucket, task.place());
        }
        self.unset_timer(slot);
        self.tasks.at_mut(slot).held = false;
    }

    /// Ends a task that waits nowhere and runs nowhere, and forgets it.
    pub(super) fn end(&mut self, slot: Slot, state: State, failure: Option<Failure>, effects: &mut Vec<Effect>) {
        self.tasks.set_state(slot, state);
        let task = self.tasks.at(slot);
        if !self.has(Fault::FinishNotPersisted) {
            let record = Record::Finished { task: task.id, state, attempts: task.attempts, failure };
            effects.push(Effect::Persist(record));
        }
        self.announce(slot, effects);
        let task = self.tasks.remove(slot);
        self.terms.release(task.terms);
        self.board.buckets.remove_task(task.bucket);
    }

    /// Records that the attempts so far are over.
    pub(super) fn persist_retry(&self, slot: Slot, failure: Option<Failure>, effects: &mut Vec<Effect>) {
        let task = self.tasks.at(slot);
        let void = if failure.is_some() && self.has(Fault::RetryNotVoided) { Token::ZERO } else { task.token };
        effects.push(Effect::Persist(Record::Retry {
            task: task.id,
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
        effects.push(Effect::Changed { task: task.id, state: task.state, attempt, worker });
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
}
