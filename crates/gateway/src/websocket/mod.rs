//! JSON over WebSockets, for calls that stream in both directions; every other kind of call works too.
//!
//! A WebSocket is opened at the path of a route, whatever its HTTP method. Each text message is the JSON of one
//! message, as the body of an HTTP request would be; what the path and the query set is set in each of them. An empty
//! text message ends the caller's side: the call goes on until the service ends it. Each message of the service comes
//! as one text message.
//!
//! A call that ends well is closed with 1000. When the gateway stops, calls that stream their answer are closed with 1001,
//! and so are those that have not begun. One that fails sends its error, `{"error": {…}}`, and is closed with
//! 4000 plus its gRPC status code and the error's catalogue name as reason ([`close`]).

mod close;
mod session;

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use mcp_proto::{Code, Error};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Role, WebSocketConfig},
    },
};

use self::session::{Plan, Session};
use crate::{
    body::Body,
    caller::Spoken,
    core::Core,
    deadline,
    exchange::Exchange,
    gate,
    metrics::Protocol,
    reply,
    transcode::{convert::Converter, json::Options, send::To, serve::not_found, trie::Found},
};

/// The only version there is. Source: RFC 6455, section 4.1.
const VERSION: &str = "13";

/// The subprotocol that a caller may name; some cannot open a WebSocket without one.
const SUBPROTOCOL: &str = "mcp.json";

/// Longest time between our answer and the start of the protocol.
pub(crate) const UPGRADE_MAX: Duration = Duration::from_secs(10);

/// Bytes read ahead: most messages are small, and there may be many connections.
const READ_BYTES: usize = 16 * 1024;

/// Headers of the handshake that say nothing to a gRPC method.
const HANDSHAKE: [HeaderName; 6] = [
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
    header::UPGRADE,
    header::CONNECTION,
];

/// True when a request asks for a WebSocket.
pub(crate) fn is_upgrade<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && has_token(request.headers(), &header::CONNECTION, "upgrade")
        && has_token(request.headers(), &header::UPGRADE, "websocket")
}

/// Opens a WebSocket, or says why not.
pub(crate) fn serve(core: &Rc<Core>, exchange: Exchange, options: Options) -> Response<Body> {
    let Exchange { mut request, context } = exchange;
    let identity = context.identity.clone();
    let accept = match accept(request.headers()) {
        Ok(accept) => accept,
        Err(error) => return reply::json_error(&error),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (mut parts, _) = request.into_parts();
    let path = parts.uri.path();
    let held = core.descriptors();
    let (route, segments) = match held.snapshot.find_socket(path) {
        Found::Route(route, segments) => (Arc::clone(route), segments),
        found => return not_found(&found, &Method::GET, path),
    };
    let segments = segments.into_iter().map(str::to_owned).collect();
    let deadline = match deadline::of_http(&parts.headers, Instant::now()) {
        Ok(deadline) => deadline,
        Err(error) => return reply::json_error(&error),
    };
    identity.calls(route.rpc.parent_service().full_name(), route.rpc.name());
    identity.fits(|| route.template.to_string());
    let principal = gate::principal(&parts.extensions);
    let to = To { route: &route, context: &context };
    let begun = to.path().and_then(|path| core.begin(Protocol::Socket, path.path(), identity, principal));
    let call = match begun {
        Ok(call) => call,
        Err(error) => return reply::json_error(&error),
    };
    let subprotocol = has_token(&parts.headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    for name in &HANDSHAKE {
        parts.headers.remove(name);
    }
    let converter = Converter { route, snapshot: Arc::clone(&held.snapshot), options };
    let query = parts.uri.query().map(str::to_owned);
    let narrow = call.narrow().cloned();
    let plan = Plan { converter, segments, query, headers: parts.headers, deadline, narrow, context };
    core.sessions.spawn_local(open(Rc::clone(core), upgrade, plan, call));
    switching(&accept, subprotocol.then_some(SUBPROTOCOL))
}

/// Runs a session once the connection has changed its protocol.
async fn open(core: Rc<Core>, upgrade: OnUpgrade, plan: Plan, call: crate::call::Call) {
    let stream = match timeout(UPGRADE_MAX, upgrade).await {
        Ok(Ok(stream)) => TokioIo::new(stream),
        // The call counts as cancelled by its caller.
        Ok(Err(error)) => return tracing::debug!(trace_id = %call.identity(), %error, "no WebSocket came of it"),
        Err(_) => return tracing::debug!(trace_id = %call.identity(), "no WebSocket came of it in time"),
    };
    let bytes_max = core.shared.settings.json.body_bytes_max;
    plan.context.caller.activity.protocol.set(Spoken::WebSocket);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    Session::new(core, plan, call).run(socket).await;
}

/// What proves that we understood. Source: RFC 6455, section 4.2.2.
pub(crate) fn accept(headers: &HeaderMap) -> Result<String, Error> {
    let version = headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes);
    if version != Some(VERSION.as_bytes()) {
        return Err(Error::invalid("sec-websocket-version", format!("must be {VERSION}")));
    }
    match headers.get(header::SEC_WEBSOCKET_KEY) {
        Some(key) => Ok(derive_accept_key(key.as_bytes())),
        None => Err(Error::invalid("sec-websocket-key", "must be set")),
    }
}

/// The answer that makes the connection a WebSocket.
pub(crate) fn switching(accept: &str, subprotocol: Option<&'static str>) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    match HeaderValue::from_str(accept) {
        Ok(accept) => headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept),
        Err(_) => return reply::json_error(&Error::new(Code::Internal, "internal error")),
    };
    if let Some(name) = subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    response
}

/// True when a header of comma-separated tokens has this one.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}
