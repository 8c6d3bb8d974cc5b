//! A scheduler for tests of workers: the test says what it answers, and it checks what the protocol promises.

use std::{collections::VecDeque, net::SocketAddr, pin::Pin, time::Duration};

use futures_util::Stream;
use mcp_proto::{
    TaskId,
    scheduler::v1::{HandlerWork, ProcessWork, TaskSpec, task_spec::Work},
    worker::v1::{
        Assignment, AttemptLogLine, AttemptRef, AttemptResult, Cancellation, FencingToken, OpenSessionRequest,
        OpenSessionResponse, SessionWelcome, WorkerHello,
        worker_session_service_server::{WorkerSessionService, WorkerSessionServiceServer},
    },
};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// How long a test waits for what must come.
pub const SOON: Duration = Duration::from_secs(30);
/// Messages and sessions that a test has not looked at yet.
const WAITING_MAX: usize = 1_024;

type Outbound = mpsc::Sender<Result<OpenSessionResponse, Status>>;

/// A scheduler replica on a free port of the loopback interface. Dropping it frees the port; sessions that a test holds
/// go on until they are dropped themselves.
#[derive(Debug)]
pub struct FakeScheduler {
    address: SocketAddr,
    sessions: Mutex<mpsc::Receiver<FakeSession>>,
    server: JoinHandle<()>,
}

impl FakeScheduler {
    /// Starts one.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start() -> Self {
        Self::start_on(SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    /// Starts one at this address, for instance that of an earlier one.
    ///
    /// # Panics
    /// When the port is taken.
    pub async fn start_on(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (sender, sessions) = mpsc::channel(WAITING_MAX);
        let service = WorkerSessionServiceServer::new(Service(sender)).max_decoding_message_size(usize::MAX);
        let server = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { server.await.expect("the server runs") });
        Self { address, sessions: Mutex::new(sessions), server }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next session that a worker opens: it has said hello and is not welcomed yet.
    ///
    /// # Panics
    /// When none comes soon.
    pub async fn opened(&self) -> FakeSession {
        let next = timeout(SOON, async { self.sessions.lock().await.recv().await }).await;
        next.expect("a session is opened soon").expect("the server runs")
    }

    /// The next session, welcomed.
    ///
    /// # Panics
    /// When none comes soon.
    pub async fn welcomed(&self) -> FakeSession {
        let session = self.opened().await;
        session.welcome(SessionWelcome::default()).await;
        session
    }

    /// Takes no more sessions and frees the port, whose address comes back. Sessions end when they are dropped.
    pub async fn stop(mut self) -> SocketAddr {
        self.server.abort();
        // Its end by the abort is what is waited for.
        drop((&mut self.server).await);
        self.address
    }
}

impl Drop for FakeScheduler {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The scheduler's end of one session. Dropping it breaks the session.
#[derive(Debug)]
pub struct FakeSession {
    /// What the worker said first.
    pub hello: WorkerHello,
    /// Lines that came while something else was waited for.
    pub lines: Vec<(AttemptRef, AttemptLogLine)>,
    inbound: mpsc::Receiver<OpenSessionRequest>,
    outbound: Outbound,
    credits: u32,
    results: VecDeque<AttemptResult>,
    handed_back: VecDeque<AttemptRef>,
    reported: VecDeque<AttemptRef>,
    pings: u64,
    pong: u64,
}

impl FakeSession {
    /// Credits that are not used: what the worker granted less what was assigned.
    pub fn credits(&self) -> u32 {
        self.credits
    }

    /// Sends a message.
    ///
    /// # Panics
    /// When the worker does not read.
    pub async fn say(&self, message: OpenSessionResponse) {
        timeout(SOON, self.outbound.send(Ok(message))).await.expect("the worker reads").unwrap_or_default();
    }

    /// Says that these attempts are another replica's.
    pub async fn disown(&self, attempts: &[AttemptRef]) {
        self.say(OpenSessionResponse { not_mine: attempts.to_vec(), ..OpenSessionResponse::default() }).await;
    }

    /// Takes attempts over that the worker reported.
    pub async fn adopt(&self, attempts: &[AttemptRef]) {
        self.say(OpenSessionResponse { adopted: attempts.to_vec(), ..OpenSessionResponse::default() }).await;
    }

    /// Gives up attempts that the worker reported.
    pub async fn revoke(&self, attempts: &[AttemptRef]) {
        self.say(OpenSessionResponse { revoked: attempts.to_vec(), ..OpenSessionResponse::default() }).await;
    }

    /// Asks for a report of all attempts that are not at home in this session.
    pub async fn ask_for_report(&self) {
        self.say(OpenSessionResponse { report: true, ..OpenSessionResponse::default() }).await;
    }

    /// Answers the hello.
    pub async fn welcome(&self, welcome: SessionWelcome) {
        self.say(OpenSessionResponse { welcome: Some(welcome), ..OpenSessionResponse::default() }).await;
    }

    /// Assigns attempts, one credit each.
    ///
    /// # Panics
    /// When the worker has not granted that many credits within a short while.
    pub async fn assign(&mut self, assignments: Vec<Assignment>) {
        let needed = u32::try_from(assignments.len()).expect("tests are small");
        while self.credits < needed {
            self.hear().await;
        }
        self.credits -= needed;
        self.assign_unasked(assignments).await;
    }

    /// Assigns attempts without a look at the credits, which no scheduler may do.
    pub async fn assign_unasked(&self, assignments: Vec<Assignment>) {
        self.say(OpenSessionResponse { assignments, ..OpenSessionResponse::default() }).await;
    }

    /// Orders an attempt to stop.
    pub async fn cancel(&self, attempt: &AttemptRef) {
        let cancellation = Cancellation { attempt: Some(attempt.clone()), reason: "test".to_owned() };
        self.say(OpenSessionResponse { cancellations: vec![cancellation], ..OpenSessionResponse::default() }).await;
    }

    /// Acknowledges the result of an attempt.
    pub async fn acknowledge(&self, attempt: &AttemptRef) {
        let acknowledged = vec![attempt.clone()];
        self.say(OpenSessionResponse { acknowledged, ..OpenSessionResponse::default() }).await;
    }

    /// The next message as it is; `None` when the worker ended the session. Credits that the worker wants back are given
    /// back.
    ///
    /// # Panics
    /// When neither comes soon.
    pub async fn next(&mut self) -> Option<OpenSessionRequest> {
        let message = timeout(SOON, self.inbound.recv()).await.expect("the worker says something soon")?;
        assert!(message.hello.is_none(), "only the first message says hello");
        self.credits += message.credits;
        if message.reclaim > 0 {
            let credits = message.reclaim.min(self.credits);
            self.credits -= credits;
            self.say(OpenSessionResponse { reclaimed: Some(credits), ..OpenSessionResponse::default() }).await;
        }
        self.pong = self.pong.max(message.pong);
        for logs in &message.logs {
            let attempt = logs.attempt.clone().unwrap_or_default();
            self.lines.extend(logs.lines.iter().map(|line| (attempt.clone(), line.clone())));
        }
        Some(message)
    }

    /// The next result; what comes before it is kept.
    ///
    /// # Panics
    /// When none comes soon.
    pub async fn result(&mut self) -> AttemptResult {
        loop {
            match self.results.pop_front() {
                Some(result) => return result,
                None => self.hear().await,
            }
        }
    }

    /// The next attempt that is handed back, and acknowledges it; what comes before it is kept.
    ///
    /// # Panics
    /// When none comes soon.
    pub async fn handed_back(&mut self) -> AttemptRef {
        loop {
            match self.handed_back.pop_front() {
                Some(attempt) => {
                    self.acknowledge(&attempt).await;
                    return attempt;
                }
                None => self.hear().await,
            }
        }
    }

    /// The next attempt that is reported as running, and without a home; what comes before it is kept.
    ///
    /// # Panics
    /// When none comes soon.
    pub async fn reported(&mut self) -> AttemptRef {
        loop {
            match self.reported.pop_front() {
                Some(attempt) => return attempt,
                None => self.hear().await,
            }
        }
    }

    /// Pings the worker and waits for the answer: what was said before has been heard then. What comes is kept.
    ///
    /// # Panics
    /// When no answer comes soon.
    pub async fn heard(&mut self) {
        self.pings += 1;
        self.say(OpenSessionResponse { ping: self.pings, ..OpenSessionResponse::default() }).await;
        while self.pong != self.pings {
            self.hear().await;
        }
    }

    /// Waits for lines until there are this many, and returns the text of all.
    ///
    /// # Panics
    /// When they do not come soon.
    pub async fn texts(&mut self, count: usize) -> Vec<String> {
        while self.lines.len() < count {
            self.hear().await;
        }
        self.lines.iter().map(|(_, line)| line.text.clone()).collect()
    }

    /// Waits until the worker ends the session.
    ///
    /// # Panics
    /// When it does not soon.
    pub async fn ended(&mut self) {
        while let Some(message) = self.next().await {
            self.keep(message);
        }
    }

    /// Results that came and were not looked at.
    pub fn unread_results(&self) -> usize {
        self.results.len()
    }

    async fn hear(&mut self) {
        let message = self.next().await.expect("the session goes on");
        self.keep(message);
    }

    fn keep(&mut self, message: OpenSessionRequest) {
        self.results.extend(message.results);
        self.handed_back.extend(message.handed_back);
        self.reported.extend(message.running);
    }
}

/// A reference to an attempt of a made-up task; the same `task` makes the same id.
pub fn attempt(task: u16, sequence: u64) -> AttemptRef {
    AttemptRef {
        task_id: TaskId::new(1_700_000_000_000 + u64::from(task), 0, 7, 0).to_string(),
        token: Some(FencingToken { epoch: 5, sequence }),
    }
}

/// The first attempt of a made-up task.
pub fn assignment(task: u16, spec: TaskSpec) -> Assignment {
    Assignment { attempt: Some(attempt(task, 1)), number: 1, spec: Some(spec), traceparent: String::new() }
}

/// A task that calls a handler.
pub fn handler(name: &str, input: serde_json::Value) -> TaskSpec {
    let work = HandlerWork { handler: name.to_owned(), input: Some(crate::value::to_value(input)) };
    spec(Work::Handler(work))
}

/// A task that runs a program.
pub fn process(work: ProcessWork) -> TaskSpec {
    spec(Work::Process(work))
}

fn spec(work: Work) -> TaskSpec {
    TaskSpec {
        namespace: "default".to_owned(),
        queue: "default".to_owned(),
        name: "test".to_owned(),
        work: Some(work),
        ..TaskSpec::default()
    }
}

struct Service(mpsc::Sender<FakeSession>);

#[tonic::async_trait]
impl WorkerSessionService for Service {
    type OpenSessionStream = Pin<Box<dyn Stream<Item = Result<OpenSessionResponse, Status>> + Send>>;

    async fn open_session(
        &self,
        request: Request<Streaming<OpenSessionRequest>>,
    ) -> Result<Response<Self::OpenSessionStream>, Status> {
        let mut messages = request.into_inner();
        let first = messages.message().await?.unwrap_or_default();
        let hello = first.hello.ok_or_else(|| Status::invalid_argument("the first message says hello"))?;
        let (outbound, answers) = mpsc::channel(WAITING_MAX);
        let (sender, inbound) = mpsc::channel(WAITING_MAX);
        let session = FakeSession {
            credits: hello.credits,
            hello,
            lines: Vec::new(),
            inbound,
            outbound,
            results: VecDeque::new(),
            handed_back: VecDeque::new(),
            reported: VecDeque::new(),
            pings: 0,
            pong: 0,
        };
        self.0.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        tokio::spawn(async move {
            // Ends when the worker ends the stream, or the test drops its session.
            while let Ok(Some(message)) = messages.message().await {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}
