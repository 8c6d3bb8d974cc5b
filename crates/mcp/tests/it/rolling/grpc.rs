//! gRPC callers. Several share a connection.

use std::{error::Error as _, net::SocketAddr, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp_proto::{
    registry::v1::{Instance, RegisterRequest, RegisterResponse, WatchRequest},
    scheduler::v1::ListTasksRequest,
};
use prost::Message;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    backend::{SERVICE, STREAM_LEN},
    balancer::Balancer,
    tally::{Kind, Tally},
};

/// How often a call is sent again that nobody has looked at.
const AGAIN_MAX: usize = 5;

/// Bytes in front of a message.
const HEAD: usize = 5;

type Sender = http2::SendRequest<Full<Bytes>>;

/// A connection to a gateway that is ready, whichever.
pub(super) struct Connection {
    balancer: Arc<Balancer>,
    open: Mutex<Option<(SocketAddr, Sender)>>,
}

impl Connection {
    pub(super) fn new(balancer: Arc<Balancer>) -> Self {
        Self { balancer, open: Mutex::default() }
    }

    /// A connection on which a call may begin.
    async fn sender(&self) -> (SocketAddr, Sender) {
        let mut open = self.open.lock().await;
        if let Some((address, sender)) = open.as_ref()
            && !sender.is_closed()
            && self.balancer.wants(*address)
        {
            return (*address, sender.clone());
        }
        loop {
            let (address, stream) = self.balancer.connect().await;
            let Ok((sender, connection)) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await else {
                continue;
            };
            // It ends when all calls on it have.
            tokio::spawn(connection);
            *open = Some((address, sender.clone()));
            return (address, sender);
        }
    }

    /// Sends a call, again when it certainly was not looked at.
    async fn send(&self, path: &str, message: Bytes, tally: &Tally) -> Result<Response<Incoming>, String> {
        let mut last = String::new();
        for _ in 0..AGAIN_MAX {
            let (address, mut sender) = self.sender().await;
            let request = Request::post(format!("http://{address}{path}"))
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(message.clone()))
                .expect("the request is well formed");
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => {
                    let unread = is_unread(error);
                    let (unread, text) = (unread.is_ok(), unread.unwrap_or_else(|text| text));
                    if !unread {
                        return Err(format!("{path} by {address}: {text}"));
                    }
                    last = text;
                    tally.note_again();
                    *self.open.lock().await = None;
                }
            }
        }
        Err(format!("{path}: not taken {AGAIN_MAX} times: {last}"))
    }
}

/// Why it failed: `Ok` when the gateway certainly has not looked at it.
fn is_unread(mut error: TrySendError<Request<Full<Bytes>>>) -> Result<String, String> {
    let unsent = error.take_message().is_some();
    let error = error.into_error();
    let text = format!("{error}: {:?}", error.source());
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    let refused = cause.is_some_and(|error| {
        error.is_remote() && (error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR))
            || error.reason() == Some(h2::Reason::REFUSED_STREAM)
    });
    if unsent || refused { Ok(text) } else { Err(text) }
}

fn frame(message: &impl Message) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(message.encoded_len().try_into().expect("it is small"));
    message.encode(&mut frame).expect("the buffer grows");
    frame.freeze()
}

/// Reads an answer to its end: its messages, when its status is OK.
async fn read(response: Response<Incoming>) -> Result<Bytes, String> {
    let (parts, body) = response.into_parts();
    let status = |headers: &HeaderMap| {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("none").to_owned();
        match text("grpc-status").as_str() {
            "0" => Ok(()),
            code => Err(format!("status {code}: {}", text("grpc-message"))),
        }
    };
    if parts.headers.contains_key("grpc-status") {
        return status(&parts.headers).map(|()| Bytes::new());
    }
    let collected = body.collect().await.map_err(|error| format!("{error}: {:?}", error.source()))?;
    status(&collected.trailers().cloned().unwrap_or_default())?;
    Ok(collected.to_bytes())
}

/// Calls one after the other: the backends, or the scheduler.
pub(super) async fn keep_calling(
    connection: Arc<Connection>,
    tally: Arc<Tally>,
    stop: CancellationToken,
    backends: bool,
) {
    while !stop.is_cancelled() {
        if backends {
            tally.note(Kind::Grpc, register(&connection, &tally).await);
        } else {
            let request = frame(&ListTasksRequest { page_size: 1, ..Default::default() });
            let answer = connection.send("/mcp.scheduler.v1.TaskService/ListTasks", request, &tally).await;
            let result = match answer {
                Ok(response) => read(response).await.map(drop),
                Err(error) => Err(error),
            };
            tally.note(Kind::GrpcTasks, result);
        }
    }
}

async fn register(connection: &Connection, tally: &Tally) -> Result<(), String> {
    let name = tally.name();
    let instance = Instance { service: SERVICE.into(), instance_id: name.clone(), ..Default::default() };
    let request = frame(&RegisterRequest { instance: Some(instance), ttl: None });
    let response = connection.send("/mcp.registry.v1.RegistryService/Register", request, tally).await?;
    let answer = read(response).await?;
    let answer = RegisterResponse::decode(answer.get(HEAD..).unwrap_or_default()).map_err(|error| error.to_string())?;
    if answer.lease_id != name {
        return Err(format!("the answer of `{}` came to `{name}`", answer.lease_id));
    }
    tally.note_registered(name);
    Ok(())
}

/// Streams one after the other, each to its last message.
pub(super) async fn keep_watching(connection: Arc<Connection>, tally: Arc<Tally>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let request = frame(&WatchRequest::default());
        let watched = async {
            let response = connection.send("/mcp.registry.v1.RegistryService/Watch", request, &tally).await?;
            let mut messages = read(response).await?;
            let mut count = 0;
            while let Some(&[_, a, b, c, d]) = messages.first_chunk::<HEAD>() {
                let len = u32::from_be_bytes([a, b, c, d]) as usize;
                drop(messages.split_to(HEAD + len));
                count += 1;
            }
            if count == STREAM_LEN { Ok(()) } else { Err(format!("{count} of {STREAM_LEN} messages")) }
        };
        tally.note(Kind::GrpcStream, watched.await);
    }
}
