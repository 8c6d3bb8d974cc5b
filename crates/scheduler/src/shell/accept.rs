//! From requests to commands.

use std::time::Duration;

use mcp_engine::{Applied, Command, Refused, Submission};
use mcp_proto::{Code, Error as WireError};

use super::{
    Shell,
    changes::wire_state,
    effects::Context,
    live::{engine_id, wire_id},
    request::{Accepted, Cancel, Request, Submit, Submitted},
    staging::Answer,
};
use crate::{error::Error, store};

impl Shell {
    /// Takes one request from the inbox.
    ///
    /// # Errors
    /// The store failed; everything must be opened again.
    pub(super) fn accept(&mut self, request: Request) -> Result<(), store::Error> {
        match request {
            Request::Submit(submit) => self.submit(submit),
            Request::Cancel(cancel) => self.cancel(cancel),
            Request::Join(join) => self.join(join),
            Request::Input(input) => self.input(input),
            Request::Leave(session) => self.leave(session),
            Request::Queue(request) => self.queue_request(request),
            Request::Dead(request) => self.dead_request(request),
            Request::Explain(explain) => {
                self.explain(explain);
                Ok(())
            }
            Request::Move(step) => self.move_partition(step),
            Request::Conduct(conduct, _admitted) => self.conduct_request(*conduct),
            Request::Stop => {
                self.inbox.close();
                Ok(())
            }
        }
    }

    /// Submits all tasks of a request, or none of them.
    fn submit(&mut self, submit: Submit) -> Result<(), store::Error> {
        let Submit { mut tasks, is_batch, reply, _admitted } = submit;
        if !tasks.iter().all(|task| self.hosted.is_open(task.partition())) {
            drop(reply.send(Ok(Submitted::Moved(tasks))));
            return Ok(());
        }
        for task in &mut tasks {
            task.submission.id = engine_id(self.ids.next(self.now, task.home));
        }
        if tasks.len() > 1 {
            let submissions: Vec<Submission> = tasks.iter().map(|task| task.submission.clone()).collect();
            if let Err((index, refused)) = self.engine.admits(self.now, &submissions) {
                let position = tasks[index].position;
                drop(reply.send(Err(refusal(&refused, is_batch.then_some(position)))));
                return Ok(());
            }
        }
        let mut accepted = Vec::with_capacity(tasks.len());
        for task in tasks {
            let position = task.position;
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
        if !self.hosted.has(cancel.id) {
            drop(cancel.reply.send(Err(Error::NotOwner)));
            return Ok(());
        }
        let context = Context { reason: &cancel.reason, ..Context::default() };
        let found = self.apply(Command::Cancel(engine_id(cancel.id)), context)?.is_ok();
        self.staging.answers.push(Answer::Cancelled(cancel.reply, found));
        Ok(())
    }
}

/// What a refusal means to the caller.
pub(super) fn refusal(refused: &Refused, position: Option<usize>) -> Error {
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
        Refused::QueueFull { retry_after } => Error::Refused(
            WireError::new(Code::QueueFull, refused.to_string())
                .with_violation(field("queue"), "holds as many tasks as it may")
                .with_retry_after(Duration::from_millis(*retry_after)),
        ),
        Refused::QueueClosed => Error::Refused(
            WireError::new(Code::QueueClosed, refused.to_string()).with_violation(field("queue"), "is being drained"),
        ),
        Refused::NotOwned(_) => Error::NotOwner,
        Refused::Full => Error::Overloaded { what: "tasks" },
        Refused::NotLive => unreachable!("only a cancel is refused like this"),
    }
}
