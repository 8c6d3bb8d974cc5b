//! How attempts end: with a result, handed back, lost, or after too long a silence.

use super::{Engine, code, submit::cancelled};
use crate::{
    faults::Fault,
    retry::{RETRY_AFTER_MAX, backoff},
    slab::Slot,
    types::{Effect, Failure, Outcome, RunningAttempt, State, TaskId, Token, WorkerId},
};

impl Engine {
    /// Takes a result; false when it is outdated or a repeat.
    pub(super) fn finish(
        &mut self,
        worker: WorkerId,
        attempt: RunningAttempt,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some((slot, owner)) = self.current(worker, attempt, effects) else {
            self.not_current(worker, attempt, effects);
            return false;
        };
        self.detach(slot);
        let mut requeued = false;
        match outcome {
            // Also when a cancel was requested: the work is done.
            Outcome::Succeeded => self.end(slot, State::Succeeded, None, effects),
            Outcome::Failed(failure) => self.fail(slot, failure, effects),
            // Stopped, though nobody asked for it: as if it had been lost.
            Outcome::Cancelled => requeued = self.lose(slot, effects),
        }
        effects.push(Effect::Acknowledge { worker, attempt });
        if requeued {
            self.enqueue(slot, effects);
        }
        self.workers.forget_idle(owner);
        true
    }

    /// Takes an attempt back unfinished.
    pub(super) fn hand_back(&mut self, worker: WorkerId, attempt: RunningAttempt, effects: &mut Vec<Effect>) {
        let Some((slot, owner)) = self.current(worker, attempt, effects) else {
            return self.not_current(worker, attempt, effects);
        };
        self.detach(slot);
        let requeued = match self.runs_once(slot) {
            true => {
                let message = "the worker handed the attempt back, and it may have run in part".to_owned();
                self.end(slot, State::Failed, Some(lost(message)), effects);
                false
            }
            false => self.requeue_or_cancel(slot, effects),
        };
        effects.push(Effect::Acknowledge { worker, attempt });
        if requeued {
            self.enqueue(slot, effects);
        }
        self.workers.forget_idle(owner);
    }

    /// The task and the worker of an attempt, when it is that worker's and the task's newest.
    fn current(
        &mut self,
        worker: WorkerId,
        attempt: RunningAttempt,
        effects: &mut Vec<Effect>,
    ) -> Option<(Slot, Slot)> {
        let slot = self.tasks.find(attempt.task)?;
        let task = self.tasks.at(slot);
        if task.state == State::Running {
            let owned = task.token == attempt.token && self.workers.at(task.worker).id == worker;
            return (owned || self.has(Fault::TokenUnchecked)).then_some((slot, task.worker));
        }
        if !self.may_claim(slot, attempt.token) {
            return None;
        }
        let owner = self.workers.ensure(worker);
        self.claim(slot, owner, attempt.token, effects);
        Some((slot, owner))
    }

    /// Answers for an attempt that does not count. Nothing is said about one whose task is still being restored.
    fn not_current(&mut self, worker: WorkerId, attempt: RunningAttempt, effects: &mut Vec<Effect>) {
        if self.is_restoring(attempt.task) {
            return;
        }
        if let Some(slot) = self.workers.find(worker)
            && self.workers.remove_leaving(slot, attempt, &mut self.board)
        {
            self.roomy.push(slot);
        }
        effects.push(Effect::Acknowledge { worker, attempt });
    }

    /// True when the task is known, but its partition is not open yet.
    pub(super) fn is_restoring(&self, task: TaskId) -> bool {
        self.tasks.find(task).is_some_and(|slot| self.epoch_of(slot) == 0)
    }

    /// True when an attempt of an earlier owner that nobody reported so far may still count: no later attempt was
    /// sent out, and it is not void.
    pub(super) fn may_claim(&self, slot: Slot, token: Token) -> bool {
        let task = self.tasks.at(slot);
        if !task.restored || task.state == State::Running {
            return false;
        }
        match self.terms.at(task.terms).at_most_once {
            // There is one attempt at most, and it is on record.
            true => task.token == token,
            false => task.token < token && token < Token::start_of(self.epoch_of(slot)),
        }
    }

    /// Takes over an attempt that an earlier owner sent out. It keeps its token; its net starts anew. Limits do not
    /// apply: it runs, whatever they say.
    pub(super) fn claim(&mut self, slot: Slot, worker: Slot, token: Token, effects: &mut Vec<Effect>) {
        self.withdraw(slot);
        if self.tasks.at(slot).state != State::Pending {
            // The earlier owner thought it was due; its clock may have been ahead.
            self.set_state(slot, State::Pending);
        }
        self.tasks.at_mut(slot).restored = false;
        self.start(slot, worker, token);
        self.announce(slot, effects);
    }

    /// Counts a detached attempt as failed: the task is tried again, or it is over.
    pub(super) fn fail(&mut self, slot: Slot, failure: Failure, effects: &mut Vec<Effect>) {
        let task = self.tasks.at_mut(slot);
        task.attempts.failed += 1;
        let (failed, terms) = (task.attempts.failed, self.terms.at(task.terms));
        if task.cancel_requested {
            return self.end(slot, State::Cancelled, Some(cancelled()), effects);
        }
        if terms.gives_up(&failure, failed) && !self.has(Fault::RetriedAnyway) {
            return self.end(slot, State::Failed, Some(failure), effects);
        }
        let policy = terms.retry();
        let wait = match failure.retry_after {
            Some(advice) => advice.min(RETRY_AFTER_MAX),
            None => backoff(&policy, failed, &mut self.random),
        };
        let due = self.now.saturating_add(wait);
        self.tasks.at_mut(slot).not_before = due;
        self.set_state(slot, State::Retrying);
        self.persist_retry(slot, Some(failure), effects);
        self.announce(slot, effects);
        self.set_timer(slot, due);
    }

    /// Counts a detached attempt as lost. True when the task is to be enqueued again, else it is over.
    pub(super) fn lose(&mut self, slot: Slot, effects: &mut Vec<Effect>) -> bool {
        let cancel_lost = self.has(Fault::CancelLost);
        let task = self.tasks.at_mut(slot);
        task.attempts.lost += 1;
        task.cancel_requested &= !cancel_lost;
        if self.has(Fault::PermitLeaked) {
            let queue = self.queue_of(slot);
            self.board.queues.at_mut(queue).held += 1;
        }
        if self.runs_once(slot) {
            let message = "the attempt was lost with its worker, and the task runs at most once".to_owned();
            self.end(slot, State::Failed, Some(lost(message)), effects);
            return false;
        }
        let task = self.tasks.at(slot);
        if task.attempts.lost > self.config.lost_attempts_max && !task.cancel_requested {
            let message = format!("{} attempts were lost with their workers", task.attempts.lost);
            self.end(slot, State::Failed, Some(lost(message)), effects);
            return false;
        }
        self.requeue_or_cancel(slot, effects)
    }

    /// True when the end of an attempt without a result is the end of its task.
    pub(super) fn runs_once(&self, slot: Slot) -> bool {
        let task = self.tasks.at(slot);
        self.terms.at(task.terms).at_most_once && !task.cancel_requested && !self.has(Fault::StartedAgain)
    }

    /// Makes a detached task wait again, or ends it when a cancel was accepted. True when it is to be enqueued.
    fn requeue_or_cancel(&mut self, slot: Slot, effects: &mut Vec<Effect>) -> bool {
        if self.tasks.at(slot).cancel_requested {
            self.end(slot, State::Cancelled, Some(cancelled()), effects);
            return false;
        }
        self.tasks.at_mut(slot).not_before = self.now;
        self.set_state(slot, State::Pending);
        self.persist_retry(slot, None, effects);
        self.announce(slot, effects);
        true
    }
}

/// What the record of a task says whose attempt nobody knows the end of.
pub(super) fn lost(message: String) -> Failure {
    Failure { code: code::WORKER_LOST, name: "WORKER_LOST".to_owned(), message, retryable: true, retry_after: None }
}
