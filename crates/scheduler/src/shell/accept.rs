//! From requests to commands.

use mcp_engine::{Applied, Command, Refused, RunningAttempt, Submission};
use mcp_proto::{Code, Error as WireError, TaskId, scheduler::v1::TaskEvent};

use super::{
    Shell,
    effects::{Context, wire_state},
    live::{LiveChange, engine_id, wire_id},
    request::{Accepted, Cancel, Ended, Input, Join, Joined, Request, SessionRef, Submit},
    staging::Answer,
};
use crate::{error::Error, hub::Event, store, validate::NewTask};

/// When to come back to a full queue.
const QUEUE_FULL_RETRY: std::time::Duration = std::time::Duration::from_secs(1);

impl Shell {
    /// Takes one request from the inbox.
    ///
    /// # Errors
    /// The store failed; the partition must be opened again.
    pub(super) fn accept(&mut self, request: Request) -> Result<(), store::Error> {
        match request {
            Request::Submit(submit) => self.submit(submit),
            Request::Cancel(cancel) => self.cancel(cancel),
            Request::Join(join) => self.join(join),
            Request::Input(input) => self.input(input),
            Request::Leave(session) => self.leave(session),
            Request::Advance { epoch, reply } => {
                let advanced = self.store.advance(epoch);
                let answer = match &advanced {
                    Ok(()) => Ok(()),
                    Err(_) => Err(Error::NotOwner),
                };
                drop(reply.send(answer));
                advanced
            }
            Request::Stop => {
                self.inbox.close();
                Ok(())
            }
        }
    }

    /// Submits all tasks of a request, or none of them.
    fn submit(&mut self, submit: Submit) -> Result<(), store::Error> {
        let Submit { mut tasks, is_batch, reply, _admitted } = submit;
        for NewTask { submission, .. } in &mut tasks {
            let home = TaskId::home_of(&submission.queue.namespace, &submission.queue.queue);
            submission.id = engine_id(self.ids.next(self.now, home));
        }
        if tasks.len() > 1 {
            let submissions: Vec<Submission> = tasks.iter().map(|task| task.submission.clone()).collect();
            if let Err((position, refused)) = self.engine.admits(self.now, &submissions) {
                drop(reply.send(Err(refusal(&refused, is_batch.then_some(position)))));
                return Ok(());
            }
        }
        let mut accepted = Vec::with_capacity(tasks.len());
        for (position, task) in tasks.into_iter().enumerate() {
            let command = Command::Submit(task.submission.clone());
            match self.apply(command, Context { new: Some(task), ..Context::default() })? {
                Ok(Applied::Submitted { id, deduplicated }) => {
                    let state = self.engine.view(id).map(|view| wire_state(view.state));
                    accepted.push(Accepted { id: wire_id(id), state, deduplicated });
                }
                Ok(_) => unreachable!("a submit is answered as one"),
                // Only a single one comes here: a batch was asked about before.
                Err(refused) => {
                    drop(reply.send(Err(refusal(&refused, is_batch.then_some(position)))));
                    return Ok(());
                }
            }
        }
        self.staging.answers.push(Answer::Submitted(reply, accepted));
        Ok(())
    }

    fn cancel(&mut self, cancel: Cancel) -> Result<(), store::Error> {
        let context = Context { reason: &cancel.reason, ..Context::default() };
        let found = self.apply(Command::Cancel(engine_id(cancel.id)), context)?.is_ok();
        self.staging.answers.push(Answer::Cancelled(cancel.reply, found));
        Ok(())
    }

    fn join(&mut self, join: Join) -> Result<(), store::Error> {
        let Join { hello, outbox, reply } = join;
        let session = match self.workers.join(&hello.worker_id, hello.slots, outbox, self.now) {
            Ok(session) => session,
            Err(error) => {
                drop(reply.send(Err(error)));
                return Ok(());
            }
        };
        // What an earlier session was to be told is void: the worker says itself what it has.
        self.staging.outgoing.remove(&session.worker);
        let worker_id = &*hello.worker_id;
        tracing::info!(worker_id, slots = hello.slots, running = hello.running.len(), "worker joined");
        let mut revoked = Vec::new();
        let command = Command::WorkerJoined {
            worker: session.worker,
            spec: hello.spec,
            slots: hello.slots,
            running: hello.running,
        };
        let applied = self.apply(command, Context { revoked: Some(&mut revoked), ..Context::default() })?;
        debug_assert!(applied.is_ok(), "a join is never refused");
        self.staging.answers.push(Answer::Joined(reply, Joined { session, revoked }));
        Ok(())
    }

    fn leave(&mut self, session: SessionRef) -> Result<(), store::Error> {
        if self.workers.leave(session, self.now) {
            tracing::info!(worker_id = &*self.workers.id(session.worker), "worker left");
            let applied = self.apply(Command::WorkerLost(session.worker), Context::default())?;
            debug_assert!(applied.is_ok(), "a loss is never refused");
        }
        Ok(())
    }

    /// Logs and progress come before results: they belong to attempts that a result ends.
    fn input(&mut self, input: Input) -> Result<(), store::Error> {
        let Input { session, slots, results, logs, progress, handed_back, _admitted } = input;
        if !self.workers.is_current(session) {
            return Ok(());
        }
        let worker = session.worker;
        for (attempt, lines) in logs {
            if self.is_running(attempt) {
                self.log(attempt, lines)?;
            }
        }
        for (attempt, progress) in progress {
            if self.is_running(attempt) {
                self.progress(attempt, progress)?;
            }
        }
        for ended in results {
            let Ended { attempt, ref outcome, .. } = ended;
            let command = Command::Finish { worker, attempt, outcome: outcome.clone() };
            let applied = self.apply(command, Context { ended: Some(ended), ..Context::default() })?;
            debug_assert!(applied.is_ok(), "a result is never refused");
        }
        for attempt in handed_back {
            let applied = self.apply(Command::HandBack { worker, attempt }, Context::default())?;
            debug_assert!(applied.is_ok(), "nothing handed back is refused");
        }
        if slots > 0 && self.workers.grant(worker, slots) {
            let applied = self.apply(Command::SlotsFreed { worker, slots }, Context::default())?;
            debug_assert!(applied.is_ok(), "free slots are never refused");
        }
        Ok(())
    }

    /// True when this is the task's newest attempt, as far as was committed.
    fn is_running(&self, attempt: RunningAttempt) -> bool {
        self.live.get(&wire_id(attempt.task)).is_some_and(|live| live.token == attempt.token)
    }

    fn progress(
        &mut self,
        attempt: RunningAttempt,
        progress: mcp_proto::scheduler::v1::Progress,
    ) -> Result<(), store::Error> {
        let id = wire_id(attempt.task);
        if self.hub.has_watches() {
            let queue = self.queue_of(id)?;
            let wire = TaskEvent {
                task_id: id.to_string(),
                namespace: queue.namespace.to_string(),
                queue: queue.queue.to_string(),
                state: mcp_proto::scheduler::v1::TaskState::Running.into(),
                attempt: self.live.get(&id).map_or(0, |live| live.attempt),
                time: Some(super::wire_time(self.now)),
                error: None,
                progress: Some(progress.clone()),
            };
            self.staging.events.push(Event { id, wire });
        }
        self.staging.live.push(LiveChange::Progress(attempt, progress));
        Ok(())
    }
}

/// What a refusal means to the caller.
fn refusal(refused: &Refused, position: Option<usize>) -> Error {
    let field = |name: &str| match position {
        Some(position) => format!("tasks[{position}].{name}"),
        None => format!("task.{name}"),
    };
    match refused {
        Refused::IdempotencyConflict(id) => Error::Refused(
            WireError::new(Code::IdempotencyConflict, refused.to_string())
                .with_violation(field("idempotency_key"), "belongs to a different task")
                .with_metadata("task_id", wire_id(*id).to_string()),
        ),
        Refused::QueueFull => Error::Refused(
            WireError::new(Code::QueueFull, refused.to_string())
                .with_violation(field("queue"), "holds as many tasks as it may")
                .with_retry_after(QUEUE_FULL_RETRY),
        ),
        Refused::Full => Error::Overloaded { what: "tasks" },
        Refused::NotLive => unreachable!("only a cancel is refused like this"),
    }
}
