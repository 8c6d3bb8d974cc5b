//! The typed client against a service that answers as it is told.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::Stream;
use mcp_client::{Client, testing::SOON};
use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        BatchSubmitTasksRequest, BatchSubmitTasksResponse, CancelTaskRequest, CancelTaskResponse, ExplainTaskRequest,
        ExplainTaskResponse, GetTaskRequest, GetTaskResponse, ListTasksRequest, ListTasksResponse, ReadTaskLogsRequest,
        ReadTaskLogsResponse, RetryTaskRequest, RetryTaskResponse, SubmitTaskRequest, SubmitTaskResponse, Task,
        TaskSpec, TaskState, WaitTaskRequest, WaitTaskResponse, WatchTasksRequest, WatchTasksResponse,
        task_service_server::{TaskService, TaskServiceServer},
    },
};
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Server};

type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers calls with these errors first, then well; `None` never answers.
#[derive(Default)]
struct Script {
    errors: VecDeque<Option<Error>>,
    calls: Vec<MetadataMap>,
    polls_before_end: usize,
}

#[derive(Clone, Default)]
struct Service(Arc<Mutex<Script>>);

impl Service {
    async fn next(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let error = {
            let mut script = self.0.lock().unwrap();
            script.calls.push(metadata.clone());
            script.errors.pop_front()
        };
        match error {
            None => Ok(()),
            Some(Some(error)) => Err(error.into()),
            Some(None) => std::future::pending().await,
        }
    }

    fn calls(&self) -> usize {
        self.0.lock().unwrap().calls.len()
    }

    fn fail(&self, errors: impl IntoIterator<Item = Error>) {
        self.0.lock().unwrap().errors.extend(errors.into_iter().map(Some));
    }
}

#[tonic::async_trait]
impl TaskService for Service {
    type WatchTasksStream = Messages<WatchTasksResponse>;
    type ReadTaskLogsStream = Messages<ReadTaskLogsResponse>;

    async fn submit_task(&self, request: Request<SubmitTaskRequest>) -> Result<Response<SubmitTaskResponse>, Status> {
        self.next(request.metadata()).await?;
        Ok(Response::new(SubmitTaskResponse { task_id: "id".to_owned(), ..SubmitTaskResponse::default() }))
    }

    async fn batch_submit_tasks(
        &self,
        request: Request<BatchSubmitTasksRequest>,
    ) -> Result<Response<BatchSubmitTasksResponse>, Status> {
        self.next(request.metadata()).await?;
        Ok(Response::new(BatchSubmitTasksResponse::default()))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        self.next(request.metadata()).await?;
        let task = Task { id: request.into_inner().task_id, ..Task::default() };
        Ok(Response::new(GetTaskResponse { task: Some(task) }))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        self.next(request.metadata()).await?;
        // Larger than tonic's own limit.
        let next_page_token = "x".repeat(6 * 1024 * 1024);
        Ok(Response::new(ListTasksResponse { next_page_token, ..ListTasksResponse::default() }))
    }

    async fn wait_task(&self, request: Request<WaitTaskRequest>) -> Result<Response<WaitTaskResponse>, Status> {
        self.next(request.metadata()).await?;
        let mut script = self.0.lock().unwrap();
        let state = if script.polls_before_end == 0 { TaskState::Succeeded } else { TaskState::Running };
        script.polls_before_end = script.polls_before_end.saturating_sub(1);
        Ok(Response::new(WaitTaskResponse { task: Some(Task { state: state.into(), ..Task::default() }) }))
    }

    async fn watch_tasks(
        &self,
        request: Request<WatchTasksRequest>,
    ) -> Result<Response<Self::WatchTasksStream>, Status> {
        self.next(request.metadata()).await?;
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(WatchTasksResponse::default())))))
    }

    async fn cancel_task(&self, request: Request<CancelTaskRequest>) -> Result<Response<CancelTaskResponse>, Status> {
        self.next(request.metadata()).await?;
        Ok(Response::new(CancelTaskResponse { task: Some(Task::default()) }))
    }

    async fn explain_task(
        &self,
        request: Request<ExplainTaskRequest>,
    ) -> Result<Response<ExplainTaskResponse>, Status> {
        self.next(request.metadata()).await?;
        let summary = "because".to_owned();
        Ok(Response::new(ExplainTaskResponse { summary, ..ExplainTaskResponse::default() }))
    }

    async fn retry_task(&self, request: Request<RetryTaskRequest>) -> Result<Response<RetryTaskResponse>, Status> {
        self.next(request.metadata()).await?;
        Ok(Response::new(RetryTaskResponse { task_id: "new".to_owned() }))
    }

    async fn read_task_logs(
        &self,
        request: Request<ReadTaskLogsRequest>,
    ) -> Result<Response<Self::ReadTaskLogsStream>, Status> {
        self.next(request.metadata()).await?;
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(ReadTaskLogsResponse::default())))))
    }
}

async fn serve() -> (Client, Service) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = Service::default();
    let server = Server::builder()
        .add_service(TaskServiceServer::new(service.clone()))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (Client::connect(&url).unwrap(), service)
}

fn away() -> Error {
    Error::new(Code::NotOwner, "moving").with_retry_after(Duration::from_millis(1))
}

#[tokio::test]
async fn reads_are_repeated_while_the_service_is_away() {
    let (client, service) = serve().await;
    service.fail([away(), away()]);
    assert_eq!(client.get("a").await.unwrap().id, "a");
    assert_eq!(service.calls(), 3);
}

/// The other end broke off: whether it did it is not known.
fn broken() -> Error {
    Error::new(Code::UpstreamFailed, "broke off").with_retry_after(Duration::from_millis(1))
}

#[tokio::test]
async fn only_submits_with_a_key_are_repeated_when_the_outcome_is_not_known() {
    let (client, service) = serve().await;
    service.fail([broken()]);
    assert_eq!(client.submit(TaskSpec::default()).await.unwrap_err(), broken());
    assert_eq!(service.calls(), 1);

    let keyed = TaskSpec { idempotency_key: "once".to_owned(), ..TaskSpec::default() };
    service.fail([broken()]);
    assert_eq!(client.submit(keyed.clone()).await.unwrap().task_id, "id");
    assert_eq!(service.calls(), 3);

    service.fail([broken()]);
    client.submit_batch(vec![keyed, TaskSpec::default()]).await.unwrap_err();
    assert_eq!(service.calls(), 4, "one of them has no key");
}

#[tokio::test]
async fn every_call_is_repeated_while_tasks_move_to_another_replica() {
    let (client, service) = serve().await;
    let stopping = Error::new(Code::ShuttingDown, "stops").with_retry_after(Duration::from_millis(1));
    let moving = || [away(), stopping.clone(), away()];
    service.fail(moving());
    assert_eq!(client.submit(TaskSpec::default()).await.unwrap().task_id, "id");
    service.fail(moving());
    client.submit_batch(vec![TaskSpec::default()]).await.unwrap();
    service.fail(moving());
    client.cancel("a", "enough").await.unwrap();
    service.fail(moving());
    assert_eq!(client.retry_task("a").await.unwrap().task_id, "new");
    service.fail(moving());
    assert_eq!(client.explain("a", "").await.unwrap().summary, "because");
    service.fail(moving());
    client.watch(WatchTasksRequest::default()).await.unwrap();
    service.fail(moving());
    client.logs("a", 0, false).await.unwrap();
    assert_eq!(service.calls(), 7 * 4);
}

#[tokio::test]
async fn errors_keep_what_the_service_said() {
    let (client, service) = serve().await;
    let error = Error::invalid("task.process.argv", "must not be empty").with_metadata("a", "b");
    service.fail([error.clone()]);
    assert_eq!(client.submit(TaskSpec::default()).await.unwrap_err(), error);
    service.fail([Error::new(Code::TaskNotFound, "no such task")]);
    assert_eq!(client.get("a").await.unwrap_err().code(), Code::TaskNotFound);
    assert_eq!(service.calls(), 2);
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_at_its_deadline() {
    let (client, service) = serve().await;
    service.0.lock().unwrap().errors.push_back(None);
    let client = client.with_deadline(Duration::from_millis(50));
    let error = timeout(SOON, client.get("a")).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let calls = &service.0.lock().unwrap().calls;
    assert!(calls[0].contains_key("grpc-timeout"), "the other end knows the deadline: {calls:?}");
}

#[tokio::test]
async fn a_service_that_cannot_be_reached_is_unavailable() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::connect(&url).unwrap();
    assert_eq!(client.submit(TaskSpec::default()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_wait_polls_until_the_end_and_through_absences() {
    let (client, service) = serve().await;
    service.fail([away()]);
    service.0.lock().unwrap().polls_before_end = 3;
    let task = timeout(SOON, client.wait("a", Duration::from_secs(60))).await.unwrap().unwrap();
    assert_eq!((task.state(), service.calls()), (TaskState::Succeeded, 5));

    service.0.lock().unwrap().polls_before_end = usize::MAX;
    let task = timeout(SOON, client.wait("a", Duration::from_millis(20))).await.unwrap().unwrap();
    assert_eq!(task.state(), TaskState::Running, "as it stood when the time was over");

    service.fail([Error::new(Code::TaskNotFound, "no such task")]);
    assert_eq!(client.wait("a", Duration::from_secs(60)).await.unwrap_err().code(), Code::TaskNotFound);
}

#[tokio::test]
async fn a_call_names_its_home_to_the_gateway() {
    let (client, service) = serve().await;
    let spec = TaskSpec { queue: "mail".to_owned(), ..TaskSpec::default() };
    client.submit(spec.clone()).await.unwrap();
    client.submit_batch(vec![spec.clone(), spec.clone()]).await.unwrap();
    client.submit_batch(vec![spec, TaskSpec::default()]).await.unwrap();
    client.get("id-1").await.unwrap();
    client.wait("id-2", Duration::from_secs(1)).await.unwrap();
    client.watch(WatchTasksRequest { task_ids: vec!["id-3".to_owned()], ..Default::default() }).await.unwrap();
    client.list(ListTasksRequest::default()).await.unwrap();
    let keys: Vec<Option<String>> = service
        .0
        .lock()
        .unwrap()
        .calls
        .iter()
        .map(|metadata| metadata.get("mcp-partition-key").map(|key| key.to_str().unwrap().to_owned()))
        .collect();
    let known = |key: &str| Some(key.to_owned());
    let mail = known("default/mail");
    assert_eq!(keys, [mail.clone(), mail, None, known("id-1"), known("id-2"), known("id-3"), None]);
}

#[tokio::test]
async fn streams_and_large_answers_come_through() {
    let (client, _service) = serve().await;
    assert!(client.watch(WatchTasksRequest::default()).await.unwrap().message().await.unwrap().is_some());
    assert!(client.logs("a", 0, true).await.unwrap().message().await.unwrap().is_some());
    assert_eq!(client.list(ListTasksRequest::default()).await.unwrap().next_page_token.len(), 6 * 1024 * 1024);
    client.cancel("a", "enough").await.unwrap();
}
