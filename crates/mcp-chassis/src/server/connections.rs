//! Accepting connections and speaking HTTP/1.1 or HTTP/2 on them, until they are told to go away.

use std::{sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::stack::Stack;

/// Most connections at once; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 16_384;
/// How long a new connection may say nothing.
const FIRST_BYTE_MAX: Duration = Duration::from_secs(30);
/// How long the head of an HTTP/1 request may take.
const HTTP1_HEAD_MAX: Duration = Duration::from_secs(30);
/// How often a quiet HTTP/2 connection is probed, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Most calls at once on one connection. A gateway puts many callers' long polls on one.
const STREAMS_MAX: u32 = 4096;
/// Longest header list of a request, in bytes.
const HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;
/// How much a caller may send ahead, in one call and on one connection, in bytes. h2 closes a connection on which half of
/// its window is spent on the overhead of small unread messages, so a call's window is a small part of its connection's.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Largest HTTP/2 frame, in bytes.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Pause after a failed accept: usually out of file descriptors, which only time mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connections of a server.
#[derive(Debug, Clone, Default)]
pub(super) struct Connections {
    tracker: TaskTracker,
    /// No new connections; old ones finish their calls.
    goaway: CancellationToken,
    /// Nothing is finished any more.
    cut: CancellationToken,
}

impl Connections {
    /// Accepts connections, in the background, until [`Self::send_away`].
    pub(super) fn accept(&self, listener: TcpListener, stack: Arc<Stack>) {
        let connections = self.clone();
        self.tracker.spawn(self.cut.clone().run_until_cancelled_owned(async move {
            tokio::select! {
                () = connections.goaway.cancelled() => {}
                () = connections.accept_for_ever(listener, stack) => {}
            }
        }));
    }

    async fn accept_for_ever(&self, listener: TcpListener, stack: Arc<Stack>) {
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let http = Arc::new(http());
        loop {
            let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = self.clone().connection(stream, Arc::clone(&http), Arc::clone(&stack), permit);
                    self.tracker.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        http: Arc<auto::Builder<TokioExecutor>>,
        stack: Arc<Stack>,
        _permit: OwnedSemaphorePermit,
    ) {
        if !self.speaks(&stream).await {
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "the connection delays small packets");
        }
        let service = service_fn(move |request| Arc::clone(&stack).answer(request));
        let mut serving = std::pin::pin!(http.serve_connection_with_upgrades(TokioIo::new(stream), service));
        let mut told = false;
        loop {
            tokio::select! {
                result = serving.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(error = &*error, "a connection broke");
                    }
                    return;
                }
                () = self.goaway.cancelled(), if !told => {
                    told = true;
                    serving.as_mut().graceful_shutdown();
                }
                () = self.cut.cancelled() => return,
            }
        }
    }

    /// Waits for the first byte, so that silent connections do not pile up. False when there will be none.
    async fn speaks(&self, stream: &TcpStream) -> bool {
        let mut byte = [0];
        tokio::select! {
            peeked = tokio::time::timeout(FIRST_BYTE_MAX, stream.peek(&mut byte)) => matches!(peeked, Ok(Ok(1..))),
            () = self.goaway.cancelled() => false,
        }
    }

    /// Accepts no more, and tells every connection to finish its calls and begin no new ones.
    pub(super) fn send_away(&self) {
        self.goaway.cancel();
        self.tracker.close();
    }

    /// Resolves when all connections have ended; only after [`Self::send_away`] do they.
    pub(super) async fn ended(&self) {
        self.tracker.wait().await;
    }

    /// Breaks all connections off.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }
}

fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HTTP1_HEAD_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX);
    http
}
