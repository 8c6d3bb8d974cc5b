//! `ExplainTask`: why a task is where it is, or a step of a workflow that has none yet.

use std::sync::Arc;

use mcp_proto::{
    TaskId,
    scheduler::v1::{ExplainTaskRequest, ExplainTaskResponse, Reason, TaskState},
};
use tonic::{Response, Status};

use super::{Tasks, Workflows, explain_steps, explain_text::Teller};
use crate::{
    error::Error,
    routing::{Caller, Repeat},
    shell::{Explained, Home, wire_time},
    store::{self, Stored},
};

impl Tasks {
    /// Explains a task at its owner.
    pub(super) async fn explain(
        &self,
        caller: &Caller,
        request: ExplainTaskRequest,
    ) -> Result<Response<ExplainTaskResponse>, Status> {
        let id: TaskId = request.task_id.parse()?;
        let routes = &self.deps.routes;
        routes
            .unary(
                routes.of_id(id),
                caller,
                request,
                Repeat::Allowed,
                |home, request: ExplainTaskRequest| async move { self.explain_here(&home, id, &request.step).await },
                |peer, request| async move { peer.tasks().explain_task(request).await },
            )
            .await
    }

    async fn explain_here(&self, home: &Arc<Home>, id: TaskId, step: &str) -> Result<ExplainTaskResponse, Error> {
        if !step.is_empty() {
            return self.explain_workflow(home, id, step).await?.ok_or(Error::WorkflowNotFound { id });
        }
        // The loop first: what it does not know any more is final on record by the time it answers.
        let explained = home.explain(id).await?;
        let stored = match self.stored(home, id).await {
            // The id may be a workflow's.
            Err(error @ Error::TaskNotFound { .. }) => {
                return self.explain_workflow(home, id, step).await?.ok_or(error);
            }
            found => found?,
        };
        if stored.moving.state().is_final() {
            return Ok(finished(&stored));
        }
        let explained = explained.ok_or(Error::NotOwner)?; // it moved away in between
        Ok(unfinished(&explained, &stored)?)
    }

    /// Explains the steps of a workflow; `None` when there is none with this id.
    async fn explain_workflow(
        &self,
        home: &Arc<Home>,
        id: TaskId,
        step: &str,
    ) -> Result<Option<ExplainTaskResponse>, Error> {
        let workflows = Workflows::new(self.deps.clone());
        let Some((view, _)) = workflows.run(home, id).await? else { return Ok(None) };
        Ok(Some(explain_steps::explain(id, &view, step)?))
    }
}

fn unfinished(explained: &Explained, stored: &Stored) -> Result<ExplainTaskResponse, store::Error> {
    let spec = stored.fixed.decode_spec()?;
    let teller = Teller { explained, stored, spec: &spec };
    let reasons: Vec<Reason> = explained.reasons.iter().map(|reason| teller.reason(reason)).collect();
    Ok(ExplainTaskResponse {
        state: explained.state.into(),
        summary: reasons.first().map(|reason| reason.message.clone()).unwrap_or_default(),
        reasons,
        next_change: explained.next_change.map(wire_time),
    })
}

fn finished(stored: &Stored) -> ExplainTaskResponse {
    let (id, moving) = (stored.id, &stored.moving);
    let error = moving.error.clone().unwrap_or_default();
    let next = match moving.replayed_as.as_str() {
        "" => format!("`mcp retry {id}` runs it again as a new task"),
        new => format!("it was replayed as task `{new}`"),
    };
    let message = match moving.state() {
        TaskState::Succeeded => "it succeeded".to_owned(),
        TaskState::Cancelled => format!("it was cancelled ({}); {next}", error.message),
        _ => format!("it failed with {} ({}); {next}", error.name, error.message),
    };
    let since = (moving.finish_ms != 0).then(|| wire_time(moving.finish_ms));
    let reason = Reason { kind: "FINISHED".to_owned(), message: message.clone(), since, ..Reason::default() };
    ExplainTaskResponse { state: moving.state, summary: message, reasons: vec![reason], next_change: None }
}
