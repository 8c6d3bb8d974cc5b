//! The calls.

use std::time::Duration;

use mcp_proto::{
    Error,
    registry::v1::{DiscoverRequest, DiscoverResponse},
    scheduler::v1::{
        BatchSubmitTasksRequest, BatchSubmitTasksResponse, CancelTaskRequest, ExplainTaskRequest, ExplainTaskResponse,
        GetTaskRequest, ListTasksRequest, ListTasksResponse, ReadTaskLogsRequest, ReadTaskLogsResponse,
        RetryTaskRequest, RetryTaskResponse, SubmitTaskRequest, SubmitTaskResponse, Task, TaskSpec, WaitTaskRequest,
        WatchTasksRequest, WatchTasksResponse,
    },
};
use tonic::Streaming;

use super::{
    Client,
    call::{Call, partition_key, present},
    retry::Repeat,
    wait,
};

impl Client {
    /// Submits one task. It is durable when this returns.
    ///
    /// A task with an idempotency key is submitted again while the other end is away; one without only when it is certain
    /// that nothing was done.
    ///
    /// # Errors
    /// Those of the catalogue. After `DEADLINE_EXCEEDED`, `UPSTREAM_FAILED` or `OUTCOME_UNKNOWN` the task may have been
    /// stored: submit again with an idempotency key, or list.
    pub async fn submit(&self, task: TaskSpec) -> Result<SubmitTaskResponse, Error> {
        let call = Call { repeat: repeat_of([&task]), ..self.read_at(&partition_key(&task.namespace, &task.queue)) };
        let request = SubmitTaskRequest { task: Some(task) };
        call.unary(request, |request| async { self.tasks.clone().submit_task(request).await }).await
    }

    /// Submits 1 to 10,000 tasks in one durable step: all or none.
    ///
    /// # Errors
    /// See [`submit`](Self::submit).
    pub async fn submit_batch(&self, tasks: Vec<TaskSpec>) -> Result<BatchSubmitTasksResponse, Error> {
        let mut keys = tasks.iter().map(|task| (task.namespace.as_str(), task.queue.as_str()));
        let first = keys.next();
        let one_queue = first.filter(|first| keys.all(|key| key == *first));
        let call = Call {
            repeat: repeat_of(&tasks),
            partition: one_queue.map(|(namespace, queue)| partition_key(namespace, queue)),
            ..self.read()
        };
        let request = BatchSubmitTasksRequest { tasks };
        call.unary(request, |request| async { self.tasks.clone().batch_submit_tasks(request).await }).await
    }

    /// Reads one task.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `INVALID_ARGUMENT` for an id that is none, and those of every call.
    pub async fn get(&self, task_id: &str) -> Result<Task, Error> {
        let request = GetTaskRequest { task_id: task_id.to_owned() };
        let call = self.read_at(task_id);
        let answer = call.unary(request, |request| async { self.tasks.clone().get_task(request).await }).await?;
        present(answer.task, "task")
    }

    /// Lists one page of tasks, the newest first.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN`, `INVALID_ARGUMENT`, and those of every call.
    pub async fn list(&self, request: ListTasksRequest) -> Result<ListTasksResponse, Error> {
        self.read().unary(request, |request| async { self.tasks.clone().list_tasks(request).await }).await
    }

    /// Waits until a task is final, at most `limit`, and returns it: final, or as it stood when the time was over.
    ///
    /// It polls again and again, and goes on through times in which the other end is away.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `INVALID_ARGUMENT`; the last error when the other end was away at the end of `limit`.
    pub async fn wait(&self, task_id: &str, limit: Duration) -> Result<Task, Error> {
        wait::until_final(limit, |task: &Task| task.state().is_final(), |wait| self.poll(task_id, wait)).await
    }

    /// Streams state changes from now on. The first message holds none: it says that the watch is in place.
    ///
    /// # Errors
    /// Those of the catalogue, for the opening; later ones come out of the stream as statuses, which convert into
    /// [`Error`].
    pub async fn watch(&self, request: WatchTasksRequest) -> Result<Streaming<WatchTasksResponse>, Error> {
        let mut call = self.read();
        if !request.queue.is_empty() {
            call.partition = Some(partition_key(&request.namespace, &request.queue));
        } else if let [task_id] = request.task_ids.as_slice() {
            call.partition = Some(task_id.clone());
        }
        call.open(request, |request| async { self.tasks.clone().watch_tasks(request).await }).await
    }

    /// Ends a task. It is CANCELLED in the answer, or RUNNING while its worker stops it.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_FINISHED`, and those of every call.
    pub async fn cancel(&self, task_id: &str, reason: impl Into<String>) -> Result<Task, Error> {
        let request = CancelTaskRequest { task_id: task_id.to_owned(), reason: reason.into() };
        let call = self.write_at(task_id);
        let answer = call.unary(request, |request| async { self.tasks.clone().cancel_task(request).await }).await?;
        present(answer.task, "task")
    }

    /// Says why a task is not running now, what it waits for, and when that can change. With the id of a workflow it says
    /// so of a step, or of those that have not ended when `step` is empty.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `WORKFLOW_NOT_FOUND`, and those of every call.
    pub async fn explain(&self, id: &str, step: &str) -> Result<ExplainTaskResponse, Error> {
        let request = ExplainTaskRequest { task_id: id.to_owned(), step: step.to_owned() };
        let call = self.read_at(id);
        call.unary(request, |request| async { self.tasks.clone().explain_task(request).await }).await
    }

    /// Submits a failed or cancelled task again, as a new task.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `FAILED_PRECONDITION` when the task is not final or succeeded, and those of every call. After
    /// `DEADLINE_EXCEEDED`, `UPSTREAM_FAILED` or `OUTCOME_UNKNOWN` see the task's `replayed_as`.
    pub async fn retry_task(&self, task_id: &str) -> Result<RetryTaskResponse, Error> {
        let request = RetryTaskRequest { task_id: task_id.to_owned() };
        let call = self.write_at(task_id);
        call.unary(request, |request| async { self.tasks.clone().retry_task(request).await }).await
    }

    /// Streams the lines of a task's log after line `after_seq` (0: all of them); with `follow` it goes on until the
    /// task is final.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND` and those of the catalogue, here or out of the stream.
    pub async fn logs(
        &self,
        task_id: &str,
        after_seq: u64,
        follow: bool,
    ) -> Result<Streaming<ReadTaskLogsResponse>, Error> {
        let request = ReadTaskLogsRequest { task_id: task_id.to_owned(), after_seq, follow };
        let call = self.read_at(task_id);
        call.open(request, |request| async { self.tasks.clone().read_task_logs(request).await }).await
    }

    /// The instances that are registered now.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn services(&self, request: DiscoverRequest) -> Result<DiscoverResponse, Error> {
        self.read().unary(request, |request| async { self.registry.clone().discover(request).await }).await
    }

    async fn poll(&self, task_id: &str, wait: Duration) -> Result<Task, Error> {
        let (call, timeout) = wait::poll_call(self.read_at(task_id), wait)?;
        let request = WaitTaskRequest { task_id: task_id.to_owned(), timeout: Some(timeout) };
        let answer = call.unary(request, |request| async { self.tasks.clone().wait_task(request).await }).await?;
        present(answer.task, "task")
    }
}

fn repeat_of<'a>(tasks: impl IntoIterator<Item = &'a TaskSpec>) -> Repeat {
    if tasks.into_iter().all(|task| !task.idempotency_key.is_empty()) { Repeat::Allowed } else { Repeat::IfNothingDone }
}
