//! HTTP/1.1 callers. Each has a connection that it keeps, and sends nothing twice.

use std::{error::Error as _, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    backend::{SERVICE, STREAM_LEN},
    balancer::Balancer,
    tally::{Kind, Tally},
};

type Sender = http1::SendRequest<Full<Bytes>>;

/// Someone who calls by HTTP/1.1.
pub(super) struct Caller {
    balancer: Arc<Balancer>,
    kind: Kind,
    open: Option<(SocketAddr, Sender)>,
}

impl Caller {
    pub(super) fn new(balancer: Arc<Balancer>, kind: Kind) -> Self {
        Self { balancer, kind, open: None }
    }

    /// A connection that is there already if it has not been closed, else a new one.
    async fn sender(&mut self) -> (SocketAddr, Sender) {
        if let Some((address, mut sender)) = self.open.take()
            && sender.ready().await.is_ok()
            && (self.kind == Kind::JsonSeldom || self.balancer.wants(address))
        {
            return (address, sender);
        }
        loop {
            let (address, stream) = self.balancer.connect().await;
            if let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(stream)).await {
                tokio::spawn(connection);
                if sender.ready().await.is_ok() {
                    return (address, sender);
                }
            }
        }
    }

    /// Calls one after the other, with a pause after each.
    pub(super) async fn keep_calling(mut self, tally: Arc<Tally>, stop: CancellationToken, pause: Duration) {
        while !stop.is_cancelled() {
            let result = self.call(&tally).await;
            tally.note(self.kind, result);
            if !pause.is_zero() {
                sleep(pause).await; // it is what an idle connection is
            }
        }
    }

    async fn call(&mut self, tally: &Tally) -> Result<(), String> {
        let name = tally.name();
        if self.kind == Kind::JsonTask {
            let task = json!({"handler": {"handler": "nobody"}, "name": name});
            return self.post("/v1/tasks", &task).await.map(drop);
        }
        let request = json!({"instance": {"service": SERVICE, "instanceId": name}});
        let answer = self.post("/v1/services", &request).await?;
        if answer["leaseId"] != name.as_str() {
            return Err(format!("the answer {answer} came to `{name}`"));
        }
        tally.note_registered(name);
        Ok(())
    }

    async fn post(&mut self, path: &str, json: &Value) -> Result<Value, String> {
        let (address, mut sender) = self.sender().await;
        let request = Request::post(path)
            .header("host", "gateway")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(json.to_string())))
            .expect("the request is well formed");
        let broken = |error: hyper::Error| format!("{path} by {address}: {error}: {:?}", error.source());
        let (parts, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        if parts.headers.get(header::CONNECTION).is_none_or(|value| value != "close") {
            self.open = Some((address, sender));
        }
        let text = String::from_utf8_lossy(&body);
        if parts.status != 200 {
            return Err(format!("{path} by {address}: {}: {text}", parts.status));
        }
        serde_json::from_slice(&body).map_err(|error| format!("{path}: {error}: {text}"))
    }
}

/// Streams of JSON lines one after the other, each to its last line, on a connection of its own.
pub(super) async fn keep_watching(balancer: Arc<Balancer>, tally: Arc<Tally>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let mut caller = Caller::new(Arc::clone(&balancer), Kind::JsonStream);
        let watched = async {
            let (_, mut sender) = caller.sender().await;
            let request = Request::get("/v1/services:watch").header("host", "gateway").body(Full::default());
            let answer = sender.send_request(request.expect("the request is well formed")).await;
            let (parts, body) = answer.map_err(|error| error.to_string())?.into_parts();
            let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
            let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            let text = String::from_utf8_lossy(&body);
            let whole = parts.status == 200 && lines == STREAM_LEN && !text.contains("error");
            if whole { Ok(()) } else { Err(format!("{}: {lines} of {STREAM_LEN} lines: {text}", parts.status)) }
        };
        tally.note(Kind::JsonStream, watched.await);
    }
}
