//! Answers an HTTP/JSON request by a gRPC call.

use std::{rc::Rc, sync::Arc};

use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use mcp_proto::{Code, Error};
use tokio::time::{Instant, timeout_at};

use super::{
    convert::Converter,
    frames::Frames,
    json::Options,
    receive,
    request::Parts,
    rules::BodyRule,
    send::{Sent, To, send},
    trie::Found,
    upload,
};
use crate::{
    body::{
        Body,
        events::{Events, Format},
        forward::Forward,
        inbound::Inbound,
    },
    call::Call,
    core::Core,
    deadline,
    exchange::{Context, Exchange},
    gate,
    metrics::Protocol,
    reply,
};

const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// Answers a request that is not gRPC.
pub(crate) async fn serve(core: &Rc<Core>, exchange: Exchange, options: Options) -> Response<Body> {
    let Exchange { request, context } = exchange;
    let identity = context.identity.clone();
    let uri = request.uri().clone();
    let held = core.descriptors();
    let (route, segments) = match held.snapshot.find(request.method(), uri.path()) {
        Found::Route(route, segments) => (Arc::clone(route), segments),
        found => return not_found(&found, request.method(), uri.path()),
    };
    identity.calls(route.rpc.parent_service().full_name(), route.rpc.name());
    identity.fits(|| route.template.to_string());
    let principal = gate::principal(request.extensions());
    let to = To { route: &route, context: &context };
    let begun = to.path().and_then(|path| core.begin(Protocol::Json, path.path(), identity, principal));
    let mut call = match begun {
        Ok(call) => call,
        Err(error) => return reply::json_error(&error),
    };
    let converter = Converter { route, snapshot: Arc::clone(&held.snapshot), options };
    let format = if converter.route.raw_response {
        Format::Raw
    } else {
        Format::accepted(request.headers().get(header::ACCEPT))
    };
    let rpc = &converter.route.rpc;
    if converter.route.raw_request && rpc.is_client_streaming() && !rpc.is_server_streaming() {
        return match upload::serve(core, request, (&converter, &context), &segments, &call).await {
            Ok(response) => {
                call.finish(tonic::Code::Ok);
                response
            }
            Err(error) => failed(call, &error),
        };
    }
    let answered = match forward(core, request, (&converter, &context), &segments, &call).await {
        Ok(sent) if converter.route.rpc.is_server_streaming() => match format {
            Format::Raw => return download(core, sent, converter, call).await,
            format => return stream(core, sent, converter, format, call),
        },
        Ok(sent) => receive::unary(core, sent, &converter).await,
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

/// The answer to a request that no route takes.
pub(crate) fn not_found<T>(found: &Found<'_, '_, T>, method: &Method, path: &str) -> Response<Body> {
    let Found::OtherMethods(methods) = found else {
        return reply::json_error(&Error::new(Code::PathNotFound, format!("no route has the path `{path}`")));
    };
    let names = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let text = format!("`{path}` has no method {method}, only {names}");
    let mut response = reply::json_error(&Error::new(Code::HttpMethodNotAllowed, text));
    if let Ok(names) = HeaderValue::from_maybe_shared(names) {
        response.headers_mut().insert(header::ALLOW, names);
    }
    response
}

fn failed(mut call: Call, error: &Error) -> Response<Body> {
    tracing::debug!(trace_id = %call.identity(), %error, "call failed");
    call.finish(error.code().grpc());
    reply::json_error(error)
}

/// Reads the request, converts it, and sends it.
async fn forward(
    core: &Rc<Core>,
    request: Request<Inbound>,
    (converter, context): (&Converter, &Context),
    segments: &[&str],
    call: &Call,
) -> Result<Sent, Error> {
    let route = &converter.route;
    if route.rpc.is_client_streaming() {
        let name = route.rpc.full_name();
        let text = format!("`{name}` takes a stream of messages: open a WebSocket at this path, or use gRPC");
        return Err(Error::new(Code::Unimplemented, text));
    }
    let now = Instant::now();
    let asked = deadline::of_http(request.headers(), now)?;
    let usual = now + core.shared.settings.json.timeout;
    let (parts, body) = request.into_parts();
    let body = match route.body {
        BodyRule::None => receive::Received::default(),
        BodyRule::Whole | BodyRule::Field(_) => {
            let whole = receive::body(core, &parts.headers, body, route.raw_request);
            timeout_at(asked.unwrap_or(usual), whole).await.map_err(|_| deadline::exceeded())??
        }
    };
    call.identity().received(body.bytes.len());
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let (query, content_type) = (parts.uri.query(), content_type.unwrap_or_default());
    let encoded = converter.request(Parts { segments, query, content_type, body: &body.bytes }).await?;
    drop(body);
    if let Some(narrow) = call.narrow() {
        let confirmed = gate::confirm(core, narrow, &encoded.frame, call.identity());
        timeout_at(asked.unwrap_or(usual), confirmed).await.map_err(|_| deadline::exceeded())??;
    }
    // A stream lasts as long as its caller likes.
    let deadline = asked.or_else(|| (!route.rpc.is_server_streaming()).then(|| usual + encoded.waits));
    send(core, To { route, context }, parts.headers, Forward::Whole(Some(encoded.frame)), deadline, call).await
}

/// Passes the messages on as they come.
fn stream(core: &Core, sent: Sent, converter: Converter, format: Format, mut call: Call) -> Response<Body> {
    let is_over = sent.is_over();
    let Sent { head, frames, deadline, lease } = sent;
    let body = if is_over {
        call.finish(tonic::Code::Ok);
        Body::full(format.end().unwrap_or_default())
    } else {
        let messages = Frames::new(core.shared.settings.json.answer_bytes_max);
        Body::Events(Box::new(Events::new((frames, messages), (converter, format), deadline, call, lease)))
    };
    streamed(body, format.content_type(), head)
}

/// Passes raw content on as it comes. What it is stands in its first message, so that is waited for.
async fn download(core: &Core, sent: Sent, converter: Converter, mut call: Call) -> Response<Body> {
    let mut messages = Frames::new(core.shared.settings.json.answer_bytes_max);
    let is_over = sent.is_over();
    let Sent { head, mut frames, deadline, lease } = sent;
    let first = async {
        match deadline {
            _ if is_over => Ok(None),
            Some(at) => timeout_at(at, receive::first(&mut frames, &mut messages, deadline))
                .await
                .map_err(|_| deadline::exceeded())?,
            None => receive::first(&mut frames, &mut messages, deadline).await,
        }
    };
    let content = match first.await {
        Ok(None) => {
            call.finish(tonic::Code::Ok);
            return streamed(Body::Empty, Format::Raw.content_type(), head);
        }
        Ok(Some(message)) => converter.answer(message).await,
        Err(error) => Err(error),
    };
    match content {
        Ok(content) => {
            let events = Events::new((frames, messages), (converter, Format::Raw), deadline, call, lease);
            streamed(Body::Events(Box::new(events.after(content.bytes))), content.content_type, head)
        }
        Err(error) => failed(call, &error),
    }
}

fn streamed(body: Body, content_type: HeaderValue, head: HeaderMap) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::CACHE_CONTROL, NO_CACHE);
    receive::add_metadata(&mut response, head);
    response
}
