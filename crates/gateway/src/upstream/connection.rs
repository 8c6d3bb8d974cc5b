//! One HTTP/2 connection to an instance.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::Poll,
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
    /// Knows what the instance allows; `None` once it is closed. Only polled by the task that drives it.
    driver: Rc<RefCell<Option<Driver>>>,
    calls: Cell<usize>,
    /// An answer has come on it.
    answered: Cell<bool>,
}

/// What hyper makes of a connection.
type Driver = Pin<Box<http2::Connection<TokioIo<TcpStream>, Forward, LocalExecutor>>>;

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
            // Answers that come late for calls that were given up are no reason to close it.
            .max_local_error_reset_streams(None)
            .keep_alive_interval(settings.ping_interval)
            .keep_alive_timeout(settings.ping_timeout)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(DialError::Handshake)?;
        let address = address.to_owned();
        let driver = Rc::new(RefCell::new(Some(Box::pin(connection))));
        let driven = Rc::clone(&driver);
        // Ends with the connection: when it breaks, or when every sender and every call on it is dropped.
        tokio::task::spawn_local(async move {
            let end = poll_fn(|cx| {
                let mut driver = driven.borrow_mut();
                driver.as_mut().map_or(Poll::Ready(Ok(())), |driver| driver.as_mut().poll(cx))
            });
            if let Err(error) = end.await {
                tracing::debug!(address, %error, "connection to an instance broke");
            }
            // Calls that wait to be sent learn by this that they never will be.
            drop(driven.take());
        });
        Ok(Self { sender: RefCell::new(sender), driver, calls: Cell::new(0), answered: Cell::new(false) })
    }

    /// True when it takes one more call, of at most so many. One over what the instance allows would wait in line
    /// behind calls that may last for hours.
    pub(crate) fn has_room(&self, streams_max: usize) -> bool {
        let allowed = self.driver.borrow().as_ref().map_or(0, |driver| driver.current_max_send_streams());
        self.calls.get() < streams_max.min(allowed) && !self.is_closed()
    }

    /// True once an answer has come on it.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.get()
    }

    /// True once no new call can begin on it.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.borrow().is_closed()
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
        match answer.await {
            Ok(response) => {
                self.answered.set(true);
                Ok(response)
            }
            Err(mut error) => {
                let unsent = error.take_message();
                Err((TrySendError::into_error(error), unsent))
            }
        }
    }
}
