//! `WorkflowService`: check, ask the owner, answer.

mod list;
mod read;

use std::sync::Arc;

use mcp_proto::{
    Code, Error as WireError, TaskId,
    scheduler::v1::{
        CancelWorkflowRequest, CancelWorkflowResponse, CheckWorkflowRequest, CheckWorkflowResponse, GetWorkflowRequest,
        GetWorkflowResponse, ListWorkflowsRequest, ListWorkflowsResponse, PauseWorkflowRequest, PauseWorkflowResponse,
        RerunWorkflowRequest, RerunWorkflowResponse, ResumeWorkflowRequest, ResumeWorkflowResponse,
        SubmitWorkflowRequest, SubmitWorkflowResponse, WaitWorkflowRequest, WaitWorkflowResponse, Workflow,
        WorkflowSpec, workflow_service_server::WorkflowService,
    },
};
use tonic::{Request, Response, Status};

use super::Deps;
use crate::{
    conductor::{Conduct, Control, StartedRun, WorkflowCommand},
    error::Error,
    routing::{Caller, Peer, Repeat},
    shell::Home,
    validate::{self, NewRun},
};

/// `mcp.scheduler.v1.WorkflowService`.
#[derive(Debug, Clone)]
pub(crate) struct Workflows {
    pub(super) deps: Deps,
}

#[tonic::async_trait]
impl WorkflowService for Workflows {
    async fn submit_workflow(
        &self,
        request: Request<SubmitWorkflowRequest>,
    ) -> Result<Response<SubmitWorkflowResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let spec = request.workflow.as_ref().ok_or_else(|| WireError::invalid("workflow", "is missing"))?;
        let repeat = if spec.idempotency_key.is_empty() { Repeat::Never } else { Repeat::Allowed };
        let routes = &self.deps.routes;
        routes
            .unary(
                routes.of_queue(&spec.namespace, &spec.queue),
                &caller,
                request,
                repeat,
                |home, request| {
                    let trace = caller.traceparent().to_owned();
                    async move {
                        let new = self.checked(move || validate::check_workflow(request.workflow, &trace)).await?;
                        let started = start(&home, new).await?;
                        let workflow_id = started.id.to_string();
                        Ok(SubmitWorkflowResponse { workflow_id, deduplicated: started.deduplicated })
                    }
                },
                |peer, request| async move { peer.workflows().submit_workflow(request).await },
            )
            .await
    }

    async fn check_workflow(
        &self,
        request: Request<CheckWorkflowRequest>,
    ) -> Result<Response<CheckWorkflowResponse>, Status> {
        let workflow = request.into_inner().workflow;
        self.checked(move || validate::check_workflow(workflow, "")).await?;
        Ok(Response::new(CheckWorkflowResponse {}))
    }

    async fn get_workflow(
        &self,
        request: Request<GetWorkflowRequest>,
    ) -> Result<Response<GetWorkflowResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::workflow_id(&request.workflow_id)?;
        let routes = &self.deps.routes;
        routes
            .unary(
                routes.of_id(id),
                &caller,
                request,
                Repeat::Allowed,
                |home, _| async move { Ok(GetWorkflowResponse { workflow: Some(self.get(&home, id).await?) }) },
                |peer, request| async move { peer.workflows().get_workflow(request).await },
            )
            .await
    }

    async fn list_workflows(
        &self,
        request: Request<ListWorkflowsRequest>,
    ) -> Result<Response<ListWorkflowsResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let filter = validate::list_workflows(&request)?;
        Ok(Response::new(self.list(&caller, filter, request).await?))
    }

    async fn wait_workflow(
        &self,
        request: Request<WaitWorkflowRequest>,
    ) -> Result<Response<WaitWorkflowResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::workflow_id(&request.workflow_id)?;
        let timeout = validate::wait_workflow(&request)?;
        let workflow = self.wait(&caller, id, timeout).await?;
        Ok(Response::new(WaitWorkflowResponse { workflow: Some(workflow) }))
    }

    async fn cancel_workflow(
        &self,
        request: Request<CancelWorkflowRequest>,
    ) -> Result<Response<CancelWorkflowResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::workflow_id(&request.workflow_id)?;
        validate::reason(&request.reason)?;
        let control = Control::Cancel(request.reason.clone());
        let answer = |workflow| CancelWorkflowResponse { workflow: Some(workflow) };
        let there = |peer: Peer, request| async move { peer.workflows().cancel_workflow(request).await };
        self.controlled(&caller, id, request, &control, answer, there).await
    }

    async fn pause_workflow(
        &self,
        request: Request<PauseWorkflowRequest>,
    ) -> Result<Response<PauseWorkflowResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::workflow_id(&request.workflow_id)?;
        let answer = |workflow| PauseWorkflowResponse { workflow: Some(workflow) };
        let there = |peer: Peer, request| async move { peer.workflows().pause_workflow(request).await };
        self.controlled(&caller, id, request, &Control::Pause, answer, there).await
    }

    async fn resume_workflow(
        &self,
        request: Request<ResumeWorkflowRequest>,
    ) -> Result<Response<ResumeWorkflowResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::workflow_id(&request.workflow_id)?;
        let answer = |workflow| ResumeWorkflowResponse { workflow: Some(workflow) };
        let there = |peer: Peer, request| async move { peer.workflows().resume_workflow(request).await };
        self.controlled(&caller, id, request, &Control::Resume, answer, there).await
    }

    async fn rerun_workflow(
        &self,
        request: Request<RerunWorkflowRequest>,
    ) -> Result<Response<RerunWorkflowResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::workflow_id(&request.workflow_id)?;
        let routes = &self.deps.routes;
        routes
            .unary(
                routes.of_id(id),
                &caller,
                request,
                Repeat::Never,
                |home, request: RerunWorkflowRequest| {
                    let trace = caller.traceparent().to_owned();
                    async move {
                        let workflow_id = self.rerun(&home, id, request.from_step, request.workflow, trace).await?;
                        Ok(RerunWorkflowResponse { workflow_id: workflow_id.to_string() })
                    }
                },
                |peer, request| async move { peer.workflows().rerun_workflow(request).await },
            )
            .await
    }
}

impl Workflows {
    /// The service.
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// Checks something on a thread of its own: a large workflow takes some time.
    async fn checked<T: Send + 'static>(
        &self,
        check: impl FnOnce() -> Result<T, WireError> + Send + 'static,
    ) -> Result<T, Error> {
        Ok(self.deps.reads.read(move || Ok(check())).await??)
    }

    /// Does something to a workflow at its owner, and answers with it. A repeat does no harm.
    async fn controlled<M: Clone, A, There: Future<Output = Result<Response<A>, Status>>>(
        &self,
        caller: &Caller,
        id: TaskId,
        request: M,
        control: &Control,
        answer: impl Fn(Workflow) -> A,
        there: impl Fn(Peer, Request<M>) -> There,
    ) -> Result<Response<A>, Status> {
        let (routes, answer) = (&self.deps.routes, &answer);
        let here = |home, _| async move { Ok(answer(self.control(&home, id, control.clone()).await?)) };
        routes.unary(routes.of_id(id), caller, request, Repeat::Allowed, here, there).await
    }

    async fn control(&self, home: &Arc<Home>, id: TaskId, control: Control) -> Result<Workflow, Error> {
        let command = |reply| Conduct::Workflow(home.partition(), WorkflowCommand::Control(id, control, reply));
        if home.conduct(0, command).await? {
            return self.get(home, id).await;
        }
        let workflow = self.get(home, id).await?;
        let state = workflow.state().as_str_name();
        let message = format!("workflow `{id}` is final already ({state})");
        Err(Error::Refused(
            WireError::new(Code::WorkflowFinished, message).with_metadata("workflow_id", id.to_string()),
        ))
    }

    async fn rerun(
        &self,
        home: &Arc<Home>,
        id: TaskId,
        from_step: String,
        newer: Option<WorkflowSpec>,
        trace: String,
    ) -> Result<TaskId, Error> {
        let Some((view, _)) = self.final_run(home, id).await? else {
            if !home.showing().has(id) {
                return Err(Error::WorkflowNotFound { id });
            }
            let message = format!("workflow `{id}` has not ended, so that it cannot be run again");
            return Err(Error::Refused(
                WireError::new(Code::FailedPrecondition, message).with_metadata("workflow_id", id.to_string()),
            ));
        };
        let new: NewRun = self.checked(move || validate::check_rerun(view, from_step, newer, &trace)).await?;
        Ok(start(home, new).await?.id)
    }
}

/// Has the loop start a checked workflow.
async fn start(home: &Home, new: NewRun) -> Result<StartedRun, Error> {
    let bytes = new.len();
    home.conduct(bytes, |reply| Conduct::Workflow(home.partition(), WorkflowCommand::Start(Box::new(new), reply))).await
}
