//! The calls of `TaskService`: check, ask the owner, answer.

use std::sync::Arc;

use mcp_proto::{
    Code, Error as WireError, TaskId,
    scheduler::v1::{
        BatchSubmitTasksRequest, BatchSubmitTasksResponse, CancelTaskRequest, CancelTaskResponse, ExplainTaskRequest,
        ExplainTaskResponse, GetTaskRequest, GetTaskResponse, ListTasksRequest, ListTasksResponse, ReadTaskLogsRequest,
        RetryTaskRequest, RetryTaskResponse, SubmitTaskRequest, SubmitTaskResponse, Task, TaskSpec, WaitTaskRequest,
        WaitTaskResponse, WatchTasksRequest, task_service_server::TaskService,
    },
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    Tasks,
    logs::LogStream,
    view::{self, Detail},
    watch::WatchStream,
};
use crate::{
    error::Error,
    routing::{Caller, Repeat},
    shell::Home,
    store::{self, PartitionStore, Stored},
    validate::{self, Intake},
};

#[tonic::async_trait]
impl TaskService for Tasks {
    type WatchTasksStream = WatchStream;
    type ReadTaskLogsStream = LogStream;

    async fn submit_task(&self, request: Request<SubmitTaskRequest>) -> Result<Response<SubmitTaskResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let task = self.intake(&caller).single(request.task)?;
        let mut results = self.submit(&caller, vec![task], false).await?;
        Ok(Response::new(results.pop().ok_or(Error::NotOwner)?))
    }

    async fn batch_submit_tasks(
        &self,
        request: Request<BatchSubmitTasksRequest>,
    ) -> Result<Response<BatchSubmitTasksResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let tasks = self.intake(&caller).batch(request.tasks)?;
        let results = self.submit(&caller, tasks, true).await?;
        Ok(Response::new(BatchSubmitTasksResponse { results }))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id: TaskId = request.task_id.parse()?;
        let routes = &self.deps.routes;
        routes
            .unary(
                routes.of_id(id),
                &caller,
                request,
                Repeat::Allowed,
                |home, _| async move { Ok(GetTaskResponse { task: Some(self.get(&home, id).await?) }) },
                |peer, request| async move { peer.tasks().get_task(request).await },
            )
            .await
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let filter = validate::list(&request)?;
        Ok(Response::new(self.list(&caller, filter, request).await?))
    }

    async fn wait_task(&self, request: Request<WaitTaskRequest>) -> Result<Response<WaitTaskResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let timeout = validate::wait_timeout(&request)?;
        let task = self.wait(&caller, request.task_id.parse()?, timeout).await?;
        Ok(Response::new(WaitTaskResponse { task: Some(task) }))
    }

    async fn watch_tasks(
        &self,
        request: Request<WatchTasksRequest>,
    ) -> Result<Response<Self::WatchTasksStream>, Status> {
        let (caller, request) = self.deps.caller(request);
        let filter = validate::watch(&request)?;
        Ok(Response::new(self.watch(caller, filter, request)?))
    }

    async fn cancel_task(&self, request: Request<CancelTaskRequest>) -> Result<Response<CancelTaskResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id = validate::cancel(&request)?;
        let routes = &self.deps.routes;
        routes
            .unary(
                routes.of_id(id),
                &caller,
                request,
                // A repeat finds the task cancelled, or being cancelled.
                Repeat::Allowed,
                |home, request| async move {
                    let found = home.cancel(id, request.reason).await?;
                    let task = self.get(&home, id).await?;
                    if !found {
                        return Err(already_final(id, &task));
                    }
                    Ok(CancelTaskResponse { task: Some(task) })
                },
                |peer, request| async move { peer.tasks().cancel_task(request).await },
            )
            .await
    }

    async fn read_task_logs(
        &self,
        request: Request<ReadTaskLogsRequest>,
    ) -> Result<Response<Self::ReadTaskLogsStream>, Status> {
        let (caller, request) = self.deps.caller(request);
        let id: TaskId = request.task_id.parse()?;
        Ok(Response::new(self.logs(caller, id, request).await?))
    }

    async fn explain_task(
        &self,
        request: Request<ExplainTaskRequest>,
    ) -> Result<Response<ExplainTaskResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        self.explain(&caller, request).await
    }

    async fn retry_task(&self, request: Request<RetryTaskRequest>) -> Result<Response<RetryTaskResponse>, Status> {
        let (caller, request) = self.deps.caller(request);
        self.retry(&caller, request).await
    }
}

impl Tasks {
    /// Checks what is submitted now.
    fn intake<'a>(&self, caller: &'a Caller) -> Intake<'a> {
        Intake::new(&self.deps.settings, self.deps.clock.now(), caller.traceparent())
    }

    /// A task's record.
    pub(super) async fn stored(&self, home: &Home, id: TaskId) -> Result<Stored, Error> {
        let store = Arc::clone(home.store());
        let stored = self.deps.reads.read(move || store.get(id)).await?;
        stored.ok_or(Error::TaskNotFound { id })
    }

    /// A task, whole.
    pub(super) async fn get(&self, home: &Home, id: TaskId) -> Result<Task, Error> {
        // The running attempt first: one that ends in between is found on record.
        let live = home.live().get(&id).map(|live| live.clone());
        let store = Arc::clone(home.store());
        let read = self.deps.reads.read(move || {
            let Some(stored) = store.get(id)? else { return Ok(None) };
            let whole = if stored.fixed.is_brief() { whole_spec(&*store, id)? } else { None };
            Ok(Some((stored, whole)))
        });
        let (stored, whole) = read.await?.ok_or(Error::TaskNotFound { id })?;
        Ok(view::task(stored, live.as_ref(), self.deps.clock.now(), Detail::Whole(whole.map(Box::new)))?)
    }
}

fn already_final(id: TaskId, task: &Task) -> Error {
    let state = task.state().as_str_name();
    let message = format!("task `{id}` is final already ({state})");
    Error::Refused(WireError::new(Code::TaskFinished, message).with_metadata("task_id", id.to_string()))
}

fn whole_spec(store: &dyn PartitionStore, id: TaskId) -> Result<Option<TaskSpec>, store::Error> {
    let Some(bytes) = store.spec(id)? else { return Ok(None) };
    let spec = TaskSpec::decode(bytes);
    spec.map(Some).map_err(|error| store::Error::Corrupt { key: id.to_string(), reason: error.to_string() })
}
