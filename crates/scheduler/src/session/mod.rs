//! Worker sessions: hello and welcome, then both directions at once until either side ends it.
//!
//! Everything a worker says goes into the loop's inbox; everything it is told comes out of an outbox that the loop
//! fills after its commits. One session serves all partitions of this replica. So an acknowledgement is never sent before what it acknowledges is
//! durable. A session that ends, for whatever reason, is reported as lost; the worker keeps its attempts for the lease.

mod hello;
mod inbound;
mod outbound;
mod server;
pub(crate) mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use mcp_engine::RunningAttempt;
use mcp_proto::{Code, Error as WireError, worker::v1};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use self::{
    outbound::Writer,
    wire::{OpenSessionRequest, OpenSessionResponse},
};
use crate::{
    error::Error,
    service::Deps,
    shell::{Handle, Hello, Joined, Outbox, SessionRef},
};

/// How long a new stream may take to say hello.
const HELLO_MAX: Duration = Duration::from_secs(10);
/// Messages that may wait for the transport.
const RESPONSES_MAX: usize = 4;
/// Pings without an answer after which a worker is given up.
const PINGS_UNANSWERED_MAX: u64 = 3;

/// Answers of one session.
pub(crate) type SessionStream = ReceiverStream<Result<OpenSessionResponse, Status>>;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct Sessions {
    deps: Deps,
}

impl Sessions {
    /// The service.
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }

    /// Opens a session: reads the hello and joins. The answer's first message is the welcome.
    async fn open(&self, mut requests: Streaming<OpenSessionRequest>) -> Result<SessionStream, Status> {
        let first = match tokio::time::timeout(HELLO_MAX, requests.message()).await {
            Ok(message) => message?,
            Err(_) => return Err(WireError::invalid("hello", "did not come in time").into()),
        };
        let hello = first.and_then(|first| first.hello);
        let hello = hello.ok_or_else(|| WireError::invalid("hello", "must be set in the first message"))?;
        let handle = self.deps.host.handle()?;
        let hello = hello::hello(hello, self.deps.settings.worker_slots_max)?;
        // In a task of its own: a caller who goes away between the join and the welcome must not leave a session behind
        // that nobody serves. Without a caller the stream is closed, and so the session ends.
        let joining = self.deps.tasks.spawn(self.clone().join(handle, hello, requests));
        joining.await.unwrap_or_else(|error| Err(WireError::internal(error).into()))
    }

    async fn join(
        self,
        handle: Handle,
        hello: Hello,
        requests: Streaming<OpenSessionRequest>,
    ) -> Result<SessionStream, Status> {
        let outbox = Arc::new(Outbox::default());
        let joined = handle.join(hello, Arc::clone(&outbox)).await?;
        let (responses, stream) = mpsc::channel(RESPONSES_MAX);
        let session = Session {
            deps: self.deps.clone(),
            session: joined.session,
            handle,
            outbox,
            responses,
            answered: AtomicU64::new(0),
        };
        self.deps.tasks.spawn(session.run(self.welcome(joined), requests));
        Ok(ReceiverStream::new(stream))
    }

    /// The first message: the rules, and what became of the attempts that the worker said it runs.
    fn welcome(&self, joined: Joined) -> OpenSessionResponse {
        let wire = |duration: Duration| duration.try_into().ok();
        let refs = |attempts: Vec<RunningAttempt>| attempts.into_iter().map(outbound::attempt_ref).collect();
        let welcome = v1::SessionWelcome {
            lease: wire(self.deps.settings.worker_lease),
            ping_interval: wire(self.deps.settings.ping_interval),
            revoked: refs(joined.revoked),
        };
        OpenSessionResponse {
            welcome: Some(welcome),
            not_mine: refs(joined.not_mine),
            adopted: refs(joined.adopted),
            ..OpenSessionResponse::default()
        }
    }
}

/// One open session.
struct Session {
    deps: Deps,
    session: SessionRef,
    handle: Handle,
    outbox: Arc<Outbox>,
    responses: mpsc::Sender<Result<OpenSessionResponse, Status>>,
    /// The latest ping that was answered.
    answered: AtomicU64,
}

impl Session {
    async fn run(self, welcome: OpenSessionResponse, requests: Streaming<OpenSessionRequest>) {
        let ended: Result<(), Status> = tokio::select! {
            ended = self.read(requests) => ended,
            ended = self.write(welcome) => ended,
            () = self.responses.closed() => Ok(()),
            () = self.deps.closing.cancelled() => Err(Error::ShuttingDown.into()),
        };
        self.handle.leave(self.session).await;
        if let Err(status) = ended {
            tracing::debug!(code = ?status.code(), message = status.message(), "session ended");
            drop(self.responses.try_send(Err(status))); // who does not read is not waited for
        }
    }

    /// Passes on what the worker says until it says no more.
    async fn read(&self, mut requests: Streaming<OpenSessionRequest>) -> Result<(), Status> {
        while let Some(request) = requests.message().await? {
            if request.pong != 0 {
                self.answered.fetch_max(request.pong, Ordering::Relaxed);
            }
            if let Some((input, bytes)) = inbound::input(self.session, request, self.deps.settings.worker_slots_max)? {
                self.handle.input(input, bytes).await?;
            }
        }
        Ok(())
    }

    /// Tells the worker what it is to know, and pings it.
    async fn write(&self, welcome: OpenSessionResponse) -> Result<(), Status> {
        let writer = Writer { deps: &self.deps, handle: &self.handle, session: self.session, outbox: &self.outbox };
        self.send(welcome).await;
        let mut pings = tokio::time::interval(self.deps.settings.ping_interval);
        pings.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        pings.tick().await; // the first one is due at once
        let mut pinged = 0_u64;
        loop {
            let ping = tokio::select! {
                () = self.outbox.ready() => 0,
                _ = pings.tick() => {
                    if pinged.saturating_sub(self.answered.load(Ordering::Relaxed)) >= PINGS_UNANSWERED_MAX {
                        let message = "the worker does not answer pings";
                        return Err(WireError::new(Code::DeadlineExceeded, message).into());
                    }
                    pinged += 1;
                    pinged
                }
            };
            if ping != 0 {
                self.send(OpenSessionResponse { ping, ..OpenSessionResponse::default() }).await;
            }
            while let Some(response) = writer.next().await? {
                self.send(response).await;
            }
        }
    }

    /// Hands a message to the transport. When the stream is gone, the session ends by `closed`.
    async fn send(&self, response: OpenSessionResponse) {
        drop(self.responses.send(Ok(response)).await);
    }
}
