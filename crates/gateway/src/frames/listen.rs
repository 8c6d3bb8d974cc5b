//! Where sessions begin: TCP ports of their own, and a WebSocket on the public port.

use std::{io, net::SocketAddr, rc::Rc};

use http::{HeaderValue, Request, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mcp_proto::{Code, Error, frame::Profile};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, WebSocketConfig},
};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{self, Begun},
    settings::FrameSettings,
    wire::Wire,
};
use crate::{
    body::inbound::Inbound,
    caller::{Caller, Spoken},
    core::Core,
    onion::service::Answer,
    plane::{self, Accepted},
    websocket,
};

/// The path of the WebSocket.
pub(crate) const PATH: &str = "/mcp/ws";

/// The subprotocol that a client may name.
const SUBPROTOCOL: &str = "mcp.frame";

/// Bytes of a frame besides its payload, at most.
const HEAD_BYTES_MAX: usize = 64;

/// Bytes that a WebSocket reads ahead: sessions are many and mostly silent.
const READ_BYTES: usize = 1024;

/// Binds the ports that are configured.
///
/// # Errors
/// One of them cannot be bound; the first is told with its address.
pub(crate) async fn bind(settings: &FrameSettings) -> Result<Vec<(Profile, TcpListener)>, (SocketAddr, io::Error)> {
    let configured = [
        (Profile::Standard, settings.standard_addr),
        (Profile::Compact, settings.compact_addr),
        (Profile::Basic, settings.basic_addr),
    ];
    let mut listeners = Vec::new();
    for (profile, address) in configured {
        let Some(address) = address else { continue };
        let listener = TcpListener::bind(address).await.map_err(|error| (address, error))?;
        listeners.push((profile, listener));
    }
    Ok(listeners)
}

/// Serves a session over TCP until its end.
///
/// # Cancellation
/// Dropping the future cuts the connection off.
pub(crate) async fn serve(core: Rc<Core>, accepted: Accepted, profile: Profile, drain: CancellationToken) {
    let Accepted { stream, peer, held, .. } = accepted;
    let open = async {
        let stream = TcpStream::from_std(stream)?;
        stream.set_nodelay(true)?;
        plane::secure(&core, stream, peer).await
    };
    let opened = tokio::select! {
        opened = timeout(core.shared.settings.downstream.header_timeout, open) => opened,
        () = drain.cancelled() => return,
    };
    match opened {
        Ok(Ok((stream, caller))) => {
            caller.activity.protocol.set(Spoken::Frames);
            let caller = Rc::new(caller);
            core.connections.join(&caller);
            let begun = Begun { wire: Wire::Stream(stream), caller, authorization: None, held: Some(held) };
            connection::serve(core, begun, profile, drain).await;
        }
        Ok(Err(error)) => tracing::debug!(%peer, %error, "session not opened"),
        Err(_) => {}
    }
}

/// Opens a session over a WebSocket, or says why not. Who calls is found out with what it asks for.
pub(crate) fn upgrade(core: &Rc<Core>, mut request: Request<Inbound>, caller: &Caller) -> Answer {
    if !core.shared.settings.frames.websocket || !websocket::is_upgrade(&request) {
        let text = "this path speaks the wire frame over WebSocket (`GET`, HTTP/1.1): open one";
        return Err(Error::new(Code::FailedPrecondition, text).into());
    }
    if caller.lacks_tls {
        return Err(Error::new(Code::TlsRequired, "this port speaks TLS: call it by `wss://`").into());
    }
    let accept = websocket::accept(request.headers())?;
    let subprotocol = websocket::has_token(request.headers(), &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    let upgrade = hyper::upgrade::on(&mut request);
    caller.activity.protocol.set(Spoken::Frames);
    let authorization = request.headers().get(header::AUTHORIZATION).cloned();
    core.sessions.spawn_local(open(Rc::clone(core), upgrade, Rc::new(caller.clone()), authorization));
    Ok(websocket::switching(&accept, subprotocol.then_some(SUBPROTOCOL)))
}

async fn open(core: Rc<Core>, upgrade: OnUpgrade, caller: Rc<Caller>, authorization: Option<HeaderValue>) {
    let stream = match timeout(websocket::UPGRADE_MAX, upgrade).await {
        Ok(Ok(stream)) => TokioIo::new(stream),
        Ok(Err(error)) => return tracing::debug!(%error, "no WebSocket came of it"),
        Err(_) => return tracing::debug!("no WebSocket came of it in time"),
    };
    let bytes_max = core.shared.settings.frames.frame_bytes_max.saturating_add(HEAD_BYTES_MAX);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let drain = core.frames.drain.clone();
    let begun = Begun { wire: Wire::Socket(Box::new(socket)), caller, authorization, held: None };
    connection::serve(core, begun, Profile::Standard, drain).await;
}
