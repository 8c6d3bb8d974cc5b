//! One HTTP/2 connection to an instance.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use h2::{
    Ping, PingPong,
    client::{self, SendRequest},
};
use http::{Request, Response};
use hyper::rt::Executor;
use tokio::{
    net::TcpStream,
    sync::oneshot,
    time::{sleep, timeout},
};

use super::stream::{Download, Upload};
use crate::{
    body::forward::Forward,
    config::UpstreamSettings,
    flow::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES},
};

/// Bytes of an instance's response head.
const HEADER_BYTES_MAX: u32 = 64 * 1024;

/// Bytes of a request that wait in one stream for the socket.
const SEND_BUFFER_BYTES_MAX: usize = 1024 * 1024;

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
    Handshake(#[source] h2::Error),
    /// It was closed before it had said what it allows.
    #[error("the connection was closed at once")]
    Closed,
}

/// A connection, open until it breaks or the last call and the endpoint let go of it.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
    calls: Cell<usize>,
    /// An answer has come on it.
    answered: Cell<bool>,
    /// No call can begin on it any more.
    closed: Rc<Cell<bool>>,
}

impl Connection {
    /// Connects to `host:port`, and waits until the other end has answered a ping: before that it has said how many calls
    /// it allows.
    pub(crate) async fn dial(address: &str, settings: &UpstreamSettings) -> Result<Self, DialError> {
        let stream = timeout(settings.connect_timeout, TcpStream::connect(address))
            .await
            .map_err(|_| DialError::TimedOut)?
            .map_err(DialError::Connect)?;
        stream.set_nodelay(true).map_err(DialError::Connect)?;
        let (sender, mut connection) = client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADER_BYTES_MAX)
            .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
            .enable_push(false)
            // Answers that come late for calls that were given up are no reason to close it.
            .max_local_error_reset_streams(None)
            .handshake(stream)
            .await
            .map_err(DialError::Handshake)?;
        let pings = connection.ping_pong().expect("nobody has taken it yet");
        let (interval, answer_within) = (settings.ping_interval, settings.ping_timeout);
        let closed = Rc::new(Cell::new(false));
        let (opened, is_open) = oneshot::channel();
        let (ended, address) = (Rc::clone(&closed), address.to_owned());
        // Ends with the connection: when it breaks, or when every sender and every call on it is dropped.
        tokio::task::spawn_local(async move {
            let silent = pin!(until_silent(pings, opened, interval, answer_within));
            match select(connection, silent).await {
                Either::Left((Ok(()), _)) => {}
                Either::Left((Err(error), _)) => tracing::debug!(address, %error, "connection to an instance broke"),
                Either::Right(((), _)) => tracing::debug!(address, "an instance does not answer pings"),
            }
            ended.set(true);
        });
        let is_open = timeout(settings.connect_timeout, is_open).await;
        is_open.map_err(|_| DialError::TimedOut)?.map_err(|_| DialError::Closed)?;
        Ok(Self { sender, calls: Cell::new(0), answered: Cell::new(false), closed })
    }

    /// True when it takes one more call, of at most so many. One over what the instance allows would wait in line
    /// behind calls that may last for hours.
    pub(crate) fn has_room(&self, streams_max: usize) -> bool {
        !self.is_closed() && self.calls.get() < streams_max.min(self.sender.current_max_send_streams())
    }

    /// True once an answer has come on it.
    pub(crate) fn has_answered(&self) -> bool {
        self.answered.get()
    }

    /// True once no new call can begin on it.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// A call begins.
    pub(crate) fn begin(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    /// A call has ended.
    pub(crate) fn end(&self) {
        self.calls.set(self.calls.get().saturating_sub(1));
    }

    /// Sends a request and waits for the head of its answer; it comes back with the error when nothing of it was sent.
    ///
    /// # Cancellation
    /// Dropping the future resets the stream.
    pub(crate) async fn send(
        &self,
        request: Request<Forward>,
    ) -> Result<Response<Download>, (h2::Error, Option<Request<Forward>>)> {
        let mut sender = self.sender.clone();
        if let Err(error) = poll_fn(|cx| sender.poll_ready(cx)).await {
            // It has broken, or the instance takes no new calls on it.
            self.closed.set(true);
            return Err((error, Some(request)));
        }
        let (head, body) = request.into_parts();
        let is_whole = http_body::Body::is_end_stream(&body);
        let sent = sender.send_request(Request::from_parts(head, ()), is_whole);
        let (answer, stream) = sent.map_err(|error| (error, None))?;
        let mut upload = (!is_whole).then(|| Upload::new(stream, body));
        let mut answer = pin!(answer);
        let answer = poll_fn(|cx| {
            if upload.as_mut().is_some_and(|upload| upload.poll(cx).is_ready()) {
                upload = None;
            }
            answer.as_mut().poll(cx)
        });
        let response = answer.await.map_err(|error| (error, None))?;
        self.answered.set(true);
        if let Some(upload) = upload {
            // The instance may read on while the caller does not: neither direction waits for the other. Ends with the
            // stream, which the answer's end closes.
            tokio::task::spawn_local(upload.finish());
        }
        Ok(response.map(Download::new))
    }
}

/// Says by `opened` when the other end has answered for the first time, then asks now and then whether it is there; returns
/// when it is not.
async fn until_silent(mut pings: PingPong, opened: oneshot::Sender<()>, interval: Duration, answer_within: Duration) {
    // The dial has a limit of its own, and nobody listens any more when that has passed.
    if pings.ping(Ping::opaque()).await.is_err() || opened.send(()).is_err() {
        return;
    }
    loop {
        sleep(interval).await;
        if !matches!(timeout(answer_within, pings.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}
