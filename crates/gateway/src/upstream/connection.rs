//! One HTTP/2 connection to an instance.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    body::forward::Forward,
    config::UpstreamSettings,
    flow::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES},
};

/// Bytes of an instance's response head.
const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Runs hyper's tasks on the thread they belong to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F> Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Why a connection could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// The address refused, or does not resolve.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// It took longer than the connect timeout.
    #[error("connecting took too long")]
    TimedOut,
    /// The other end does not speak HTTP/2.
    #[error("HTTP/2 handshake failed")]
    Handshake(#[source] hyper::Error),
}

/// A connection, open until it breaks or the last call and the endpoint let go of it.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: RefCell<http2::SendRequest<Forward>>,
    calls: Cell<usize>,
}

impl Connection {
    /// Connects to `host:port`.
    pub(crate) async fn dial(address: &str, settings: &UpstreamSettings) -> Result<Self, DialError> {
        let stream = timeout(settings.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| DialError::TimedOut)?
            .map_err(DialError::Connect)?;
        stream.set_nodelay(true).map_err(DialError::Connect)?;
        let (sender, connection) = http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADER_BYTES_MAX)
            .keep_alive_interval(settings.ping_interval)
            .keep_alive_timeout(settings.ping_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(DialError::Handshake)?;
        let address = address.to_owned();
        // Ends with the connection: when it breaks, or when every sender and every call on it is dropped.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(address, %error, "connection to an instance broke");
            }
        });
        Ok(Self { sender: RefCell::new(sender), calls: Cell::new(0) })
    }

    /// True once no new call can begin on it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.borrow().is_closed()
    }

    /// Calls on it now.
    pub(crate) fn calls(&self) -> usize {
        self.calls.get()
    }

    /// A call begins.
    pub(crate) fn begin(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    /// A call has ended.
    pub(crate) fn end(&self) {
        self.calls.set(self.calls.get().saturating_sub(1));
    }

    /// Sends a request; it comes back with the error when nothing of it was sent.
    pub(crate) async fn send(
        &self,
        request: Request<Forward>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Forward>>)> {
        let answer = self.sender.borrow_mut().try_send_request(request);
        answer.await.map_err(|mut error: TrySendError<_>| {
            let unsent = error.take_message();
            (error.into_error(), unsent)
        })
    }
}
