//! What callers ask for: accepting tasks and cancelling them.

use std::collections::BTreeMap;

use super::{Engine, code};
use crate::{
    faults::Fault,
    idempotency::Remembered,
    retry::Terms,
    slab::Slot,
    task::{NO_TIMER, Task},
    types::{
        Applied, AttemptCount, Effect, Failure, Idempotency, Millis, QueueKey, Record, Refused, RunningAttempt, State,
        Submission, TaskId, Token,
    },
};

impl Engine {
    /// Whether a batch would be accepted as it stands, every one of its tasks: the shell asks this first when a batch
    /// is to be taken as a whole or not at all. `now` as in [`apply`](Self::apply). Changes nothing.
    ///
    /// # Errors
    /// The position of the first task that [`Command::Submit`](crate::Command::Submit) would refuse, and why.
    pub fn admits(&self, now: Millis, batch: &[Submission]) -> Result<(), (usize, Refused)> {
        let now = self.now.max(now);
        let mut added: BTreeMap<&QueueKey, usize> = BTreeMap::new();
        let mut keys = BTreeMap::new();
        let (mut tasks, mut queues) = (self.tasks.len(), self.board.buckets.queues.with_tasks());
        for (position, submission) in batch.iter().enumerate() {
            if let Some(idempotency) = &submission.idempotency {
                let earlier = self
                    .remembered(now, &submission.queue, idempotency)
                    .map(|earlier| (earlier.body_hash, earlier.task))
                    .or_else(|| keys.get(&(&submission.queue, &idempotency.key)).copied());
                match earlier {
                    Some((body_hash, _)) if body_hash == idempotency.body_hash => continue,
                    Some((_, task)) => return Err((position, Refused::IdempotencyConflict(task))),
                    None => {
                        let name = (&submission.queue, &idempotency.key);
                        keys.insert(name, (idempotency.body_hash, submission.id));
                    }
                }
            }
            let in_queue = added.entry(&submission.queue).or_default();
            let before = self.queue_len(&submission.queue) + *in_queue;
            self.check_room(tasks, queues, before).map_err(|refused| (position, refused))?;
            *in_queue += 1;
            tasks += 1;
            queues += usize::from(before == 0);
        }
        Ok(())
    }

    pub(super) fn submit(&mut self, submission: Submission, effects: &mut Vec<Effect>) -> Result<Applied, Refused> {
        let id = submission.id;
        if let Some(idempotency) = &submission.idempotency
            && let Some(earlier) = self.remembered(self.now, &submission.queue, idempotency)
        {
            return match earlier.body_hash == idempotency.body_hash {
                true => Ok(Applied::Submitted { id: earlier.task, deduplicated: true }),
                false => Err(Refused::IdempotencyConflict(earlier.task)),
            };
        }
        if self.tasks.find(id).is_some() {
            // Ids are used once, so this is the same submit again.
            return Ok(Applied::Submitted { id, deduplicated: true });
        }
        let (tasks, queues) = (self.tasks.len(), self.board.buckets.queues.with_tasks());
        self.check_room(tasks, queues, self.queue_len(&submission.queue))?;

        let state = if submission.not_before > self.now { State::Scheduled } else { State::Pending };
        let slot = self.insert(&submission, state, AttemptCount::default(), Token::ZERO);
        if let Some(idempotency) = submission.idempotency
            && !self.has(Fault::KeyForgotten)
        {
            let forget_at = self.now.saturating_add(self.config.idempotency_window);
            self.remember_key(&submission.queue, idempotency, id, forget_at);
        }
        effects.push(Effect::Persist(Record::Submitted { task: id, state }));
        self.announce(slot, effects);
        match state {
            State::Scheduled => self.set_timer(slot, self.tasks.at(slot).not_before),
            _ => self.enqueue(slot, effects),
        }
        Ok(Applied::Submitted { id, deduplicated: false })
    }

    /// Adds a task; it waits nowhere yet.
    pub(super) fn insert(
        &mut self,
        submission: &Submission,
        state: State,
        attempts: AttemptCount,
        token: Token,
    ) -> Slot {
        let terms = Terms::new(&submission.retry, submission.run_timeout, submission.queue_timeout);
        self.tasks.insert(Task {
            id: submission.id,
            token,
            not_before: submission.not_before.max(self.now),
            timer: NO_TIMER,
            attempts,
            bucket: self.board.add_task(&submission.queue, &submission.kind),
            terms: self.terms.acquire(&terms),
            worker: 0,
            priority: submission.priority,
            state,
            cancel_requested: false,
            restored: false,
            held: false,
        })
    }

    fn queue_len(&self, queue: &QueueKey) -> usize {
        let queues = &self.board.buckets.queues;
        queues.find(queue).map_or(0, |slot| queues.at(slot).tasks)
    }

    /// Refuses one more task where there are so many in all, in so many queues, and so many in its own.
    fn check_room(&self, tasks: usize, queues: usize, in_queue: usize) -> Result<(), Refused> {
        if tasks >= self.config.tasks_max || (in_queue == 0 && queues >= self.config.queues_max) {
            return Err(Refused::Full);
        }
        if in_queue >= self.config.queue_len_max && !self.has(Fault::QueueUnbounded) {
            return Err(Refused::QueueFull);
        }
        Ok(())
    }

    fn remembered(&self, now: Millis, queue: &QueueKey, idempotency: &Idempotency) -> Option<Remembered> {
        self.keys.get(self.board.buckets.queues.find(queue)?, &idempotency.key, now)
    }

    /// Remembers a key, and forgets the oldest ones when there are too many.
    pub(super) fn remember_key(&mut self, queue: &QueueKey, idempotency: Idempotency, task: TaskId, forget_at: Millis) {
        let queues = &mut self.board.buckets.queues;
        let slot = queues.add_key(queue);
        let remembered = Remembered { task, body_hash: idempotency.body_hash, forget_at };
        if !self.keys.insert(slot, idempotency.key, remembered) {
            queues.remove_key(slot);
        }
        while self.keys.len() > self.config.idempotency_keys_max {
            self.forget_oldest_key();
        }
    }

    /// Forgets the oldest key.
    pub(super) fn forget_oldest_key(&mut self) {
        if let Some(queue) = self.keys.forget_oldest() {
            self.board.buckets.queues.remove_key(queue);
        }
    }

    pub(super) fn cancel(&mut self, id: TaskId, effects: &mut Vec<Effect>) -> Result<Applied, Refused> {
        let slot = self.tasks.find(id).ok_or(Refused::NotLive)?;
        let task = self.tasks.at_mut(slot);
        if task.state != State::Running {
            self.withdraw(slot);
            self.end(slot, State::Cancelled, Some(cancelled()), effects);
            return Ok(Applied::Cancelling(State::Cancelled));
        }
        if !task.cancel_requested {
            task.cancel_requested = true;
            let attempt = RunningAttempt { task: id, token: task.token };
            let worker = self.workers.at(task.worker).id;
            effects.push(Effect::Persist(Record::CancelRequested { task: id }));
            effects.push(Effect::CancelAttempt { worker, attempt });
        }
        Ok(Applied::Cancelling(State::Running))
    }
}

/// What the record of a cancelled task says.
pub(super) fn cancelled() -> Failure {
    Failure {
        code: code::CANCELLED,
        message: "the task was cancelled by a caller".to_owned(),
        retryable: false,
        retry_after: None,
    }
}
