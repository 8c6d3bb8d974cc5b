//! The calls of `TaskService`: check, ask the partition, answer.

use std::collections::HashMap;

use mcp_proto::{
    Code, Error as WireError, TaskId,
    scheduler::v1::{
        BatchSubmitTasksRequest, BatchSubmitTasksResponse, CancelTaskRequest, CancelTaskResponse, GetTaskRequest,
        GetTaskResponse, ListTasksRequest, ListTasksResponse, ReadTaskLogsRequest, SubmitTaskRequest,
        SubmitTaskResponse, Task, TaskSpec, TaskState, WaitTaskRequest, WaitTaskResponse, WatchTasksRequest,
        task_service_server::TaskService,
    },
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    Tasks,
    follow::{LogStream, WatchStream, logs, watch},
    traceparent,
    view::{self, Detail},
};
use crate::{
    error::Error,
    shell::{Accepted, Handle},
    store::{self, PartitionStore, Stored},
    validate::{self, Intake},
};

#[tonic::async_trait]
impl TaskService for Tasks {
    type WatchTasksStream = WatchStream;
    type ReadTaskLogsStream = LogStream;

    async fn submit_task(&self, request: Request<SubmitTaskRequest>) -> Result<Response<SubmitTaskResponse>, Status> {
        let handle = self.deps.partition.handle()?;
        let traceparent = traceparent::current(request.metadata());
        let intake = Intake::new(self.deps.clock.now(), &traceparent);
        let task = intake.single(request.into_inner().task)?;
        let accepted = handle.submit(vec![task], false).await?;
        let mut results = self.results(&handle, accepted).await?;
        Ok(Response::new(results.pop().ok_or(Error::NotOwner)?))
    }

    async fn batch_submit_tasks(
        &self,
        request: Request<BatchSubmitTasksRequest>,
    ) -> Result<Response<BatchSubmitTasksResponse>, Status> {
        let handle = self.deps.partition.handle()?;
        let traceparent = traceparent::current(request.metadata());
        let intake = Intake::new(self.deps.clock.now(), &traceparent);
        let tasks = intake.batch(request.into_inner().tasks)?;
        let accepted = handle.submit(tasks, true).await?;
        let results = self.results(&handle, accepted).await?;
        Ok(Response::new(BatchSubmitTasksResponse { results }))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        let id = request.into_inner().task_id.parse()?;
        let task = self.get(id).await?;
        Ok(Response::new(GetTaskResponse { task: Some(task) }))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let filter = validate::list(request.into_inner())?;
        let handle = self.deps.partition.handle()?;
        Ok(Response::new(self.list(&handle, filter).await?))
    }

    async fn wait_task(&self, request: Request<WaitTaskRequest>) -> Result<Response<WaitTaskResponse>, Status> {
        let request = request.into_inner();
        let timeout = validate::wait_timeout(&request)?;
        let id: TaskId = request.task_id.parse()?;
        let mut topic = self.deps.hub.follow(id)?; // first, so that an end in between is heard
        let mut task = self.get(id).await?;
        if !task.state().is_final() {
            tokio::select! {
                () = topic.ended() => {}
                () = tokio::time::sleep(timeout) => {}
                () = self.deps.closing.cancelled() => return Err(Error::ShuttingDown.into()),
            }
            task = self.get(id).await?;
        }
        Ok(Response::new(WaitTaskResponse { task: Some(task) }))
    }

    async fn watch_tasks(
        &self,
        request: Request<WatchTasksRequest>,
    ) -> Result<Response<Self::WatchTasksStream>, Status> {
        let filter = validate::watch(request.into_inner())?;
        self.deps.partition.handle()?;
        let stream = watch(self.deps.hub.watch(filter)?, self.deps.closing.clone());
        Ok(Response::new(stream))
    }

    async fn cancel_task(&self, request: Request<CancelTaskRequest>) -> Result<Response<CancelTaskResponse>, Status> {
        let request = request.into_inner();
        let id = validate::cancel(&request)?;
        let handle = self.deps.partition.handle()?;
        let found = handle.cancel(id, request.reason).await?;
        let task = self.get(id).await?;
        if !found {
            let state = task.state().as_str_name();
            let message = format!("task `{id}` is final already ({state})");
            let error = WireError::new(Code::TaskFinished, message).with_metadata("task_id", id.to_string());
            return Err(error.into());
        }
        Ok(Response::new(CancelTaskResponse { task: Some(task) }))
    }

    async fn read_task_logs(
        &self,
        request: Request<ReadTaskLogsRequest>,
    ) -> Result<Response<Self::ReadTaskLogsStream>, Status> {
        let request = request.into_inner();
        let id: TaskId = request.task_id.parse()?;
        let topic = if request.follow { Some(self.deps.hub.follow(id)?) } else { None };
        self.stored(&self.deps.partition.handle()?, id).await?;
        Ok(Response::new(logs(self.clone(), id, request.after_seq, topic)))
    }
}

impl Tasks {
    /// The answers to a submit. Only repeats of tasks that are final already need a look at the store.
    async fn results(&self, handle: &Handle, accepted: Vec<Accepted>) -> Result<Vec<SubmitTaskResponse>, Error> {
        let ended: Vec<TaskId> = accepted.iter().filter(|task| task.state.is_none()).map(|task| task.id).collect();
        let ends = match ended.as_slice() {
            [] => HashMap::new(),
            _ => self.deps.reads.read(handle, move |store| states_of(store, &ended)).await?,
        };
        let result = |Accepted { id, state, deduplicated }| {
            // One whose retention has passed, but not yet that of its key, stands nowhere.
            let state = state.or_else(|| ends.get(&id).copied()).unwrap_or_default();
            SubmitTaskResponse { task_id: id.to_string(), state: state.into(), deduplicated }
        };
        Ok(accepted.into_iter().map(result).collect())
    }

    /// A task's record.
    pub(super) async fn stored(&self, handle: &Handle, id: TaskId) -> Result<Stored, Error> {
        let stored = self.deps.reads.read(handle, move |store| store.get(id)).await?;
        stored.ok_or(Error::TaskNotFound { id })
    }

    /// A task, whole.
    async fn get(&self, id: TaskId) -> Result<Task, Error> {
        let handle = self.deps.partition.handle()?;
        // The running attempt first: one that ends in between is found on record.
        let live = handle.live().get(&id).map(|live| live.clone());
        let read = self.deps.reads.read(&handle, move |store| {
            let Some(stored) = store.get(id)? else { return Ok(None) };
            let whole = if stored.fixed.is_brief() { whole_spec(store, id)? } else { None };
            Ok(Some((stored, whole)))
        });
        let (stored, whole) = read.await?.ok_or(Error::TaskNotFound { id })?;
        Ok(view::task(stored, live.as_ref(), self.deps.clock.now(), Detail::Whole(whole.map(Box::new)))?)
    }
}

fn states_of(store: &dyn PartitionStore, ids: &[TaskId]) -> Result<HashMap<TaskId, TaskState>, store::Error> {
    let mut states = HashMap::new();
    for &id in ids {
        states.extend(store.get(id)?.map(|stored| (id, stored.moving.state())));
    }
    Ok(states)
}

fn whole_spec(store: &dyn PartitionStore, id: TaskId) -> Result<Option<TaskSpec>, store::Error> {
    let Some(bytes) = store.spec(id)? else { return Ok(None) };
    let spec = TaskSpec::decode(bytes);
    spec.map(Some).map_err(|error| store::Error::Corrupt { key: id.to_string(), reason: error.to_string() })
}
