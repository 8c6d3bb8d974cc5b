//! The records of tasks: what of a task is made durable, and when.

use mcp_engine::{AttemptCount, Failure, QueueKey, State, Token, WorkerId};
use mcp_proto::{Code, TaskId, common::v1::Error as WireError, scheduler::v1::TaskState};

use super::{
    Shell,
    cache::Waiting,
    changes::wire_state,
    effects::Context,
    live::LiveChange,
    merged_keys,
    request::{Ended, wire_error},
};
use crate::{
    store::{self, FailedAttempt, Fixed, KeyRecord, Moving, Write},
    validate::NewTask,
};

/// The fields of a retry record.
pub(super) struct Retry {
    pub(super) state: State,
    pub(super) attempts: AttemptCount,
    pub(super) not_before: u64,
    pub(super) failure: Option<Failure>,
    pub(super) void: Token,
}

impl Shell {
    /// Records a new task.
    pub(super) fn stage_submitted(&mut self, id: TaskId, state: State, context: &mut Context<'_>) {
        let NewTask { submission, fixed, whole, .. } = context.new.take().expect("only a submit makes this record");
        let not_before = if submission.not_before == 0 { self.now } else { submission.not_before };
        let moving = Moving { state: wire_state(state).into(), not_before, ..Moving::default() };
        let queue = submission.queue;
        self.staging.tally.of(&queue).submitted += 1;
        let key = submission.idempotency.map(|idempotency| KeyRecord {
            task: id,
            namespace: queue.namespace.to_string(),
            queue: queue.queue.to_string(),
            key: idempotency.key.to_string(),
            body_hash: idempotency.body_hash,
            forget_at: self.now.saturating_add(idempotency.window),
        });
        self.staging.bytes += fixed.len() + whole.as_ref().map_or(0, bytes::Bytes::len);
        context.waiting = Some((id, Waiting { fixed: fixed.clone(), queue, moving: None }));
        self.staging.writes.push(submission.partition.0, Write::Submitted { id, fixed, whole, moving, key });
    }

    /// Records the idempotency key of a submit that was merged into a task.
    pub(super) fn stage_merged(&mut self, task: TaskId, context: &Context<'_>) {
        let submission = &context.new.as_ref().expect("only a submit makes this record").submission;
        if let Some(entry) = merged_keys::entry(submission, task, self.now) {
            self.staging.writes.push(submission.partition.0, Write::Put(entry));
        }
    }

    /// Records that a task which runs at most once is about to be sent to a worker.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn stage_started(
        &mut self,
        id: TaskId,
        token: Token,
        worker: WorkerId,
        context: &Context<'_>,
    ) -> Result<(), store::Error> {
        let (fixed, earlier) = match &context.waiting {
            Some((new, waiting)) if *new == id => (waiting.fixed.clone(), untouched(id, &waiting.fixed)),
            _ => self.record(id, None)?,
        };
        let moving = Moving {
            started_epoch: token.epoch,
            started_sequence: token.sequence,
            worker_id: self.workers.id(worker).to_string(),
            start_ms: self.now,
            ..earlier
        };
        self.update(id, fixed, moving);
        Ok(())
    }

    /// Records that another attempt will follow.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn stage_retry(
        &mut self,
        id: TaskId,
        retry: Retry,
        context: &mut Context<'_>,
    ) -> Result<(), store::Error> {
        let (fixed, earlier) = self.record(id, Some(retry.attempts.started))?;
        let ended = context.ended.take_if(|ended| wire_id_of(ended) == id);
        let error = retry.failure.as_ref().map(|failure| detailed(failure, ended.as_ref()));
        context.error = error.clone().map(|error| (id, error));
        let (worker_id, start_ms) = self.attempt_of(id);
        let mut moving = Moving {
            state: wire_state(retry.state).into(),
            started: retry.attempts.started,
            failed: retry.attempts.failed,
            lost: retry.attempts.lost,
            not_before: retry.not_before,
            error: error.clone(),
            worker_id,
            start_ms,
            exit_code: ended.and_then(|ended| ended.exit_code),
            void_epoch: retry.void.epoch,
            void_sequence: retry.void.sequence,
            ..Moving::default()
        }
        .after(&earlier);
        let error = error.or_else(|| (retry.attempts.lost > earlier.lost).then(lost));
        if let Some(error) = error {
            moving.note_failure(self.failed_attempt(id, retry.attempts.started, error));
        }
        // A sequence of 0 voids what an earlier owner may have sent out: nothing failed.
        if retry.void.sequence != 0
            && let Ok(head) = fixed.head()
        {
            let queue = self.names.queue(&head.namespace, &head.queue);
            let ran = self.live.get(&id).map(|live| self.now.saturating_sub(live.start_ms));
            let counts = self.staging.tally.of(&queue);
            counts.retried += 1;
            counts.ran(ran);
        }
        self.update(id, fixed, moving);
        self.staging.live.push(LiveChange::Retry(id));
        Ok(())
    }

    /// Records that a running task is to be cancelled.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn stage_cancel_requested(&mut self, id: TaskId, context: &Context<'_>) -> Result<(), store::Error> {
        let (fixed, earlier) = self.record(id, None)?;
        let moving = Moving { cancel_requested: true, cancel_reason: context.reason.to_owned(), ..earlier };
        self.update(id, fixed, moving);
        self.staging.live.push(LiveChange::CancelRequested(id));
        Ok(())
    }

    /// Records the end of a task.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn stage_finished(
        &mut self,
        id: TaskId,
        state: State,
        attempts: AttemptCount,
        failure: Option<Failure>,
        context: &mut Context<'_>,
    ) -> Result<(), store::Error> {
        let state = wire_state(state);
        let (fixed, earlier, queue) = self.for_the_end(id, attempts.started)?;
        let ended = context.ended.take_if(|ended| wire_id_of(ended) == id);
        let mut error = failure.as_ref().map(|failure| detailed(failure, ended.as_ref()));
        let reason = earlier.as_ref().map_or("", |earlier| earlier.cancel_reason.as_str());
        let reason = if context.reason.is_empty() { reason } else { context.reason };
        let cancelled = error.as_mut().filter(|error| error.code == Code::TaskCancelled.number());
        if let Some(error) = cancelled.filter(|_| !reason.is_empty()) {
            error.message = format!("{}: {reason}", error.message);
        }
        context.error = error.clone().map(|error| (id, error));
        let (worker_id, start_ms) = self.attempt_of(id);
        let (output, exit_code) = match ended {
            Some(ended) => (ended.output.filter(|_| state == TaskState::Succeeded), ended.exit_code),
            None => (None, None),
        };
        let mut moving = Moving {
            state: state.into(),
            started: attempts.started,
            failed: attempts.failed,
            lost: attempts.lost,
            error,
            worker_id,
            start_ms,
            finish_ms: self.now,
            exit_code,
            output,
            ..Moving::default()
        };
        if let Some(earlier) = &earlier {
            moving = Moving { exit_code, ..moving.after(earlier) };
        }
        if state == TaskState::Cancelled {
            moving.cancel_requested = true;
        }
        // An attempt that was lost over a restart is not among those that run.
        let was_lost = attempts.lost > earlier.as_ref().map_or(0, |earlier| earlier.lost);
        if state == TaskState::Failed
            && (was_lost || self.live.contains_key(&id))
            && let Some(error) = moving.error.clone()
        {
            let (worker_id, start_ms) = (moving.worker_id.clone(), moving.start_ms);
            let failed = self.failed_attempt(id, attempts.started, error);
            moving.note_failure(FailedAttempt { worker_id, start_ms, ..failed });
        }
        if state == TaskState::Failed {
            self.stage_dead_letter(id, &fixed, &moving, &queue);
        }
        let ran = self.live.get(&id).map(|live| self.now.saturating_sub(live.start_ms));
        let counts = self.staging.tally.of(&queue);
        counts.finished(state);
        counts.ran(ran);
        self.staging.bytes += fixed.len() + moving.output.as_ref().map_or(0, bytes::Bytes::len);
        self.note_end(id, &fixed, &moving)?;
        context.ended_in = Some((id, queue));
        self.staging.writes.push(self.hosted.partition_of(id), Write::Finished { id, fixed, moving });
        self.staging.live.push(LiveChange::End(id));
        self.staging.ended.push(id);
        self.cache.take(id);
        Ok(())
    }

    fn update(&mut self, id: TaskId, fixed: Fixed, moving: Moving) {
        self.staging.bytes += fixed.len();
        self.staging.dirty.insert(id, (fixed.clone(), moving.clone()));
        self.staging.writes.push(self.hosted.partition_of(id), Write::Updated { id, fixed, moving });
    }

    /// What the final record of a task needs: nothing is read when the task was dispatched from memory. A first attempt
    /// has nothing before it to keep.
    fn for_the_end(&mut self, id: TaskId, started: u32) -> Result<(Fixed, Option<Moving>, QueueKey), store::Error> {
        if (self.staging.dirty.is_empty() || !self.staging.dirty.contains_key(&id))
            && let Some(live) = self.live.get(&id)
            && let (false, Some(fixed), Some(queue)) = (live.cancel_requested, &live.fixed, &live.queue)
            && (live.moving.is_some() || started <= 1)
        {
            return Ok((fixed.clone(), live.moving.as_deref().cloned(), queue.clone()));
        }
        let (fixed, earlier) = self.record(id, None)?;
        let head = fixed.head()?;
        let queue = self.names.queue(&head.namespace, &head.queue);
        Ok((fixed, Some(earlier), queue))
    }

    /// The latest record of an unfinished task, this batch included. It is read only when it is not at hand. Of a task
    /// whose first attempt is the latest (`started` is known and 1), the next record keeps nothing but what the submit says.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn record(&self, id: TaskId, started: Option<u32>) -> Result<(Fixed, Moving), store::Error> {
        if let Some(found) = self.staging.dirty.get(&id) {
            return Ok(found.clone());
        }
        match self.live.get(&id) {
            Some(live) => {
                if let (false, Some(fixed)) = (live.cancel_requested, &live.fixed) {
                    let moving = live.moving.as_deref().cloned();
                    let moving = moving.or_else(|| (started == Some(1)).then(|| untouched(id, fixed)));
                    if let Some(moving) = moving {
                        return Ok((fixed.clone(), moving));
                    }
                }
            }
            None => {
                if let Some(Waiting { fixed, moving: Some(moving), .. }) = self.cache.get(id) {
                    return Ok((fixed.clone(), Moving::clone(moving)));
                }
            }
        }
        if let Some(found) = self.staging.uncommitted(self.hosted.partition_of(id), id) {
            return Ok(found);
        }
        match self.hosted.store_of(id)?.get(id)? {
            Some(stored) => Ok((stored.fixed, stored.moving)),
            None => Err(store::Error::Corrupt { key: id.to_string(), reason: "the record is missing".to_owned() }),
        }
    }

    /// Worker and start of the running attempt, if there is one.
    fn attempt_of(&self, id: TaskId) -> (String, u64) {
        self.live.get(&id).map_or_else(Default::default, |live| (live.worker_id.to_string(), live.start_ms))
    }

    fn failed_attempt(&self, id: TaskId, attempt: u32, error: WireError) -> FailedAttempt {
        let (worker_id, start_ms) = self.attempt_of(id);
        FailedAttempt { attempt, error: Some(error), worker_id, start_ms, end_ms: self.now }
    }
}

/// The record of a task that is due and has none but that of its submit.
fn untouched(id: TaskId, fixed: &Fixed) -> Moving {
    let not_before = fixed.not_before().max(id.unix_ms());
    Moving { state: TaskState::Pending.into(), not_before, ..Moving::default() }
}

/// How an attempt failed that was lost with its worker.
fn lost() -> WireError {
    mcp_proto::Error::new(Code::WorkerLost, "the worker was lost").into()
}

fn wire_id_of(ended: &Ended) -> TaskId {
    super::wire_id(ended.attempt.task)
}

/// The failure in the worker's own words when it is the worker's, else in the engine's.
fn detailed(failure: &Failure, ended: Option<&Ended>) -> WireError {
    match ended.and_then(|ended| ended.error.as_ref()) {
        Some(error) if error.code == failure.code => error.clone(),
        _ => wire_error(failure),
    }
}
