//! POST of JSON over HTTP/1.1 as fast as it is answered.

use std::{net::SocketAddr, rc::Rc, time::Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};

use super::{Report, Target, meter::Meter, on_own_thread};
use crate::message::{self, JSON_PATH};

/// `connections` with one call under way on each.
///
/// # Errors
/// The first call that fails.
pub async fn json(target: Target, connections: usize) -> anyhow::Result<Report> {
    on_own_thread(move || async move {
        let request = request(target.address)?;
        let (meter, mut callers) = (Rc::new(Meter::default()), JoinSet::new());
        for _ in 0..connections {
            let connection = open(target.address).await?;
            callers.spawn_local(caller(connection, request.clone(), Rc::clone(&meter)));
        }
        meter.measure(&target, callers).await
    })
    .await
}

fn request(address: SocketAddr) -> anyhow::Result<Request<Full<Bytes>>> {
    let body = Bytes::from(message::json().to_string());
    Ok(Request::post(JSON_PATH)
        .header("host", address.to_string())
        .header("content-type", "application/json")
        .header("user-agent", "gateway-bench")
        .body(Full::new(body))?)
}

async fn open(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What breaks it is told to the calls on it.
    tokio::task::spawn_local(async move { connection.await.unwrap_or_default() });
    Ok(sender)
}

async fn caller(
    mut connection: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    meter: Rc<Meter>,
) -> anyhow::Result<()> {
    // The first answer is read as JSON; the others must have the same bytes.
    let first = call(&mut connection, &request).await?;
    let value: Value = serde_json::from_slice(&first).context("the answer is not JSON")?;
    ensure!(value == message::json(), "the answer is not what was sent: {value}");
    while !meter.is_over() {
        let start = Instant::now();
        let answer = call(&mut connection, &request).await?;
        ensure!(answer == first, "the answer is not what was sent: {answer:?}");
        meter.answered(start);
    }
    Ok(())
}

async fn call(connection: &mut SendRequest<Full<Bytes>>, request: &Request<Full<Bytes>>) -> anyhow::Result<Bytes> {
    connection.ready().await?;
    let (head, body) = connection.send_request(request.clone()).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    ensure!(head.status == StatusCode::OK, "HTTP status {}: {}", head.status, String::from_utf8_lossy(&body));
    Ok(body)
}
