//! gRPC on HTTP/2 by hand: the calls are checked as a client library would, and cost less.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{self, SendRequest},
};
use http::{HeaderMap, Request, StatusCode};
use tokio::net::TcpStream;

/// Receive windows, of a stream and of a connection: no load fills them.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// An HTTP/2 connection without TLS. Clones share it.
#[derive(Debug, Clone)]
pub struct Connection {
    requests: SendRequest<Bytes>,
}

impl Connection {
    /// Connects. Must be called within a [`LocalSet`](tokio::task::LocalSet), which drives the connection.
    ///
    /// # Errors
    /// When nobody listens, or the other side does not speak HTTP/2.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let (requests, connection) = client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(stream)
            .await?;
        // What breaks it is told to the calls on it.
        tokio::task::spawn_local(async move { connection.await.unwrap_or_default() });
        Ok(Self { requests: requests.ready().await? })
    }

    /// As many as are asked for.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn open_many(address: SocketAddr, count: usize) -> anyhow::Result<Vec<Self>> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(Self::open(address).await?);
        }
        Ok(all)
    }
}

/// A call that can be made again and again: its head and its message.
#[derive(Debug)]
pub struct Call {
    head: Request<()>,
    message: Bytes,
}

impl Call {
    /// A call of the method at `path`. `message` is a whole gRPC frame, and so is expected of the answer.
    ///
    /// # Errors
    /// When address and path make no URL.
    pub fn new(address: SocketAddr, path: &str, message: Bytes) -> anyhow::Result<Self> {
        let head = Request::post(format!("http://{address}{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "gateway-bench")
            .body(())?;
        Ok(Self { head, message })
    }

    /// Makes the call as a unary one and gives the headers of the answer.
    ///
    /// # Errors
    /// When it is not answered with the same message and status OK.
    pub async fn unary(&self, connection: &mut Connection) -> anyhow::Result<HeaderMap> {
        let (answer, mut request) = self.begin(connection).await?;
        request.send_data(self.message.clone(), true)?;
        let (head, mut body) = answer.await.context("no answer")?.into_parts();
        ensure!(head.status == StatusCode::OK, "HTTP status {}", head.status);
        ensure_ok_so_far(&head.headers)?;
        let mut seen = 0;
        while let Some(chunk) = body.data().await {
            seen += self.compare(seen, &chunk?, &mut body)?;
        }
        let trailers = body.trailers().await?.context("an answer without trailers")?;
        ensure_ok(&trailers)?;
        ensure!(seen == self.message.len(), "an answer of {seen} bytes");
        Ok(head.headers)
    }

    /// Sends the head of a call.
    pub(super) async fn begin(
        &self,
        connection: &mut Connection,
    ) -> anyhow::Result<(client::ResponseFuture, SendStream<Bytes>)> {
        std::future::poll_fn(|context| connection.requests.poll_ready(context)).await?;
        Ok(connection.requests.send_request(self.head.clone(), false)?)
    }

    /// The message.
    pub(super) fn message(&self) -> &Bytes {
        &self.message
    }

    /// Compares a part of the answer, which begins at `seen`, with what was sent. Gives its length.
    pub(super) fn compare(&self, seen: usize, chunk: &Bytes, body: &mut RecvStream) -> anyhow::Result<usize> {
        body.flow_control().release_capacity(chunk.len())?;
        let expected = self.message.get(seen..seen + chunk.len());
        ensure!(expected == Some(&chunk[..]), "the answer is not what was sent");
        Ok(chunk.len())
    }
}

/// A failed call may say so in the head.
fn ensure_ok_so_far(headers: &HeaderMap) -> anyhow::Result<()> {
    if headers.contains_key("grpc-status") { ensure_ok(headers) } else { Ok(()) }
}

/// Checks `grpc-status`.
pub(super) fn ensure_ok(trailers: &HeaderMap) -> anyhow::Result<()> {
    let status = trailers.get("grpc-status").context("trailers without grpc-status")?;
    ensure!(status == "0", "gRPC status {status:?}: {:?}", trailers.get("grpc-message"));
    Ok(())
}
