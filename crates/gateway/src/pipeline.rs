//! The way of every request: identify it, find its route, go through the route's layers, and inside of them, when it is
//! known where it goes, past the gate to an instance: as gRPC, gRPC-Web, WebSocket or HTTP/JSON.

use std::{borrow::Cow, panic::AssertUnwindSafe, rc::Rc, sync::Arc};

use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use mcp_proto::{Code, Error};

use crate::{
    body::{Body, inbound::Inbound, recorded::Recorded},
    builtin::{self, Page},
    caller::{Caller, Spoken},
    core::Core,
    exchange::{Context, Exchange},
    forwarded, frames,
    gate::{self, Goal},
    grpc_web, headers,
    limits::{fields, limiter::Decision},
    metrics::Protocol,
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

    /// How it is counted until it calls a method.
    fn protocol(self) -> Protocol {
        match self {
            Self::Own | Self::Grpc => Protocol::Grpc,
            Self::GrpcWeb => Protocol::Web,
            Self::Socket => Protocol::Socket,
            Self::Json => Protocol::Http,
        }
    }
}

/// Answers a request from a connection of HTTP. Every outcome is an answer, a panic too.
pub(crate) async fn handle(core: Rc<Core>, request: Request<Incoming>, caller: Rc<Caller>) -> Response<Recorded> {
    answer(core, request.map(Inbound::Wire), caller).await
}

/// The same of any request, also one that the gateway has made of something else.
pub(crate) async fn answer(core: Rc<Core>, mut request: Request<Inbound>, caller: Rc<Caller>) -> Response<Recorded> {
    caller.activity.requests.set(caller.activity.requests.get() + 1);
    let caller = forwarded::receive(&core.shared.settings.forwarded, &mut request, caller);
    let (page, kind) = (Page::at(request.uri().path()), Kind::of(&request));
    // Probes come all the time and lead nowhere: a span each would bury the rest.
    let is_quiet = page.is_some_and(|page| page != Page::Welcome) || matches!(kind, Kind::Own);
    let is_frame = caller.activity.protocol.get() == Spoken::Frames;
    let protocol = if is_frame { Protocol::Frame } else { kind.protocol() };
    let identity = if is_quiet {
        Identity::quiet(request.headers())
    } else {
        Identity::begin((&core.tracing, &core.ledger), &request, &caller, protocol)
    };
    let form = Form::of(request.headers());
    let answer = AssertUnwindSafe(routed(&core, request, page, (caller, identity.clone())));
    let answer = answer.catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(trace_id = %identity, panic = text.unwrap_or("not a text"), "a request panicked");
        Err(Error::new(Code::Internal, "internal error").into())
    });
    let mut response = answer.unwrap_or_else(|refusal| {
        identity.refused(refusal.error().code().grpc());
        form.refused(refusal)
    });
    if let Some(record) = identity.record() {
        record.answered(response.status().as_u16());
    }
    response.headers_mut().insert(headers::X_TRACE_ID, identity.trace_id());
    response.map(|body| Recorded::new(body, identity))
}

/// Finds the route of a request, and answers by it. No route has the gateway's own pages, but for the welcome.
async fn routed(
    core: &Rc<Core>,
    request: Request<Inbound>,
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
    let exchange = Exchange { request, context };
    drop(routes);
    match layers {
        Some(layers) => layers.answer(exchange).await,
        None => act(core, exchange).await,
    }
}

/// One of the gateway's own pages.
async fn answer_page(core: &Rc<Core>, mut request: Request<Inbound>, page: Page, caller: &Caller) -> Answer {
    if page == Page::Frames {
        return frames::listen::upgrade(core, request, caller);
    }
    let goal = page.goal(core.shared.security.open_metrics);
    let (decisions, result) = gate::pass(core, &mut request, caller, (goal, false)).await;
    result.map_err(|error| standing(error, &decisions))?;
    let principal = gate::principal(request.extensions());
    let mut response = builtin::page(&core.shared, page, &request, principal).await?;
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
fn rpc_path<'r, B>(core: &Core, request: &'r Request<B>) -> Option<Cow<'r, str>> {
    let (path, snapshot) = (request.uri().path(), &core.descriptors().snapshot);
    let found = match Kind::of(request) {
        Kind::Own | Kind::Grpc | Kind::GrpcWeb => return Some(Cow::Borrowed(path)),
        Kind::Socket => snapshot.find_socket(path),
        Kind::Json => snapshot.find(request.method(), path),
    };
    rule_of(&found).map(|rule| Cow::Owned(rule.rpc_path.path().to_owned()))
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
    let goal = match (&route.action, kind) {
        (Action::Forward(_), Kind::Own) if builtin::is_health(exchange.request.uri().path()) => Goal::Open,
        (Action::Forward(_), Kind::Own) => Goal::Reader,
        _ if route.access.is_public => Goal::Public,
        _ => Goal::Known,
    };
    let is_copy = exchange.context.is_copy;
    let (mut decisions, result) = gate::pass(core, &mut exchange.request, &caller, (goal, is_copy)).await;
    let principal = gate::principal(exchange.request.extensions());
    if let (Some(detail), Some(principal)) = (exchange.context.identity.detail(), principal) {
        detail.principal.get_or_init(|| Arc::clone(&principal.name));
    }
    let from = (&*caller, is_copy);
    let result = result.and_then(|()| gate::enter_route(core, from, principal, &route, &mut decisions));
    result.map_err(|error| standing(error, &decisions))?;
    exchange.context.admit();
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

/// Sends a request to an instance, or to the gateway's own services. What gRPC calls need not is on the heap, so that
/// they do not carry it with them.
async fn send(core: &Rc<Core>, exchange: Exchange, kind: Kind) -> Response<Body> {
    let options = json::Options { ignore_unknown: exchange.context.route.ignore_unknown_fields };
    match kind {
        Kind::Own => Box::pin(builtin::own(core, exchange.request)).await,
        Kind::Grpc => proxy::serve(core, exchange).await,
        Kind::GrpcWeb => Box::pin(grpc_web::serve(core, exchange)).await,
        Kind::Socket => websocket::serve(core, exchange, options),
        Kind::Json => Box::pin(transcode::serve::serve(core, exchange, options)).await,
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
