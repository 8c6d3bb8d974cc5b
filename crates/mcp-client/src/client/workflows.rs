//! Workflows.

use std::time::Duration;

use mcp_proto::{
    Error,
    scheduler::v1::{
        CancelWorkflowRequest, CheckWorkflowRequest, GetWorkflowRequest, ListWorkflowsRequest, ListWorkflowsResponse,
        PauseWorkflowRequest, RerunWorkflowRequest, RerunWorkflowResponse, ResumeWorkflowRequest,
        SubmitWorkflowRequest, SubmitWorkflowResponse, WaitWorkflowRequest, Workflow, WorkflowSpec, WorkflowState,
    },
};

use super::{
    Client,
    call::{partition_key, present},
    wait,
};

impl Client {
    /// Submits a workflow. It is durable when this returns.
    ///
    /// One with an idempotency key is submitted again while the other end is away; one without only when it is certain
    /// that nothing was done.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with one violation for each fault, and those of every call. After `DEADLINE_EXCEEDED`,
    /// `UPSTREAM_FAILED` or `OUTCOME_UNKNOWN` it may have been stored: submit again with an idempotency key, or list.
    pub async fn submit_workflow(&self, workflow: WorkflowSpec) -> Result<SubmitWorkflowResponse, Error> {
        let home = partition_key(&workflow.namespace, &workflow.queue);
        let call = if workflow.idempotency_key.is_empty() { self.write_at(&home) } else { self.read_at(&home) };
        let request = SubmitWorkflowRequest { workflow: Some(workflow) };
        call.unary(request, |request| async { self.workflows.clone().submit_workflow(request).await }).await
    }

    /// Checks a workflow and stores nothing.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` with one violation for each fault, and those of every call.
    pub async fn check_workflow(&self, workflow: WorkflowSpec) -> Result<(), Error> {
        let call = self.read_at(&partition_key(&workflow.namespace, &workflow.queue));
        let request = CheckWorkflowRequest { workflow: Some(workflow) };
        call.unary(request, |request| async { self.workflows.clone().check_workflow(request).await }).await.map(drop)
    }

    /// Reads one workflow with its steps.
    ///
    /// # Errors
    /// `WORKFLOW_NOT_FOUND`, `INVALID_ARGUMENT` for an id that is none, and those of every call.
    pub async fn workflow(&self, workflow_id: &str) -> Result<Workflow, Error> {
        let request = GetWorkflowRequest { workflow_id: workflow_id.to_owned() };
        let call = self.read_at(workflow_id);
        let answer =
            call.unary(request, |request| async { self.workflows.clone().get_workflow(request).await }).await?;
        present(answer.workflow, "workflow")
    }

    /// Lists one page of workflows, the newest first.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN`, `INVALID_ARGUMENT`, and those of every call.
    pub async fn workflows(&self, request: ListWorkflowsRequest) -> Result<ListWorkflowsResponse, Error> {
        self.read().unary(request, |request| async { self.workflows.clone().list_workflows(request).await }).await
    }

    /// Waits until a workflow is final, at most `limit`, and returns it: final, or as it stood when the time was over.
    ///
    /// It polls again and again, and goes on through times in which the other end is away.
    ///
    /// # Errors
    /// `WORKFLOW_NOT_FOUND`, `INVALID_ARGUMENT`; the last error when the other end was away at the end of `limit`.
    pub async fn wait_workflow(&self, workflow_id: &str, limit: Duration) -> Result<Workflow, Error> {
        wait::until_final(limit, is_final, |wait| self.poll_workflow(workflow_id, wait)).await
    }

    /// Ends a workflow: no further step starts, and what runs is stopped.
    ///
    /// # Errors
    /// `WORKFLOW_NOT_FOUND`, `WORKFLOW_FINISHED`, and those of every call.
    pub async fn cancel_workflow(&self, workflow_id: &str, reason: impl Into<String>) -> Result<Workflow, Error> {
        let request = CancelWorkflowRequest { workflow_id: workflow_id.to_owned(), reason: reason.into() };
        let call = self.write_at(workflow_id);
        let answer =
            call.unary(request, |request| async { self.workflows.clone().cancel_workflow(request).await }).await?;
        present(answer.workflow, "workflow")
    }

    /// Lets what runs finish and starts nothing further.
    ///
    /// # Errors
    /// `WORKFLOW_NOT_FOUND`, `WORKFLOW_FINISHED`, and those of every call.
    pub async fn pause_workflow(&self, workflow_id: &str) -> Result<Workflow, Error> {
        let request = PauseWorkflowRequest { workflow_id: workflow_id.to_owned() };
        let call = self.read_at(workflow_id);
        let answer =
            call.unary(request, |request| async { self.workflows.clone().pause_workflow(request).await }).await?;
        present(answer.workflow, "workflow")
    }

    /// Lets a paused workflow go on.
    ///
    /// # Errors
    /// `WORKFLOW_NOT_FOUND`, `WORKFLOW_FINISHED`, and those of every call.
    pub async fn resume_workflow(&self, workflow_id: &str) -> Result<Workflow, Error> {
        let request = ResumeWorkflowRequest { workflow_id: workflow_id.to_owned() };
        let call = self.read_at(workflow_id);
        let answer =
            call.unary(request, |request| async { self.workflows.clone().resume_workflow(request).await }).await?;
        present(answer.workflow, "workflow")
    }

    /// Starts a new run of a final workflow, from its failed steps or a given step on.
    ///
    /// # Errors
    /// `WORKFLOW_NOT_FOUND`, `FAILED_PRECONDITION` when it is not final, `INVALID_ARGUMENT`, and those of every call.
    /// After `DEADLINE_EXCEEDED`, `UPSTREAM_FAILED` or `OUTCOME_UNKNOWN` the run may have been started: list.
    pub async fn rerun_workflow(&self, request: RerunWorkflowRequest) -> Result<RerunWorkflowResponse, Error> {
        let call = self.write_at(&request.workflow_id);
        call.unary(request, |request| async { self.workflows.clone().rerun_workflow(request).await }).await
    }

    async fn poll_workflow(&self, workflow_id: &str, wait: Duration) -> Result<Workflow, Error> {
        let (call, timeout) = wait::poll_call(self.read_at(workflow_id), wait)?;
        let request = WaitWorkflowRequest { workflow_id: workflow_id.to_owned(), timeout: Some(timeout) };
        let answer =
            call.unary(request, |request| async { self.workflows.clone().wait_workflow(request).await }).await?;
        present(answer.workflow, "workflow")
    }
}

fn is_final(workflow: &Workflow) -> bool {
    matches!(workflow.state(), WorkflowState::Succeeded | WorkflowState::Failed | WorkflowState::Cancelled)
}
