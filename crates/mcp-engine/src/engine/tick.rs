//! What happens because time passed.

use super::{Engine, attempts::lost, code, submit::cancelled};
use crate::{
    slab::Slot,
    types::{Effect, Failure, RunningAttempt, State},
};

impl Engine {
    /// Fires due timers, at most `timers_per_tick_max` of them: leases, then tasks, gates, idempotency keys.
    pub(super) fn tick(&mut self, effects: &mut Vec<Effect>) {
        let mut budget = self.config.timers_per_tick_max.max(1);
        while budget > 0
            && let Some((_, worker)) = self.workers.next_lease().filter(|(at, _)| *at <= self.now)
        {
            budget -= self.end_lease(worker, budget, effects);
        }
        while budget > 0
            && let Some(slot) = self.timers.due(self.now)
        {
            self.fire(slot, effects);
            budget -= 1;
        }
        while budget > 0
            && let Some(gate) = self.timers.due_gate(self.now)
        {
            self.wake(gate);
            budget -= 1;
        }
        while budget > 0 && self.keys.next().is_some_and(|at| at <= self.now) {
            self.forget_oldest_key();
            budget -= 1;
        }
    }

    /// Does what a task's timer was set for, which follows from its state.
    fn fire(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        match self.tasks.at(slot).state {
            State::Scheduled | State::Retrying => {
                self.unset_timer(slot);
                self.set_state(slot, State::Pending);
                self.announce(slot, effects);
                self.enqueue(slot, effects);
            }
            State::Pending if self.tasks.at(slot).held => self.release(slot, effects),
            State::Pending => self.queue_timed_out(slot, effects),
            State::Running => self.run_timed_out(slot, effects),
            State::Succeeded | State::Failed | State::Cancelled => unreachable!("a final task has no timer"),
        }
    }

    /// Lets a restored task go that no worker reported within the grace.
    fn release(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        let task = self.tasks.at(slot);
        if task.cancel_requested {
            self.withdraw(slot);
            self.end(slot, State::Cancelled, Some(cancelled()), effects);
        } else if task.restored && self.runs_once(slot) {
            self.withdraw(slot);
            let attempts = &mut self.tasks.at_mut(slot).attempts;
            (attempts.started, attempts.lost) = (attempts.started.max(1), attempts.lost + 1);
            let message = "no worker reported the attempt after a change of owners".to_owned();
            self.end(slot, State::Failed, Some(lost(message)), effects);
        } else if self.queue_deadline(slot).is_some_and(|deadline| deadline <= self.now) {
            self.queue_timed_out(slot, effects);
        } else {
            self.withdraw(slot);
            self.enqueue(slot, effects);
        }
    }

    fn queue_timed_out(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        self.withdraw(slot);
        let message = "no worker took the task within its queue timeout".to_owned();
        let failure = Failure {
            code: code::QUEUE_TIMEOUT,
            name: "QUEUE_TIMEOUT".to_owned(),
            message,
            retryable: false,
            retry_after: None,
        };
        self.end(slot, State::Failed, Some(failure), effects);
    }

    fn run_timed_out(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        self.detach(slot);
        let task = self.tasks.at(slot);
        let (owner, attempt) = (task.worker, RunningAttempt { task: task.id(), token: task.token });
        let request = self.board.buckets.lanes.at(task.lane).request;
        let partition = self.board.queues.at(self.queue_of(slot)).partition;
        self.workers.add_leaving(owner, attempt, partition, request, &mut self.board);
        let message = "the attempt did not end within its run timeout".to_owned();
        let failure = match self.runs_once(slot) {
            true => lost(message),
            false => Failure {
                code: code::RUN_TIMEOUT,
                name: "RUN_TIMEOUT".to_owned(),
                message,
                retryable: true,
                retry_after: None,
            },
        };
        self.fail(slot, failure, effects);
        effects.push(Effect::CancelAttempt { worker: self.workers.at(owner).id, attempt });
        self.workers.forget_idle(owner);
    }
}
