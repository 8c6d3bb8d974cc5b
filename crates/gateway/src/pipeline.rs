//! The way of every request: identify it, find its route, go through the route's layers, and inside of them, when it is
//! known where it goes, past the gate to an instance: as gRPC, gRPC-Web, WebSocket or HTTP/JSON.

use std::{panic::AssertUnwindSafe, rc::Rc, sync::Arc};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use mcp_proto::{Code, Error};

use crate::{
    body::{Body, inbound::Inbound},
    builtin::{self, Page},
    caller::Caller,
    core::Core,
    exchange::{Context, Exchange},
    gate::{self, Goal},
    grpc_web, headers,
    limits::{fields, limiter::Decision},
    onion::{
        form::Form,
        plan::Site,
        service::{Answer, LocalService, Refusal},
    },
    proxy, reply,
    routes::{
        action::{Action, Forward, Redirect, Respond},
        hosts::authority,
        predicate::Head,
        rewrite::Rewrite,
    },
    trace::Identity,
    transcode::{self, json, rules::Route, trie::Found},
    websocket,
};

/// The way that a request goes.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The gateway's own gRPC services.
    Own,
    Grpc,
    GrpcWeb,
    Socket,
    Json,
}

impl Kind {
    fn of<B>(request: &Request<B>) -> Self {
        let is_grpc = headers::is_grpc(request.headers());
        match () {
            () if is_grpc && builtin::is_own(request.uri().path()) => Self::Own,
            () if is_grpc => Self::Grpc,
            () if grpc_web::form(request.headers()).is_some() => Self::GrpcWeb,
            () if websocket::is_upgrade(request) => Self::Socket,
            () => Self::Json,
        }
    }
}

/// Answers a request. Every outcome is an answer, a panic too.
pub(crate) async fn handle(core: Rc<Core>, request: Request<Incoming>, caller: Rc<Caller>) -> Response<Body> {
    let path = request.uri().path();
    let page = Page::at(path);
    // Probes come all the time and lead nowhere: a span each would bury the rest.
    let identity = if page.is_some() || matches!(Kind::of(&request), Kind::Own) {
        Identity::quiet(request.headers())
    } else {
        Identity::begin(request.method(), path, request.headers())
    };
    let (span, trace_id, form) = (identity.span.clone(), identity.trace_id(), Form::of(request.headers()));
    let answer = AssertUnwindSafe(routed(&core, request, page, (caller, identity)));
    let answer = answer.catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(parent: &span, panic = text.unwrap_or("not a text"), "a request panicked");
        Err(Error::new(Code::Internal, "internal error").into())
    });
    let mut response = answer.unwrap_or_else(|refusal| form.refused(refusal));
    span.record("http.response.status_code", response.status().as_u16());
    response.headers_mut().insert(headers::X_TRACE_ID, trace_id);
    response
}

/// Finds the route of a request, and answers by it. No route has the gateway's own pages, but for the welcome.
async fn routed(
    core: &Rc<Core>,
    request: Request<Incoming>,
    page: Option<Page>,
    (caller, identity): (Rc<Caller>, Identity),
) -> Answer {
    if let Some(page) = page.filter(|page| *page != Page::Welcome) {
        return answer_page(core, request, page, &caller).await;
    }
    let routes = core.routes();
    let found = if builtin::is_reserved(request.uri().path()) {
        routes.table().default_route()
    } else {
        routes.table().find(Head::from(&request), || rpc_path(core, &request))
    };
    if let Some(page) = page.filter(|_| routes.table().is_default(found)) {
        return answer_page(core, request, page, &caller).await;
    }
    let here = routes.here(found, || Site { inside: inside(core) });
    let (context, layers) = (Context::new(caller, identity, Rc::clone(&here.taken)), here.layers.clone());
    let exchange = Exchange { request: request.map(Inbound::Wire), context };
    drop(routes);
    match layers {
        Some(layers) => layers.answer(exchange).await,
        None => act(core, exchange).await,
    }
}

/// One of the gateway's own pages.
async fn answer_page(core: &Core, mut request: Request<Incoming>, page: Page, caller: &Caller) -> Answer {
    let goal = if page.is_open(core.shared.security.open_metrics) { Goal::Open } else { Goal::Known };
    let (decisions, result) = gate::pass(core, &mut request, caller, goal).await;
    result.map_err(|error| standing(error, &decisions))?;
    let mut response = builtin::page(&core.shared, page, request.method()).await;
    fields::add(response.headers_mut(), &decisions);
    Ok(response)
}

/// A refusal that tells the caller how it stands.
fn standing(error: Error, decisions: &[Decision]) -> Refusal {
    let mut headers = HeaderMap::new();
    fields::add(&mut headers, decisions);
    Refusal::with_headers(error, headers)
}

/// The path of the gRPC method that a request calls, in whatever form.
fn rpc_path<B>(core: &Core, request: &Request<B>) -> Option<String> {
    let (path, snapshot) = (request.uri().path(), &core.descriptors().snapshot);
    let found = match Kind::of(request) {
        Kind::Own | Kind::Grpc | Kind::GrpcWeb => return Some(path.to_owned()),
        Kind::Socket => snapshot.find_socket(path),
        Kind::Json => snapshot.find(request.method(), path),
    };
    rule_of(&found).map(|rule| rule.rpc_path.path().to_owned())
}

fn rule_of<'r>(found: &Found<'r, '_, Arc<Route>>) -> Option<&'r Arc<Route>> {
    match found {
        Found::Route(rule, _) => Some(rule),
        Found::OtherMethods(_) | Found::Nothing => None,
    }
}

/// What the layers of this thread wrap.
fn inside(core: &Rc<Core>) -> LocalService {
    // The core holds the layers, so they must not hold it.
    let core = Rc::downgrade(core);
    LocalService::of(move |exchange| {
        let core = core.upgrade().expect("requests are served as long as their thread's core lives");
        async move { act(&core, exchange).await }
    })
}

/// Does what the route says, if the caller may.
async fn act(core: &Rc<Core>, mut exchange: Exchange) -> Answer {
    let (route, caller) = (Rc::clone(&exchange.context.route), Rc::clone(&exchange.context.caller));
    if let Action::Forward(forward) = &route.action {
        exchange = aim(exchange, forward)?;
    }
    let kind = Kind::of(&exchange.request);
    let is_health = matches!((&route.action, kind), (Action::Forward(_), Kind::Own))
        && builtin::is_health(exchange.request.uri().path());
    let goal = if is_health { Goal::Open } else { Goal::Known };
    let (mut decisions, result) = gate::pass(core, &mut exchange.request, &caller, goal).await;
    let principal = gate::principal(exchange.request.extensions());
    let result = result.and_then(|()| gate::limit_route(core, &caller, principal, &route, &mut decisions));
    result.map_err(|error| standing(error, &decisions))?;
    let mut response = match &route.action {
        Action::Forward(_) => send(core, exchange, kind).await,
        Action::Redirect(redirect) => redirected(redirect, &exchange)?,
        Action::Respond(answer) => responded(answer, &exchange)?,
    };
    fields::add(response.headers_mut(), &decisions);
    Ok(response)
}

/// Draws the target, unless it is known, and rewrites the path.
fn aim(mut exchange: Exchange, forward: &Forward) -> Result<Exchange, Error> {
    if exchange.context.target.is_none() {
        let lot = if forward.is_split() { rand::random() } else { 0 };
        exchange.context.target = forward.target(lot).cloned();
    }
    let is_grpc = headers::is_any_grpc(exchange.request.headers());
    // A JSON request's path names no gRPC service: its HTTP rule does, see `transcode::send`.
    let rewrite = forward.rewrite.as_ref().filter(|rewrite| is_grpc || !matches!(rewrite, Rewrite::Service(_)));
    if let Some(rewrite) = rewrite {
        let mut parts = std::mem::take(exchange.request.uri_mut()).into_parts();
        let before = parts.path_and_query.take().map_or_else(Uri::default, Uri::from);
        parts.path_and_query = Some(rewrite.apply(&before)?);
        let after = Uri::from_parts(parts);
        *exchange.request.uri_mut() = after.map_err(|error| Error::invalid("path", error.to_string()))?;
    }
    Ok(exchange)
}

/// Sends a request to an instance, or to the gateway's own services.
async fn send(core: &Rc<Core>, exchange: Exchange, kind: Kind) -> Response<Body> {
    let options = json::Options { ignore_unknown: exchange.context.route.ignore_unknown_fields };
    match kind {
        Kind::Own => builtin::own(core, exchange.request).await,
        Kind::Grpc => proxy::serve(core, exchange).await,
        Kind::GrpcWeb => grpc_web::serve(core, exchange).await,
        Kind::Socket => websocket::serve(core, exchange, options),
        Kind::Json => transcode::serve::serve(core, exchange, options).await,
    }
}

fn redirected(redirect: &Redirect, exchange: &Exchange) -> Answer {
    let (uri, head) = (exchange.request.uri(), exchange.request.headers());
    let location = redirect.location(uri, authority(uri, head))?;
    if headers::is_any_grpc(head) {
        let place = location.to_str().unwrap_or_default();
        let text = format!("the call belongs to `{place}`, and gRPC does not follow redirects");
        return Err(Error::new(Code::FailedPrecondition, text).with_metadata("location", place).into());
    }
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn responded(answer: &Respond, exchange: &Exchange) -> Answer {
    let is_grpc = headers::is_any_grpc(exchange.request.headers());
    if is_grpc && !answer.status.is_success() {
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let error = Error::new(Code::from_http(answer.status.as_u16()), text);
        return Err(answer.retry_after.into_iter().fold(error, Error::with_retry_after).into());
    }
    if is_grpc {
        return Err(Error::new(Code::Unimplemented, "this route answers HTTP requests only").into());
    }
    let mut response = reply::body(answer.status, answer.content_type.clone(), answer.body.clone());
    if let Some(wait) = answer.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(reply::whole_seconds(wait)));
    }
    Ok(response)
}
