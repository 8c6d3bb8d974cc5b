//! The calls.

use std::time::Duration;

use mcp_proto::{
    Code, Error,
    registry::v1::{DiscoverRequest, DiscoverResponse},
    scheduler::v1::{
        BatchSubmitTasksRequest, BatchSubmitTasksResponse, CancelTaskRequest, GetTaskRequest, ListTasksRequest,
        ListTasksResponse, ReadTaskLogsRequest, ReadTaskLogsResponse, SubmitTaskRequest, SubmitTaskResponse, Task,
        TaskSpec, WaitTaskRequest, WatchTasksRequest, WatchTasksResponse,
    },
};
use tokio::time::{Instant, sleep};
use tonic::Streaming;

use super::{
    Client,
    call::{Call, Repeat, partition_key},
    retry::is_transient,
};

/// How long one long poll of a wait may take.
const POLL_MAX: Duration = Duration::from_secs(30);
/// Time beyond the poll's own in which its answer must be there.
const POLL_MARGIN: Duration = Duration::from_secs(10);
/// Wait after a poll that failed because the other end was away, when it gives no advice.
const POLL_PAUSE: Duration = Duration::from_millis(500);

impl Client {
    /// Submits one task. It is durable when this returns.
    ///
    /// A task with an idempotency key is submitted again while the other end is away; one without is not.
    ///
    /// # Errors
    /// Those of the catalogue. After `DEADLINE_EXCEEDED`, `UPSTREAM_FAILED` or `OUTCOME_UNKNOWN` the task may have been
    /// stored: submit again with an idempotency key, or list.
    pub async fn submit(&self, task: TaskSpec) -> Result<SubmitTaskResponse, Error> {
        let call = Call {
            deadline: self.deadline,
            repeat: repeat_of([&task]),
            partition: Some(partition_key(&task.namespace, &task.queue)),
        };
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
            deadline: self.deadline,
            repeat: repeat_of(&tasks),
            partition: one_queue.map(|(namespace, queue)| partition_key(namespace, queue)),
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
        let answer = self.read().unary(request, |request| async { self.tasks.clone().get_task(request).await }).await?;
        present(answer.task)
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
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let polled = self.poll(task_id, left.min(POLL_MAX)).await;
            let is_over = Instant::now() >= end;
            match polled {
                Ok(task) if is_over || task.state().is_final() => return Ok(task),
                Ok(_) => {}
                Err(error) if is_over || !goes_on_after(&error) => return Err(error),
                Err(error) => {
                    let pause = error.retry_after().unwrap_or(POLL_PAUSE);
                    sleep(pause.min(end.saturating_duration_since(Instant::now()))).await;
                }
            }
        }
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
        }
        Ok(self.tasks.clone().watch_tasks(call.request(request)).await?.into_inner())
    }

    /// Ends a task. It is CANCELLED in the answer, or RUNNING while its worker stops it.
    ///
    /// # Errors
    /// `TASK_NOT_FOUND`, `TASK_FINISHED`, and those of every call.
    pub async fn cancel(&self, task_id: &str, reason: impl Into<String>) -> Result<Task, Error> {
        let call = Call { deadline: self.deadline, repeat: Repeat::Never, partition: None };
        let request = CancelTaskRequest { task_id: task_id.to_owned(), reason: reason.into() };
        let answer = call.unary(request, |request| async { self.tasks.clone().cancel_task(request).await }).await?;
        present(answer.task)
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
        Ok(self.tasks.clone().read_task_logs(self.read().request(request)).await?.into_inner())
    }

    /// The instances that are registered now.
    ///
    /// # Errors
    /// Those of every call.
    pub async fn services(&self, request: DiscoverRequest) -> Result<DiscoverResponse, Error> {
        self.read().unary(request, |request| async { self.registry.clone().discover(request).await }).await
    }

    /// A call that changes nothing.
    fn read(&self) -> Call {
        Call { deadline: self.deadline, repeat: Repeat::Allowed, partition: None }
    }

    async fn poll(&self, task_id: &str, timeout: Duration) -> Result<Task, Error> {
        let call = Call { deadline: timeout + POLL_MARGIN, repeat: Repeat::Never, partition: None };
        let timeout = timeout.try_into().map_err(|_| Error::invalid("timeout", "is too long"))?;
        let request = WaitTaskRequest { task_id: task_id.to_owned(), timeout: Some(timeout) };
        let answer = call.unary(request, |request| async { self.tasks.clone().wait_task(request).await }).await?;
        present(answer.task)
    }
}

fn goes_on_after(error: &Error) -> bool {
    is_transient(error) || matches!(error.code(), Code::DeadlineExceeded | Code::Overloaded | Code::Cancelled)
}

fn repeat_of<'a>(tasks: impl IntoIterator<Item = &'a TaskSpec>) -> Repeat {
    if tasks.into_iter().all(|task| !task.idempotency_key.is_empty()) { Repeat::Allowed } else { Repeat::Never }
}

fn present(task: Option<Task>) -> Result<Task, Error> {
    task.ok_or_else(|| Error::new(Code::Internal, "the answer holds no task"))
}
