//! What callers ask for: accepting tasks and cancelling them.

use super::{Engine, code};
use crate::{
    faults::Fault,
    idempotency::Remembered,
    retry::Terms,
    slab::Slot,
    task::Task,
    types::{
        Applied, Effect, Failure, Idempotency, Intake, Millis, Record, Refused, RunningAttempt, State, Submission,
        TaskId,
    },
};

/// When to try again to submit to a full queue.
const FULL_RETRY_AFTER: Millis = 1_000;

/// The longest time that a full queue with a slow rate tells a caller to wait.
const FULL_RETRY_AFTER_MAX: Millis = 60_000;

/// The task that a submit finds in place of its own.
#[derive(Debug, Clone, Copy)]
enum Found {
    /// Its own of an earlier call: by its idempotency key, or its id.
    Before(TaskId),
    /// Another one that has its name.
    ByName(TaskId),
}

impl Found {
    const fn task(self) -> TaskId {
        let (Self::Before(task) | Self::ByName(task)) = self;
        task
    }
}

impl Engine {
    pub(super) fn submit(&mut self, submission: &Submission, effects: &mut Vec<Effect>) -> Result<Applied, Refused> {
        let id = submission.id;
        if !self.owns(submission.partition) {
            return Err(Refused::NotOwned(submission.partition));
        }
        if let Some(first) = self.find_first(submission)? {
            if let Found::ByName(task) = first
                && let Some(idempotency) = &submission.idempotency
                && let Some(queue) = self.board.queues.find(&submission.queue)
            {
                let forget_at = self.now.saturating_add(idempotency.window);
                self.remember_key(queue, idempotency.clone(), task, forget_at);
                if !self.has(Fault::MergedKeyNotKept) {
                    effects.push(Effect::Persist(Record::Merged { task, submitted: id }));
                }
            }
            return Ok(Applied::Submitted { id: first.task(), deduplicated: true });
        }
        let queue = self.board.queues.find(&submission.queue);
        let queue_len = queue.map_or(0, |queue| self.board.queues.at(queue).counts.sum());
        self.check_room(queue, queue_len, self.tasks.len(), self.board.queues.with_tasks())?;

        let state = if submission.not_before > self.now { State::Scheduled } else { State::Pending };
        let queue = queue.unwrap_or_else(|| self.ensure_queue(submission));
        let slot = self.insert(submission, queue, state, self.now);
        if let Some(idempotency) = &submission.idempotency
            && !self.has(Fault::KeyForgotten)
        {
            let forget_at = self.now.saturating_add(idempotency.window);
            self.remember_key(queue, idempotency.clone(), id, forget_at);
        }
        effects.push(Effect::Persist(Record::Submitted { task: id, state }));
        self.announce(slot, effects);
        match state {
            State::Scheduled => self.set_timer(slot, self.tasks.at(slot).not_before),
            _ => self.enqueue(slot, effects),
        }
        Ok(Applied::Submitted { id, deduplicated: false })
    }

    /// The task that a submit finds in place of its own.
    fn find_first(&self, submission: &Submission) -> Result<Option<Found>, Refused> {
        if let Some(idempotency) = &submission.idempotency
            && let Some(earlier) = self.remembered(self.now, submission, idempotency)
        {
            return match earlier.body_hash == idempotency.body_hash {
                true => Ok(Some(Found::Before(earlier.task))),
                false => Err(Refused::IdempotencyConflict(earlier.task)),
            };
        }
        if let Some(first) = self.same_name(submission) {
            return Ok(Some(Found::ByName(first)));
        }
        // Ids are used once, so this is the same submit again.
        Ok(self.tasks.find(submission.id).map(|_| Found::Before(submission.id)))
    }

    /// The unfinished task that a submit would be merged into at `now`: the one that has its unique name, unless an earlier
    /// submit under its idempotency key is remembered. Changes nothing.
    pub fn merges_into(&self, now: Millis, submission: &Submission) -> Option<TaskId> {
        let now = self.now.max(now);
        let idempotency = submission.idempotency.as_ref();
        let is_known = idempotency.is_some_and(|key| self.remembered(now, submission, key).is_some());
        if is_known { None } else { self.same_name(submission) }
    }

    /// What is remembered under a submission's idempotency key.
    pub(super) fn remembered(
        &self,
        now: Millis,
        submission: &Submission,
        idempotency: &Idempotency,
    ) -> Option<Remembered> {
        self.keys.get(self.board.queues.find(&submission.queue)?, &idempotency.key, now)
    }

    /// The unfinished task that has the submission's name.
    pub(super) fn same_name(&self, submission: &Submission) -> Option<TaskId> {
        let name = submission.unique.as_ref().filter(|_| !self.has(Fault::UniqueUnchecked))?;
        let first = self.uniques.find(self.board.queues.find(&submission.queue)?, name)?;
        Some(self.tasks.get(first)?.id())
    }

    /// Refuses one more task in a queue that holds so many, where there are so many tasks and queues with tasks in all.
    pub(super) fn check_room(
        &self,
        queue: Option<Slot>,
        queue_len: usize,
        tasks: usize,
        queues: usize,
    ) -> Result<(), Refused> {
        let rules = queue.and_then(|queue| self.board.queues.at(queue).limits.as_ref()).map(|limits| &limits.rules);
        if rules.is_some_and(|rules| rules.intake == Intake::Closed) {
            return Err(Refused::QueueClosed);
        }
        if tasks >= self.config.tasks_max || (queue_len == 0 && queues >= self.config.queues_max) {
            return Err(Refused::Full);
        }
        let len_max = rules.and_then(|rules| rules.len_max).unwrap_or(usize::MAX).min(self.config.queue_len_max);
        if queue_len >= len_max && !self.has(Fault::QueueUnbounded) {
            let rate = rules.and_then(|rules| rules.rate);
            let retry_after = rate.map_or(FULL_RETRY_AFTER, |rate| {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
                let interval = (1_000.0 / rate.per_second) as Millis;
                interval.clamp(FULL_RETRY_AFTER, FULL_RETRY_AFTER_MAX)
            });
            return Err(Refused::QueueFull { retry_after });
        }
        Ok(())
    }

    /// The queue of a task, which may be new.
    pub(super) fn ensure_queue(&mut self, submission: &Submission) -> Slot {
        let epoch = self.epoch(submission.partition).unwrap_or(0);
        self.board.queues.ensure(&submission.queue, submission.partition, epoch)
    }

    /// Adds a task; it waits nowhere yet.
    pub(super) fn insert(&mut self, submission: &Submission, queue: Slot, state: State, now: Millis) -> Slot {
        let Submission { kind, placement, key, .. } = submission;
        let (lane, woken) = self.board.add_task(queue, kind, placement.as_deref(), key.as_ref(), self.now);
        for shape in woken {
            for worker in self.board.pool(shape).members.iter().copied().collect::<Vec<_>>() {
                self.workers.list(worker, &mut self.board);
            }
        }
        if placement.as_ref().is_some_and(|placement| placement.preempt) {
            self.urgent.insert(self.board.buckets.lanes.at(lane).bucket);
        }
        if self.has(Fault::TurnsFree) {
            self.board.buckets.lanes.at_mut(lane).stride = 0;
        }
        let terms = self.terms.acquire(&Terms::of(submission));
        let mut task = Task::new(submission, state, lane, terms, now);
        if self.has(Fault::AgeIgnored) {
            task.rank = -i64::from(submission.priority);
        }
        let slot = self.tasks.insert(task);
        self.moved(lane, None, Some(state));
        if let Some(name) = &submission.unique {
            let unique = self.uniques.insert(queue, name.clone(), slot);
            self.tasks.at_mut(slot).unique = unique;
        }
        slot
    }

    /// Remembers a key, and forgets the oldest ones when there are too many.
    pub(super) fn remember_key(&mut self, queue: Slot, idempotency: Idempotency, task: TaskId, forget_at: Millis) {
        let remembered = Remembered { task, body_hash: idempotency.body_hash, forget_at };
        if self.keys.insert(queue, idempotency.key, remembered) {
            self.board.queues.add_key(queue);
        }
        while self.keys.len() > self.config.idempotency_keys_max {
            self.forget_oldest_key();
        }
    }

    /// Forgets the oldest key.
    pub(super) fn forget_oldest_key(&mut self) {
        if let Some(queue) = self.keys.forget_oldest() {
            self.board.queues.remove_key(queue);
        }
    }

    pub(super) fn cancel(&mut self, id: TaskId, effects: &mut Vec<Effect>) -> Result<Applied, Refused> {
        let slot = self.tasks.find(id).filter(|slot| self.epoch_of(*slot) > 0).ok_or(Refused::NotLive)?;
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
        name: "TASK_CANCELLED".to_owned(),
        message: "the task was cancelled by a caller".to_owned(),
        retryable: false,
        retry_after: None,
    }
}
