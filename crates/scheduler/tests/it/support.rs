//! A scheduler in this process, and a worker that speaks the session protocol by hand.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use mcp_coord::{Coordinator, Embedded};
use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        CancelTaskRequest, GetTaskRequest, HandlerWork, ListTasksRequest, ReadTaskLogsRequest, SubmitTaskRequest,
        SubmitTaskResponse, Task, TaskSpec, TaskState, WaitTaskRequest, queue_service_client::QueueServiceClient,
        task_service_client::TaskServiceClient, task_spec::Work,
    },
    worker::v1::{
        Assignment, AttemptRef, AttemptResult, AttemptSuccess, OpenSessionRequest, OpenSessionResponse, SessionWelcome,
        WorkerHello, attempt_result::Outcome, worker_session_service_client::WorkerSessionServiceClient,
    },
};
use scheduler::{Config, config::Settings};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming, transport::Channel};

/// Longest time that anything in a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) type Client = TaskServiceClient<Channel>;

/// A scheduler whose data and coordination outlive its restarts.
pub(crate) struct Scheduler {
    pub(crate) coord: Arc<dyn Coordinator>,
    pub(crate) client: Client,
    pub(crate) channel: Channel,
    settings: Settings,
    stop: CancellationToken,
    running: Option<JoinHandle<anyhow::Result<()>>>,
    _folder: Arc<TempDir>,
}

impl Scheduler {
    pub(crate) async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    /// With these settings, except that its data go to a folder of its own.
    pub(crate) async fn with(settings: Settings) -> Self {
        Self::with_coord(settings, Arc::new(Embedded::in_memory())).await
    }

    pub(crate) async fn with_coord(settings: Settings, coord: Arc<dyn Coordinator>) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let settings = Settings { data_dir: folder.path().join("data"), ..settings };
        let (channel, stop, running) = launch(&settings, Arc::clone(&coord)).await;
        let client = client(&channel);
        let scheduler = Self { coord, client, channel, settings, stop, running: Some(running), _folder: folder };
        scheduler.opened().await;
        scheduler
    }

    /// Stops it in order.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        let running = self.running.take().expect("it runs");
        tokio::time::timeout(LIMIT, running).await.expect("it stops in time").unwrap().unwrap();
    }

    /// Stops it and starts it again on the same data.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Starts it on the same data after a stop.
    pub(crate) async fn start_again(&mut self) {
        let (channel, stop, running) = launch(&self.settings, Arc::clone(&self.coord)).await;
        (self.client, self.channel, self.stop, self.running) = (client(&channel), channel, stop, Some(running));
        self.opened().await;
    }

    /// Waits until the partition is open.
    async fn opened(&self) {
        testkit::eventually(LIMIT, || async {
            let listed = self.client.clone().list_tasks(ListTasksRequest::default()).await;
            listed.map(drop).map_err(|status| format!("{status}"))
        })
        .await;
    }

    pub(crate) fn queues(&self) -> QueueServiceClient<Channel> {
        QueueServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn submit(&self, spec: TaskSpec) -> String {
        self.try_submit(spec).await.unwrap().task_id
    }

    pub(crate) async fn try_submit(&self, spec: TaskSpec) -> Result<SubmitTaskResponse, Status> {
        let request = SubmitTaskRequest { task: Some(spec) };
        self.client.clone().submit_task(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn get(&self, id: &str) -> Task {
        self.try_get(id).await.unwrap()
    }

    pub(crate) async fn try_get(&self, id: &str) -> Result<Task, Status> {
        let request = GetTaskRequest { task_id: id.to_owned() };
        self.client.clone().get_task(request).await.map(|response| response.into_inner().task.unwrap())
    }

    /// The task once it is final.
    pub(crate) async fn wait(&self, id: &str) -> Task {
        let timeout = Some(LIMIT.try_into().unwrap());
        let request = WaitTaskRequest { task_id: id.to_owned(), timeout };
        let task = self.client.clone().wait_task(request).await.unwrap().into_inner().task.unwrap();
        assert!(task.state().is_final(), "{task:?}");
        task
    }

    /// Waits until the task is in this state.
    pub(crate) async fn reaches(&self, id: &str, state: TaskState) -> Task {
        testkit::eventually(LIMIT, || async {
            let task = self.get(id).await;
            if task.state() == state { Ok(task) } else { Err(format!("{task:?}")) }
        })
        .await
    }

    pub(crate) async fn cancel(&self, id: &str, reason: &str) -> Result<Task, Status> {
        let request = CancelTaskRequest { task_id: id.to_owned(), reason: reason.to_owned() };
        self.client.clone().cancel_task(request).await.map(|response| response.into_inner().task.unwrap())
    }

    /// All lines of a log.
    pub(crate) async fn log(&self, id: &str, after_seq: u64, follow: bool) -> Vec<String> {
        let request = ReadTaskLogsRequest { task_id: id.to_owned(), after_seq, follow };
        let mut stream = self.client.clone().read_task_logs(request).await.unwrap().into_inner();
        let mut texts = Vec::new();
        while let Some(response) = stream.message().await.unwrap() {
            texts.extend(response.lines.into_iter().map(|line| format!("{} {}", line.seq, line.text)));
        }
        texts
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn launch(
    settings: &Settings,
    coord: Arc<dyn Coordinator>,
) -> (Channel, CancellationToken, JoinHandle<anyhow::Result<()>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = Config { scheduler: settings.clone(), ..Config::default() };
    config.service.lease_ttl = Duration::from_secs(1);
    let stop = CancellationToken::new();
    let running = tokio::spawn(scheduler::run(config, listener, coord, stop.clone()));
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    (channel, stop, running)
}

fn client(channel: &Channel) -> Client {
    TaskServiceClient::new(channel.clone()).max_decoding_message_size(32 << 20).max_encoding_message_size(32 << 20)
}

/// A task for the handler `name`.
pub(crate) fn handler(name: &str) -> TaskSpec {
    let work = HandlerWork { handler: name.to_owned(), input: None };
    TaskSpec { work: Some(Work::Handler(work)), ..TaskSpec::default() }
}

pub(crate) fn millis(millis: u64) -> Option<prost_types::Duration> {
    Duration::from_millis(millis).try_into().ok()
}

pub(crate) fn text(text: &str) -> prost_types::Value {
    prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(text.to_owned())) }
}

/// The catalogue entry that a call was answered with.
pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    Error::from(answer.expect_err("the call was to fail")).code()
}

/// A worker, driven by the test. It answers pings by itself.
pub(crate) struct Worker {
    pub(crate) id: String,
    pub(crate) welcome: SessionWelcome,
    requests: mpsc::Sender<OpenSessionRequest>,
    responses: Streaming<OpenSessionResponse>,
    assigned: VecDeque<Assignment>,
    cancelled: VecDeque<(AttemptRef, String)>,
    acknowledged: VecDeque<AttemptRef>,
}

impl Worker {
    /// Joins with free slots, for the handler `h` in every queue.
    pub(crate) async fn join(scheduler: &Scheduler, credits: u32) -> Self {
        Self::hello(scheduler, WorkerHello { credits, ..hello() }).await
    }

    pub(crate) async fn hello(scheduler: &Scheduler, hello: WorkerHello) -> Self {
        Self::try_hello(scheduler, hello).await.unwrap()
    }

    pub(crate) async fn try_hello(scheduler: &Scheduler, hello: WorkerHello) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(64);
        let id = hello.worker_id.clone();
        let first = OpenSessionRequest { hello: Some(hello), ..OpenSessionRequest::default() };
        requests.send(first).await.unwrap();
        let mut client = WorkerSessionServiceClient::new(scheduler.channel.clone()).max_decoding_message_size(32 << 20);
        let mut responses = client.open_session(ReceiverStream::new(stream)).await?.into_inner();
        let first = responses.message().await?.expect("a session begins with a welcome");
        let welcome = first.welcome.expect("the first message is the welcome");
        let (assigned, cancelled, acknowledged) = Default::default();
        Ok(Self { id, welcome, requests, responses, assigned, cancelled, acknowledged })
    }

    pub(crate) async fn send(&self, request: OpenSessionRequest) {
        self.requests.send(request).await.unwrap();
    }

    /// The next message, pings answered. `Err` when the session ended.
    pub(crate) async fn receive(&mut self) -> Result<(), Status> {
        let message = tokio::time::timeout(LIMIT, self.responses.message()).await.expect("a message in time")?;
        let message = message.ok_or_else(|| Status::ok("the session ended"))?;
        if message.ping != 0 {
            let pong = OpenSessionRequest { pong: message.ping, ..OpenSessionRequest::default() };
            drop(self.requests.send(pong).await);
        }
        self.assigned.extend(message.assignments);
        self.cancelled.extend(message.cancellations.into_iter().map(|c| (c.attempt.unwrap(), c.reason)));
        self.acknowledged.extend(message.acknowledged);
        Ok(())
    }

    pub(crate) async fn assigned(&mut self) -> Assignment {
        loop {
            if let Some(assignment) = self.assigned.pop_front() {
                return assignment;
            }
            self.receive().await.unwrap();
        }
    }

    pub(crate) async fn cancelled(&mut self) -> (AttemptRef, String) {
        loop {
            if let Some(cancelled) = self.cancelled.pop_front() {
                return cancelled;
            }
            self.receive().await.unwrap();
        }
    }

    pub(crate) async fn acknowledged(&mut self) -> AttemptRef {
        loop {
            if let Some(attempt) = self.acknowledged.pop_front() {
                return attempt;
            }
            self.receive().await.unwrap();
        }
    }

    /// True when nothing was assigned by the time that a ping came.
    pub(crate) async fn is_idle(&mut self) -> bool {
        self.receive().await.unwrap();
        self.assigned.is_empty()
    }

    /// Reports a result, grants the slot again, and waits for the acknowledgement.
    pub(crate) async fn finish(&mut self, attempt: AttemptRef, outcome: Outcome) {
        self.end(attempt, outcome, 1).await;
    }

    /// As [`finish`](Self::finish), but takes no other task for it.
    pub(crate) async fn finish_last(&mut self, attempt: AttemptRef, outcome: Outcome) {
        self.end(attempt, outcome, 0).await;
    }

    async fn end(&mut self, attempt: AttemptRef, outcome: Outcome, credits: u32) {
        let result = AttemptResult { attempt: Some(attempt.clone()), outcome: Some(outcome), exit_code: None };
        self.send(OpenSessionRequest { results: vec![result], credits, ..OpenSessionRequest::default() }).await;
        while self.acknowledged().await != attempt {}
    }

    /// Takes the next task, finishes it and gives its id.
    pub(crate) async fn work(&mut self) -> String {
        let attempt = self.assigned().await.attempt.unwrap();
        let id = attempt.task_id.clone();
        self.finish(attempt, success(None)).await;
        id
    }
}

/// A hello for the handler `h` in every queue, without slots.
pub(crate) fn hello() -> WorkerHello {
    WorkerHello {
        worker_id: uuid::Uuid::new_v4().to_string(),
        name: "test".to_owned(),
        handlers: vec!["h".to_owned()],
        ..WorkerHello::default()
    }
}

pub(crate) fn success(output: Option<prost_types::Value>) -> Outcome {
    Outcome::Success(AttemptSuccess { output })
}

pub(crate) fn failure(code: Code, message: &str) -> Outcome {
    Outcome::Failure(Error::new(code, message).into())
}

/// A moment of the wire in milliseconds.
pub(crate) fn unix_ms(time: Option<prost_types::Timestamp>) -> i64 {
    let time = time.expect("the time is set");
    time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000
}
