//! From the engine's effects to what a batch writes and lets go.

use mcp_engine::{
    Applied, AttemptCount, Command, Effect, Failure, QueueKey, Record, Refused, RunningAttempt, State, Token, WorkerId,
};
use mcp_proto::{
    Code, TaskId,
    common::v1::Error as WireError,
    scheduler::v1::{TaskEvent, TaskState},
};

use super::{
    Shell,
    cache::Waiting,
    live::{Live, LiveChange, engine_id, wire_id},
    outbox::Dispatch,
    request::{Ended, wire_error},
};
use crate::{
    hub::Event,
    store::{self, Fixed, KeyRecord, Moving, Write},
    validate::NewTask,
};

/// What the sender of a command knows and the engine does not.
#[derive(Debug, Default)]
pub(super) struct Context<'a> {
    /// The task to submit.
    pub(super) new: Option<NewTask>,
    /// The result to take.
    pub(super) ended: Option<Ended>,
    /// Why a caller cancels.
    pub(super) reason: &'a str,
    /// In a join: attempts that are not the worker's any more.
    pub(super) revoked: Option<&'a mut Vec<RunningAttempt>>,
    /// The submitted task, until it is dispatched.
    pub(super) waiting: Option<(TaskId, Waiting)>,
    /// The task that was dispatched last.
    pub(super) dispatched: Option<TaskId>,
    /// Why the task of the last record failed.
    pub(super) error: Option<(TaskId, WireError)>,
}

impl Shell {
    /// Applies a command and stages what comes of it.
    ///
    /// # Errors
    /// The store failed, so that the partition must be opened again. A refusal by the engine is in the result.
    pub(super) fn apply(
        &mut self,
        command: Command,
        mut context: Context<'_>,
    ) -> Result<Result<Applied, Refused>, store::Error> {
        let mut effects = std::mem::take(&mut self.effects);
        let applied = self.engine.apply(self.now, command, &mut effects);
        for effect in effects.drain(..) {
            self.stage(effect, &mut context)?;
        }
        self.effects = effects;
        if let Some((id, waiting)) = context.waiting {
            self.cache.insert(id, waiting, self.now);
        }
        Ok(applied)
    }

    fn stage(&mut self, effect: Effect, context: &mut Context<'_>) -> Result<(), store::Error> {
        match effect {
            Effect::Persist(Record::Submitted { task, state }) => self.stage_submitted(wire_id(task), state, context),
            Effect::Persist(Record::Retry { task, state, attempts, not_before, failure, void }) => {
                let retry = Retry { state, attempts, not_before, failure, void };
                return self.stage_retry(wire_id(task), retry, context);
            }
            Effect::Persist(Record::CancelRequested { task }) => {
                return self.stage_cancel_requested(wire_id(task), context);
            }
            Effect::Persist(Record::Finished { task, state, attempts, failure }) => {
                return self.stage_finished(wire_id(task), state, attempts, failure, context);
            }
            Effect::Assign { worker, attempt, number, run_timeout: _ } => {
                self.stage_dispatch(worker, attempt, number, context);
            }
            Effect::CancelAttempt { worker, attempt } => {
                let reason = context.reason.to_owned();
                self.staging.outgoing(worker).cancellations.push((attempt, reason));
            }
            Effect::Acknowledge { worker, attempt } => self.staging.outgoing(worker).acknowledged.push(attempt),
            Effect::Revoke { worker, attempt } => match &mut context.revoked {
                Some(revoked) => revoked.push(attempt),
                None => {
                    let reason = "the attempt was given to another worker".to_owned();
                    self.staging.outgoing(worker).cancellations.push((attempt, reason));
                }
            },
            Effect::Changed { task, state, attempt, worker } => {
                return self.stage_change(wire_id(task), state, attempt, worker, context);
            }
        }
        Ok(())
    }

    fn stage_submitted(&mut self, id: TaskId, state: State, context: &mut Context<'_>) {
        let NewTask { submission, fixed, whole } = context.new.take().expect("only a submit makes this record");
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
            forget_at: self.now.saturating_add(self.idempotency_window),
        });
        self.staging.bytes += fixed.len() + whole.as_ref().map_or(0, bytes::Bytes::len);
        context.waiting = Some((id, Waiting { fixed: fixed.clone(), queue }));
        self.staging.writes.push(Write::Submitted { id, fixed, whole, moving, key });
    }

    fn stage_retry(&mut self, id: TaskId, retry: Retry, context: &mut Context<'_>) -> Result<(), store::Error> {
        let (fixed, earlier) = self.record(id)?;
        let ended = context.ended.take_if(|ended| wire_id(ended.attempt.task) == id);
        let error = retry.failure.as_ref().map(|failure| detailed(failure, ended.as_ref()));
        context.error = error.clone().map(|error| (id, error));
        let (worker_id, start_ms) = self.attempt_of(id);
        let moving = Moving {
            state: wire_state(retry.state).into(),
            started: retry.attempts.started,
            failed: retry.attempts.failed,
            lost: retry.attempts.lost,
            not_before: retry.not_before,
            error,
            worker_id,
            start_ms,
            exit_code: ended.and_then(|ended| ended.exit_code),
            void_epoch: retry.void.epoch,
            void_sequence: retry.void.sequence,
            ..Moving::default()
        }
        .after(&earlier);
        // A sequence of 0 voids what an earlier owner may have sent out: nothing failed.
        if retry.void.sequence != 0
            && let Ok(head) = fixed.head()
        {
            let queue = self.names.queue(&head.namespace, &head.queue);
            self.staging.tally.of(&queue).retried += 1;
        }
        self.update(id, fixed, moving);
        self.staging.live.push(LiveChange::Retry(id));
        Ok(())
    }

    fn stage_cancel_requested(&mut self, id: TaskId, context: &Context<'_>) -> Result<(), store::Error> {
        let (fixed, earlier) = self.record(id)?;
        let moving = Moving { cancel_requested: true, cancel_reason: context.reason.to_owned(), ..earlier };
        self.update(id, fixed, moving);
        self.staging.live.push(LiveChange::CancelRequested(id));
        Ok(())
    }

    fn update(&mut self, id: TaskId, fixed: Fixed, moving: Moving) {
        self.staging.bytes += fixed.len();
        self.staging.dirty.insert(id, (fixed.clone(), moving.clone()));
        self.staging.writes.push(Write::Updated { id, fixed, moving });
    }

    fn stage_finished(
        &mut self,
        id: TaskId,
        state: State,
        attempts: AttemptCount,
        failure: Option<Failure>,
        context: &mut Context<'_>,
    ) -> Result<(), store::Error> {
        let state = wire_state(state);
        let (fixed, earlier, queue) = self.for_the_end(id)?;
        let ended = context.ended.take_if(|ended| wire_id(ended.attempt.task) == id);
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
        self.staging.tally.of(&queue).finished(state);
        self.staging.bytes += fixed.len() + moving.output.as_ref().map_or(0, bytes::Bytes::len);
        self.staging.writes.push(Write::Finished { id, fixed, moving });
        self.staging.live.push(LiveChange::End(id));
        self.staging.ended.push(id);
        self.cache.take(id);
        Ok(())
    }

    /// What the final record of a task needs: nothing is read when the task was dispatched from memory.
    fn for_the_end(&mut self, id: TaskId) -> Result<(Fixed, Option<Moving>, QueueKey), store::Error> {
        if !self.staging.dirty.contains_key(&id)
            && let Some(live) = self.live.get(&id)
            && let (false, Some(fixed), Some(queue)) = (live.cancel_requested, &live.fixed, &live.queue)
        {
            return Ok((fixed.clone(), None, queue.clone()));
        }
        let (fixed, earlier) = self.record(id)?;
        let head = fixed.head()?;
        let queue = self.names.queue(&head.namespace, &head.queue);
        Ok((fixed, Some(earlier), queue))
    }

    fn stage_dispatch(&mut self, worker: WorkerId, attempt: RunningAttempt, number: u32, context: &mut Context<'_>) {
        let id = wire_id(attempt.task);
        let new = context.waiting.take_if(|(new, _)| *new == id).map(|(_, waiting)| waiting);
        let waiting = new.or_else(|| self.cache.take(id));
        let (fixed, queue) = waiting.map_or((None, None), |waiting| (Some(waiting.fixed), Some(waiting.queue)));
        if let Some(queue) = &queue {
            self.staging.tally.of(queue).started += 1;
        }
        let live = Live { fixed: fixed.clone(), queue, ..self.live(worker, attempt.token, number) };
        self.staging.live.push(LiveChange::Start(id, live));
        self.workers.take_slot(worker);
        self.staging.outgoing(worker).dispatches.push_back(Dispatch { attempt, number, fixed });
        context.dispatched = Some(id);
    }

    fn live(&self, worker: WorkerId, token: Token, attempt: u32) -> Live {
        Live {
            token,
            worker_id: self.workers.id(worker),
            attempt,
            start_ms: self.now,
            progress: None,
            cancel_requested: false,
            fixed: None,
            queue: None,
        }
    }

    fn stage_change(
        &mut self,
        id: TaskId,
        state: State,
        attempt: u32,
        worker: Option<WorkerId>,
        context: &mut Context<'_>,
    ) -> Result<(), store::Error> {
        if let Some(worker) = worker.filter(|_| context.dispatched != Some(id))
            && let Some(view) = self.engine.view(engine_id(id))
            && let Some(token) = view.token
        {
            // Claimed, not dispatched: the worker ran it before we knew of it.
            let live = Live { cancel_requested: view.cancel_requested, ..self.live(worker, token, attempt) };
            self.staging.live.push(LiveChange::Start(id, live));
        }
        if !self.hub.has_watches() {
            return Ok(());
        }
        let queue = match &context.waiting {
            Some((new, waiting)) if *new == id => waiting.queue.clone(),
            _ => self.queue_of(id)?,
        };
        let state = wire_state(state);
        let error = context.error.as_ref().filter(|(of, _)| *of == id).map(|(_, error)| error.clone());
        let wire = TaskEvent {
            task_id: id.to_string(),
            namespace: queue.namespace.to_string(),
            queue: queue.queue.to_string(),
            state: state.into(),
            attempt,
            time: Some(super::wire_time(self.now)),
            error: error.filter(|_| matches!(state, TaskState::Retrying | TaskState::Failed | TaskState::Cancelled)),
            progress: None,
        };
        self.staging.events.push(Event { id, wire });
        Ok(())
    }

    /// The queue of an unfinished task, or of one that ends with this batch.
    pub(super) fn queue_of(&mut self, id: TaskId) -> Result<QueueKey, store::Error> {
        if let Some(queue) = self.live.get(&id).and_then(|live| live.queue.clone()) {
            return Ok(queue);
        }
        if let Some(waiting) = self.cache.get(id) {
            return Ok(waiting.queue.clone());
        }
        let head = self.record(id)?.0.head()?;
        Ok(self.names.queue(&head.namespace, &head.queue))
    }

    /// The latest record of an unfinished task, this batch included.
    fn record(&self, id: TaskId) -> Result<(Fixed, Moving), store::Error> {
        if let Some(found) = self.staging.uncommitted(id) {
            return Ok(found);
        }
        match self.store.get(id)? {
            Some(stored) => Ok((stored.fixed, stored.moving)),
            None => Err(store::Error::Corrupt { key: id.to_string(), reason: "the record is missing".to_owned() }),
        }
    }

    /// Worker and start of the running attempt, if there is one.
    fn attempt_of(&self, id: TaskId) -> (String, u64) {
        self.live.get(&id).map_or_else(Default::default, |live| (live.worker_id.to_string(), live.start_ms))
    }
}

/// The fields of a retry record.
struct Retry {
    state: State,
    attempts: AttemptCount,
    not_before: u64,
    failure: Option<Failure>,
    void: Token,
}

/// The failure in the worker's own words when it is the worker's, else in the engine's.
fn detailed(failure: &Failure, ended: Option<&Ended>) -> WireError {
    match ended.and_then(|ended| ended.error.as_ref()) {
        Some(error) if error.code == failure.code => error.clone(),
        _ => wire_error(failure),
    }
}

/// A state as the wire names it.
pub(super) fn wire_state(state: State) -> TaskState {
    match state {
        State::Pending => TaskState::Pending,
        State::Scheduled => TaskState::Scheduled,
        State::Running => TaskState::Running,
        State::Retrying => TaskState::Retrying,
        State::Succeeded => TaskState::Succeeded,
        State::Failed => TaskState::Failed,
        State::Cancelled => TaskState::Cancelled,
    }
}
