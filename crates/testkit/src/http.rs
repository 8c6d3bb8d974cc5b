//! A small HTTP/1.1 client for tests: one connection for each request.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", String::from_utf8_lossy(&self.body)))
    }
}

/// Sends one request to `http://host:port`; `body` goes as `application/json`.
///
/// # Panics
/// When the server cannot be reached or breaks off.
pub async fn send(base: &str, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
    let address: SocketAddr =
        base.trim_start_matches("http://").trim_end_matches('/').parse().expect("base is http://ip:port");
    let stream = TcpStream::connect(address).await.expect("the server accepts connections");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("the server speaks HTTP");
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .expect("the request is well formed");
    let (parts, body) = sender.send_request(request).await.expect("the server answers").into_parts();
    let body = body.collect().await.expect("the answer is whole").to_bytes();
    driver.abort();
    Answer { status: parts.status, headers: parts.headers, body }
}

/// GET of `path`.
///
/// # Panics
/// See [`send`].
pub async fn get(base: &str, path: &str) -> Answer {
    send(base, Method::GET, path, Bytes::new()).await
}

/// POST of a JSON text to `path`.
///
/// # Panics
/// See [`send`].
pub async fn post(base: &str, path: &str, body: impl Into<Bytes>) -> Answer {
    send(base, Method::POST, path, body).await
}
