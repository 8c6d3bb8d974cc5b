//! How attempts end: with a result, handed back, lost, or after too long a silence.

use super::{Engine, code, submit::cancelled};
use crate::{
    faults::Fault,
    retry::{RETRY_AFTER_MAX, backoff},
    slab::Slot,
    task::Task,
    types::{Effect, Failure, Outcome, RunningAttempt, State, Token, WorkerId},
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
            effects.push(Effect::Acknowledge { worker, attempt });
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
            effects.push(Effect::Acknowledge { worker, attempt });
            return;
        };
        self.detach(slot);
        let requeued = self.requeue_or_cancel(slot, effects);
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
        if !self.may_claim(task, attempt.token) {
            return None;
        }
        let owner = self.workers.ensure(worker);
        self.claim(slot, owner, attempt.token, effects);
        Some((slot, owner))
    }

    /// True when an attempt of an earlier owner that nobody reported so far may still count: no later attempt was
    /// sent out, and it is not void.
    pub(super) fn may_claim(&self, task: &Task, token: Token) -> bool {
        task.restored
            && task.state != State::Running
            && task.token < token
            && token < Token::start_of(self.config.epoch)
    }

    /// Takes over an attempt that an earlier owner sent out. It keeps its token; its net starts anew.
    pub(super) fn claim(&mut self, slot: Slot, worker: Slot, token: Token, effects: &mut Vec<Effect>) {
        self.withdraw(slot);
        if self.tasks.at(slot).state != State::Pending {
            // The earlier owner thought it was due; its clock may have been ahead.
            self.tasks.set_state(slot, State::Pending);
        }
        self.tasks.at_mut(slot).restored = false;
        self.start(slot, worker, token);
        self.announce(slot, effects);
    }

    /// Takes a running task from its worker. Its token is void from here on.
    pub(super) fn detach(&mut self, slot: Slot) {
        self.unset_timer(slot);
        let task = self.tasks.at(slot);
        self.workers.at_mut(task.worker).attempts.remove(&(task.id, slot));
    }

    /// Counts a detached attempt as failed: the task is tried again, or it is over.
    pub(super) fn fail(&mut self, slot: Slot, failure: Failure, effects: &mut Vec<Effect>) {
        let task = self.tasks.at_mut(slot);
        task.attempts.failed += 1;
        if task.cancel_requested {
            return self.end(slot, State::Cancelled, Some(cancelled()), effects);
        }
        let policy = self.terms.at(task.terms).retry();
        if !failure.retryable || task.attempts.failed >= policy.max_attempts {
            return self.end(slot, State::Failed, Some(failure), effects);
        }
        let wait = match failure.retry_after {
            Some(advice) => advice.min(RETRY_AFTER_MAX),
            None => backoff(&policy, task.attempts.failed, &mut self.random),
        };
        task.not_before = self.now.saturating_add(wait);
        let due = task.not_before;
        self.tasks.set_state(slot, State::Retrying);
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
        if task.attempts.lost > self.config.lost_attempts_max && !task.cancel_requested {
            let message = format!("{} attempts were lost with their workers", task.attempts.lost);
            let failure = Failure { code: code::WORKER_LOST, message, retryable: true, retry_after: None };
            self.end(slot, State::Failed, Some(failure), effects);
            return false;
        }
        self.requeue_or_cancel(slot, effects)
    }

    /// Makes a detached task wait again, or ends it when a cancel was accepted. True when it is to be enqueued.
    fn requeue_or_cancel(&mut self, slot: Slot, effects: &mut Vec<Effect>) -> bool {
        if self.tasks.at(slot).cancel_requested {
            self.end(slot, State::Cancelled, Some(cancelled()), effects);
            return false;
        }
        self.tasks.at_mut(slot).not_before = self.now;
        self.tasks.set_state(slot, State::Pending);
        self.persist_retry(slot, None, effects);
        self.announce(slot, effects);
        true
    }
}
