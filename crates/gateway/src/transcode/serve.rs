//! Answers an HTTP/JSON request by a gRPC call.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use hyper::body::Incoming;
use mcp_proto::{Code, Error};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::{
    convert, receive,
    rules::{BodyRule, Route},
    trie::Found,
};
use crate::{
    body::{
        Body,
        events::{Events, Format},
        forward::Forward,
    },
    call::Call,
    core::Core,
    deadline, ending, headers,
    metrics::Protocol,
    reply,
    trace::Identity,
    upstream::Lease,
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc+proto");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Answers a request that is not gRPC.
pub(crate) async fn serve(
    core: &Rc<Core>,
    request: Request<Incoming>,
    identity: Identity,
    peer: SocketAddr,
) -> Response<Body> {
    let uri = request.uri().clone();
    let (route, segments) = match core.shared.router.find(request.method(), uri.path()) {
        Found::Route(route, segments) => (Arc::clone(route), segments),
        Found::OtherMethods(methods) => return other_methods(request.method(), uri.path(), &methods),
        Found::Nothing => {
            let text = format!("no route has the path `{}`", uri.path());
            return reply::json_error(&Error::new(Code::PathNotFound, text));
        }
    };
    identity.calls(route.rpc.parent_service().full_name(), route.rpc.name());
    let http = (request.method(), uri.path());
    let mut call = match core.begin(Protocol::Json, route.rpc_path.path(), identity, http, peer) {
        Ok(call) => call,
        Err(error) => return reply::json_error(&error),
    };
    let format = Format::accepted(request.headers().get(header::ACCEPT));
    let answered = match send(core, request, &route, &segments, &call).await {
        Ok(sent) if route.rpc.is_server_streaming() => return stream(core, sent, route, format, call),
        Ok(sent) => unary(core, sent, &route).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(response) => {
            call.finish(tonic::Code::Ok);
            response
        }
        Err(error) => failed(call, &error),
    }
}

fn other_methods(method: &Method, path: &str, methods: &[Method]) -> Response<Body> {
    let names = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let text = format!("`{path}` has no method {method}, only {names}");
    let mut response = reply::json_error(&Error::new(Code::HttpMethodNotAllowed, text));
    if let Ok(names) = HeaderValue::from_maybe_shared(names) {
        response.headers_mut().insert(header::ALLOW, names);
    }
    response
}

fn failed(mut call: Call, error: &Error) -> Response<Body> {
    tracing::debug!(parent: call.span(), %error, "call failed");
    call.finish(error.code().grpc());
    reply::json_error(error)
}

/// An answer that has begun well.
struct Sent {
    head: HeaderMap,
    frames: Incoming,
    deadline: Option<Instant>,
    lease: Lease,
}

async fn send(
    core: &Rc<Core>,
    request: Request<Incoming>,
    route: &Arc<Route>,
    segments: &[&str],
    call: &Call,
) -> Result<Sent, Error> {
    if route.rpc.is_client_streaming() {
        let text = format!("`{}` takes a stream, which HTTP/JSON cannot carry: use gRPC", route.rpc.full_name());
        return Err(Error::new(Code::Unimplemented, text));
    }
    let now = Instant::now();
    let asked = deadline::of_http(request.headers(), now)?;
    let usual = now + core.shared.settings.json.timeout;
    let (mut parts, body) = request.into_parts();
    let body = match route.body {
        BodyRule::None => receive::Received::default(),
        BodyRule::Whole | BodyRule::Field(_) => {
            let whole = receive::body(core, &parts.headers, body);
            timeout_at(asked.unwrap_or(usual), whole).await.map_err(|_| deadline::exceeded())??
        }
    };
    let encoded = convert::request(route, segments, parts.uri.query(), &body).await?;
    drop(body);
    // A stream lasts as long as its caller likes.
    let deadline = asked.or_else(|| (!route.rpc.is_server_streaming()).then(|| usual + encoded.waits));

    headers::into_metadata(&mut parts.headers);
    parts.headers.insert(header::CONTENT_TYPE, GRPC);
    parts.headers.insert(header::TE, TRAILERS);
    call.identity().inject(&mut parts.headers);
    if let Some(at) = deadline {
        parts.headers.insert(deadline::GRPC_TIMEOUT, deadline::remaining(at, Instant::now()));
    }
    let mut onward = Request::new(Forward::Whole(Some(encoded.frame)));
    *onward.method_mut() = Method::POST;
    *onward.uri_mut() = Uri::from(route.rpc_path.clone());
    *onward.version_mut() = Version::HTTP_2;
    *onward.headers_mut() = parts.headers;

    let service = route.rpc.parent_service();
    let answer = core.upstreams.call(service.full_name(), onward, !call.method().waits);
    let (response, lease) = match deadline {
        Some(at) => timeout_at(at, answer).await.map_err(|_| deadline::exceeded())??,
        None => answer.await?,
    };
    call.span().record("server.address", lease.address());
    let (parts, frames) = response.into_parts();
    if parts.status != StatusCode::OK {
        let text = format!("the instance answered HTTP {}", parts.status.as_u16());
        return Err(Error::new(Code::UpstreamFailed, text));
    }
    if parts.headers.contains_key(Status::GRPC_STATUS) {
        // A status in the head is the whole answer; with OK, that is an empty stream.
        ending::outcome(parts.headers.clone(), deadline)?;
    }
    Ok(Sent { head: parts.headers, frames, deadline, lease })
}

/// Waits for the one message and its trailers.
async fn unary(core: &Core, sent: Sent, route: &Arc<Route>) -> Result<Response<Body>, Error> {
    let Sent { head, frames, deadline, lease } = sent;
    let answer = receive::answer(frames, core.shared.settings.json.answer_bytes_max, deadline);
    let message = match deadline {
        Some(at) => timeout_at(at, answer).await.map_err(|_| deadline::exceeded())?,
        None => answer.await,
    };
    let message = message.inspect_err(|error| {
        if error.code() == Code::UpstreamFailed {
            lease.failed();
        }
    })?;
    let json = convert::answer(route, message).await?;
    let mut response = reply::json(StatusCode::OK, json);
    add_metadata(&mut response, head);
    Ok(response)
}

/// Passes the messages on as they come.
fn stream(core: &Core, sent: Sent, route: Arc<Route>, format: Format, mut call: Call) -> Response<Body> {
    let Sent { head, frames, deadline, lease } = sent;
    let bytes_max = core.shared.settings.json.answer_bytes_max;
    let body = if head.contains_key(Status::GRPC_STATUS) {
        call.finish(tonic::Code::Ok);
        Body::full(format.end().unwrap_or_default())
    } else {
        Body::Events(Box::new(Events::new(frames, bytes_max, (route, format), deadline, call, lease)))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, format.content_type());
    response.headers_mut().insert(header::CACHE_CONTROL, NO_CACHE);
    add_metadata(&mut response, head);
    response
}

/// What the instance said besides its message becomes headers.
fn add_metadata(response: &mut Response<Body>, mut head: HeaderMap) {
    headers::into_http(&mut head);
    for (name, value) in &head {
        response.headers_mut().append(name, value.clone());
    }
}
