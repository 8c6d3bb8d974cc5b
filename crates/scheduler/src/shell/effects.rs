//! From the engine's effects to what a batch writes and lets go.

use std::sync::Arc;

use mcp_engine::{Applied, Command, Effect, QueueKey, Record, Refused, RunningAttempt, Token, WorkerId};
use mcp_proto::{TaskId, common::v1::Error as WireError};

use super::{
    Shell,
    cache::Waiting,
    inputs::REVOKED,
    live::{Live, LiveChange, wire_id},
    outbox::Dispatch,
    records::Retry,
    request::Ended,
};
use crate::{
    store::{self, Fixed},
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
    /// In a join or a report: attempts that are not the worker's any more.
    pub(super) revoked: Option<&'a mut Vec<RunningAttempt>>,
    /// The submitted task, until it is dispatched.
    pub(super) waiting: Option<(TaskId, Waiting)>,
    /// The task that was dispatched last.
    pub(super) dispatched: Option<TaskId>,
    /// The task of the last record, when it ended, and its queue: the engine has forgotten both.
    pub(super) ended_in: Option<(TaskId, QueueKey)>,
    /// Why the task of the last record failed.
    pub(super) error: Option<(TaskId, WireError)>,
}

impl Shell {
    /// Applies a command and stages what comes of it.
    ///
    /// # Errors
    /// The store failed, so that everything must be opened again. A refusal by the engine is in the result.
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
            Effect::Persist(record) => return self.stage_record(record, context),
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
                None => self.staging.outgoing(worker).cancellations.push((attempt, REVOKED.to_owned())),
            },
            Effect::Changed { task, state, attempt, worker } => {
                return self.stage_change(wire_id(task), state, attempt, worker, context);
            }
        }
        Ok(())
    }

    fn stage_record(&mut self, record: Record, context: &mut Context<'_>) -> Result<(), store::Error> {
        match record {
            Record::Submitted { task, state } => {
                self.stage_submitted(wire_id(task), state, context);
                Ok(())
            }
            Record::Merged { task, submitted: _ } => {
                self.stage_merged(wire_id(task), context);
                Ok(())
            }
            Record::Started { task, token, worker } => self.stage_started(wire_id(task), token, worker, context),
            Record::Retry { task, state, attempts, not_before, failure, void } => {
                let retry = Retry { state, attempts, not_before, failure, void };
                self.stage_retry(wire_id(task), retry, context)
            }
            Record::CancelRequested { task } => self.stage_cancel_requested(wire_id(task), context),
            Record::Finished { task, state, attempts, failure } => {
                self.stage_finished(wire_id(task), state, attempts, failure, context)
            }
        }
    }

    fn stage_dispatch(&mut self, worker: WorkerId, attempt: RunningAttempt, number: u32, context: &mut Context<'_>) {
        let id = wire_id(attempt.task);
        let new = context.waiting.take_if(|(new, _)| *new == id).map(|(_, waiting)| waiting);
        let waiting = new.or_else(|| self.cache.take(id)).or_else(|| self.retried_at_once(id));
        let mut live = self.live(worker, attempt.token, number);
        if let Some(waiting) = waiting {
            let due = waiting.due_at(id);
            self.staging.tally.of(&waiting.queue).started(self.now.saturating_sub(due));
            live.fixed = Some(waiting.fixed);
            live.queue = Some(waiting.queue);
            live.moving = waiting.moving;
        }
        if !self.staging.dirty.is_empty()
            && let Some((_, moving)) = self.staging.dirty.get(&id)
        {
            live.moving = Some(Arc::new(moving.clone()));
        }
        let fixed = live.fixed.clone();
        let is_apart = fixed.as_ref().is_none_or(Fixed::is_brief);
        let store = if is_apart { self.hosted.store(self.hosted.partition_of(id)).cloned() } else { None };
        self.staging.live.push(LiveChange::Start(id, live));
        self.workers.take_slot(worker);
        self.staging.outgoing(worker).dispatches.push_back(Dispatch { attempt, number, fixed, store });
        context.dispatched = Some(id);
    }

    /// A task whose earlier attempt ended in this batch.
    fn retried_at_once(&self, id: TaskId) -> Option<Waiting> {
        let live = self.live.get(&id)?;
        Some(Waiting { fixed: live.fixed.clone()?, queue: live.queue.clone()?, moving: live.moving.clone() })
    }

    /// An attempt that starts now.
    pub(super) fn live(&self, worker: WorkerId, token: Token, attempt: u32) -> Live {
        Live {
            token,
            worker_id: self.workers.id(worker),
            attempt,
            start_ms: self.now,
            progress: None,
            cancel_requested: false,
            fixed: None,
            queue: None,
            moving: None,
        }
    }
}
