//! Services behind the gateway that tell what reached them.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::{Stream, StreamExt, stream};
use mcp_coord::InstanceRecord;
use mcp_proto::{
    Code, Error,
    registry::v1::{
        DeregisterRequest, DeregisterResponse, DiscoverRequest, DiscoverResponse, HeartbeatRequest, HeartbeatResponse,
        Instance, RegisterRequest, RegisterResponse, WatchRequest, WatchResponse,
        registry_service_server::{RegistryService, RegistryServiceServer},
    },
    scheduler::v1::{
        BatchSubmitTasksRequest, BatchSubmitTasksResponse, CancelTaskRequest, CancelTaskResponse, ExplainTaskRequest,
        ExplainTaskResponse, GetTaskRequest, GetTaskResponse, ListTasksRequest, ListTasksResponse, LogLine,
        ReadTaskLogsRequest, ReadTaskLogsResponse, RetryTaskRequest, RetryTaskResponse, SubmitTaskRequest,
        SubmitTaskResponse, Task, TaskSpec, TaskState, WaitTaskRequest, WaitTaskResponse, WatchTasksRequest,
        WatchTasksResponse,
        task_service_server::{TaskService, TaskServiceServer},
    },
    worker::v1::{
        OpenSessionRequest, OpenSessionResponse,
        worker_session_service_server::{WorkerSessionService, WorkerSessionServiceServer},
    },
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, broadcast},
};
use tokio_stream::wrappers::{BroadcastStream, TcpListenerStream};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap, transport::Server};

/// Large enough that only the gateway's limit is met.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A running backend. It stops when dropped.
pub(crate) struct Backend {
    pub(crate) record: InstanceRecord,
    pub(crate) state: Arc<State>,
    _stop: DropGuard,
}

/// What the services share with the test.
pub(crate) struct State {
    /// Name of the instance, in answers.
    pub(crate) name: String,
    /// Calls that are being served.
    pub(crate) running: AtomicUsize,
    /// Calls that reached it.
    pub(crate) reached: AtomicUsize,
    /// One permit lets one call of `GetTask("held")` go on.
    pub(crate) release: Semaphore,
    /// What `WatchTasks` streams.
    pub(crate) events: broadcast::Sender<WatchTasksResponse>,
}

impl Backend {
    /// Serves all services on a free port.
    pub(crate) async fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            name: name.into(),
            running: AtomicUsize::new(0),
            reached: AtomicUsize::new(0),
            release: Semaphore::new(0),
            events: broadcast::channel(16).0,
        });
        let (tasks, workers, registry) =
            (Tasks(Arc::clone(&state)), Workers(Arc::clone(&state)), Registry(Arc::clone(&state)));
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = Server::builder()
            .add_service(TaskServiceServer::new(tasks).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(WorkerSessionServiceServer::new(workers).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(RegistryServiceServer::new(registry))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(async move {
            tokio::select! {
                result = server => result.unwrap(),
                () = stopped => {}
            }
        });
        Self { record: record(name, &address.to_string()), state, _stop: stop.drop_guard() }
    }
}

/// The record of an instance that serves everything at `address`.
pub(crate) fn record(name: &str, address: &str) -> InstanceRecord {
    InstanceRecord {
        service: "backend".into(),
        instance_id: name.into(),
        address: address.into(),
        version: String::new(),
        zone: String::new(),
        weight: 100,
        grpc_services: [
            "mcp.scheduler.v1.TaskService",
            "mcp.worker.v1.WorkerSessionService",
            "mcp.registry.v1.RegistryService",
        ]
        .map(str::to_owned)
        .into(),
        labels: Default::default(),
        registered_unix_ms: 1,
    }
}

/// Counts a call for as long as it lives.
struct Running(Arc<State>);

impl State {
    fn run(self: &Arc<Self>) -> Running {
        self.reached.fetch_add(1, Ordering::SeqCst);
        self.running.fetch_add(1, Ordering::SeqCst);
        Running(Arc::clone(self))
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    pub(crate) fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers with a task that holds what was asked and with what metadata.
struct Tasks(Arc<State>);

impl Tasks {
    fn task(&self, id: &str, metadata: &MetadataMap) -> Task {
        let labels = metadata.iter().filter_map(|entry| match entry {
            tonic::metadata::KeyAndValueRef::Ascii(key, value) => {
                Some((key.to_string(), value.to_str().unwrap_or_default().to_owned()))
            }
            tonic::metadata::KeyAndValueRef::Binary(..) => None,
        });
        let spec = TaskSpec { labels: labels.collect(), ..TaskSpec::default() };
        Task { id: id.into(), worker_id: self.0.name.clone(), spec: Some(spec), ..Task::default() }
    }
}

/// An answer with a metadata entry.
fn marked<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    response.metadata_mut().insert("x-backend", "here".parse().unwrap());
    response
}

#[tonic::async_trait]
impl TaskService for Tasks {
    async fn submit_task(&self, request: Request<SubmitTaskRequest>) -> Result<Response<SubmitTaskResponse>, Status> {
        let _running = self.0.run();
        let Some(task) = request.into_inner().task else {
            return Err(Error::invalid("task", "must be set").into());
        };
        let task_id = format!("{}/{}/{:?}", task.namespace, task.name, task.work);
        Ok(marked(SubmitTaskResponse { task_id, state: TaskState::Pending.into(), deduplicated: false, error: None }))
    }

    async fn batch_submit_tasks(
        &self,
        request: Request<BatchSubmitTasksRequest>,
    ) -> Result<Response<BatchSubmitTasksResponse>, Status> {
        let _running = self.0.run();
        let results = request
            .into_inner()
            .tasks
            .into_iter()
            .map(|task| SubmitTaskResponse { task_id: task.name, ..SubmitTaskResponse::default() });
        Ok(marked(BatchSubmitTasksResponse { results: results.collect() }))
    }

    async fn get_task(&self, request: Request<GetTaskRequest>) -> Result<Response<GetTaskResponse>, Status> {
        let _running = self.0.run();
        let metadata = request.metadata().clone();
        let id = request.into_inner().task_id;
        match id.as_str() {
            "missing" => {
                let mut status = Status::from(Error::new(Code::TaskNotFound, "no task `missing`"));
                status.metadata_mut().insert("x-trailer", "kept".parse().unwrap());
                return Err(status);
            }
            "full" => {
                let wait = std::time::Duration::from_millis(2_500);
                return Err(Error::new(Code::QueueFull, "full").with_retry_after(wait).into());
            }
            "foreign" => return Err(Status::permission_denied("not yours")),
            "panic" => panic!("on purpose"),
            "held" => self.0.release.acquire().await.unwrap().forget(),
            "never" => std::future::pending().await,
            _ => {}
        }
        Ok(marked(GetTaskResponse { task: Some(self.task(&id, &metadata)) }))
    }

    async fn list_tasks(&self, request: Request<ListTasksRequest>) -> Result<Response<ListTasksResponse>, Status> {
        let _running = self.0.run();
        let request = request.into_inner();
        let next_page_token = format!("{request:?}");
        Ok(marked(ListTasksResponse { tasks: Vec::new(), next_page_token }))
    }

    async fn wait_task(&self, request: Request<WaitTaskRequest>) -> Result<Response<WaitTaskResponse>, Status> {
        let _running = self.0.run();
        let metadata = request.metadata().clone();
        let request = request.into_inner();
        let mut task = self.task(&request.task_id, &metadata);
        task.trace_id = format!("{:?}", request.timeout);
        Ok(marked(WaitTaskResponse { task: Some(task) }))
    }

    type WatchTasksStream = Events<WatchTasksResponse>;

    async fn watch_tasks(
        &self,
        _request: Request<WatchTasksRequest>,
    ) -> Result<Response<Self::WatchTasksStream>, Status> {
        let running = self.0.run();
        let events = BroadcastStream::new(self.0.events.subscribe()).map(move |event| {
            let _ = &running;
            event.map_err(|error| Status::data_loss(error.to_string()))
        });
        let first = stream::iter([Ok(WatchTasksResponse::default())]);
        Ok(marked(Box::pin(first.chain(events))))
    }

    async fn explain_task(&self, _: Request<ExplainTaskRequest>) -> Result<Response<ExplainTaskResponse>, Status> {
        Ok(Response::new(ExplainTaskResponse::default()))
    }

    async fn retry_task(&self, _: Request<RetryTaskRequest>) -> Result<Response<RetryTaskResponse>, Status> {
        Ok(Response::new(RetryTaskResponse::default()))
    }

    async fn cancel_task(&self, request: Request<CancelTaskRequest>) -> Result<Response<CancelTaskResponse>, Status> {
        let _running = self.0.run();
        let request = request.into_inner();
        let task = Task { id: request.task_id, trace_id: request.reason, ..Task::default() };
        Ok(marked(CancelTaskResponse { task: Some(task) }))
    }

    type ReadTaskLogsStream = Events<ReadTaskLogsResponse>;

    /// As many groups as `after_seq`, then for the task `breaks` an error.
    async fn read_task_logs(
        &self,
        request: Request<ReadTaskLogsRequest>,
    ) -> Result<Response<Self::ReadTaskLogsStream>, Status> {
        let running = self.0.run();
        let request = request.into_inner();
        if request.task_id == "missing" {
            return Err(Error::new(Code::TaskNotFound, "no task `missing`").into());
        }
        let lines = (1..=request.after_seq).map(move |seq| {
            let _ = &running;
            Ok(ReadTaskLogsResponse { lines: vec![LogLine { seq, text: format!("line {seq}"), ..LogLine::default() }] })
        });
        let mut error = Status::from(Error::new(Code::StoreUnavailable, "the store is away"));
        error.metadata_mut().insert("x-trailer", "kept".parse().unwrap());
        let end = (request.task_id == "breaks").then_some(Err(error));
        Ok(marked(Box::pin(stream::iter(lines.chain(end)))))
    }
}

/// Answers each message with one that repeats its number, and ends when the caller ends.
struct Workers(Arc<State>);

#[tonic::async_trait]
impl WorkerSessionService for Workers {
    type OpenSessionStream = Events<OpenSessionResponse>;

    async fn open_session(
        &self,
        request: Request<Streaming<OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let running = self.0.run();
        let echo = request.into_inner().map(move |message| {
            let _ = &running;
            message.map(|message| OpenSessionResponse { ping: message.pong, ..OpenSessionResponse::default() })
        });
        Ok(marked(Box::pin(echo)))
    }
}

/// Answers with what was asked.
struct Registry(Arc<State>);

#[tonic::async_trait]
impl RegistryService for Registry {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        let _running = self.0.run();
        let request = request.into_inner();
        Ok(marked(RegisterResponse { lease_id: request.instance.unwrap_or_default().service, ttl: request.ttl }))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatResponse>, Status> {
        let request = request.into_inner();
        if request.lease_id.is_empty() {
            let text = format!("no instance `{}/{}`", request.service, request.instance_id);
            return Err(Error::new(Code::InstanceNotFound, text).into());
        }
        Ok(marked(HeartbeatResponse { ttl: Some(prost_types::Duration { seconds: 10, nanos: 500_000_000 }) }))
    }

    async fn deregister(&self, _request: Request<DeregisterRequest>) -> Result<Response<DeregisterResponse>, Status> {
        Ok(marked(DeregisterResponse {}))
    }

    async fn discover(&self, request: Request<DiscoverRequest>) -> Result<Response<DiscoverResponse>, Status> {
        let request = request.into_inner();
        let instance = Instance { service: request.service, address: request.grpc_service, ..Instance::default() };
        Ok(marked(DiscoverResponse { instances: vec![instance] }))
    }

    type WatchStream = Events<WatchResponse>;

    async fn watch(&self, _request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Ok(marked(Box::pin(stream::empty())))
    }
}
