//! What every request passes before it goes anywhere: who calls, and how often.
//!
//! [`pass`] looks at the head and leaves the caller, an `Arc<Principal>`, in the request's extensions. Whether they may is
//! decided where the call begins ([`Core::begin`]), since routes may have changed its path. For a caller whose roles hold
//! in some namespaces only, whoever has the request's message then asks [`confirm`].

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::{Buf, Bytes, BytesMut};
use http::{Extensions, HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body::Body;
use http_body_util::BodyExt;
use mcp_proto::{
    Code, Error, MESSAGE_BYTES_MAX, partition,
    scheduler::v1::{GetTaskRequest, GetWorkflowRequest},
};
use tokio::time::{Instant, timeout};
use tonic::Status;

use crate::{
    body::forward::Forward,
    caller::Caller,
    config::RateLimit,
    core::{Buffered, Core},
    ending, forwarded,
    headers::{PASSWORD, PRINCIPAL},
    limits::{
        fields,
        limiter::{self, Decision},
        settings::By,
    },
    routes::facts::RouteFacts,
    security::{
        authenticator::API_KEY,
        authorize::{self, Narrow, Subject},
        principal::{Principal, Proof},
    },
    trace::Identity,
    transcode::{frames, receive},
    upstream::{Outgoing, Priority},
};

/// Longest time to find out in which namespace something lies.
const LOOKUP_MAX: Duration = Duration::from_secs(5);

/// Largest task or workflow that is read for that, in bytes.
const LOOKUP_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;

/// Bytes in front of a gRPC message: flags and length.
const FRAME_HEAD: usize = 5;

const TASKS: &str = "mcp.scheduler.v1.TaskService";
const WORKFLOWS: &str = "mcp.scheduler.v1.WorkflowService";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc+proto");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// What a request wants, as far as that decides whether its caller must be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Something for everybody: a probe.
    Open,
    /// Something for everybody whose credentials may be asked for: it comes by TLS where the port speaks TLS, and not more
    /// often than an address may.
    Everybody,
    /// A route that is for everybody: who can be known is.
    Public,
    /// To see what is registered: reflection, the OpenAPI document. For whoever may read something, somewhere.
    Reader,
    /// Anything else: a call, a page about the gateway, a path that is not there.
    Known,
}

/// Lets a request pass, or not; how the caller stands is told either way, for [`fields::add`]. Headers that only we may set
/// are removed, the key of a caller too. `is_copy`: their caller has not sent it, so it counts against no limit.
///
/// # Errors
/// `HEADERS_TOO_LARGE`, `TLS_REQUIRED`, `RATE_LIMITED`, `UNAUTHENTICATED`; `PERMISSION_DENIED` for [`Goal::Reader`].
pub(crate) async fn pass<B>(
    core: &Core,
    request: &mut Request<B>,
    caller: &Caller,
    (goal, is_copy): (Goal, bool),
) -> (Vec<Decision>, Result<(), Error>) {
    let mut decisions = Vec::new();
    let result = decide(core, request, caller, (goal, is_copy), &mut decisions).await;
    if let Err(error) = &result {
        core.shared.instruments.request_refused(error.code().name());
    }
    (decisions, result)
}

async fn decide<B>(
    core: &Core,
    request: &mut Request<B>,
    caller: &Caller,
    (goal, is_copy): (Goal, bool),
    decisions: &mut Vec<Decision>,
) -> Result<(), Error> {
    let settings = &core.shared.settings;
    let headers = request.headers_mut();
    let count_max = settings.downstream.header_count_max;
    if headers.len() > count_max + forwarded::ADDED_MAX {
        let text = format!("the request has {} headers, the limit is {count_max}", headers.len());
        return Err(Error::new(Code::HeadersTooLarge, text));
    }
    headers.remove(PRINCIPAL);
    headers.remove(PASSWORD);
    if goal == Goal::Open {
        return Ok(());
    }
    if caller.lacks_tls {
        return Err(Error::new(Code::TlsRequired, "this port speaks TLS: call it by `https://`"));
    }
    // Whoever comes with bad credentials is limited too, so addresses come before identities.
    if !is_copy {
        limit(core, caller, None, decisions)?;
    }
    if goal == Goal::Everybody {
        return Ok(());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let authenticator = &core.shared.security.authenticator;
    let certificate = caller.certificate.as_deref();
    let principal = match goal {
        Goal::Public => authenticator.welcome(headers, certificate, &core.tokens, now).await?,
        Goal::Open | Goal::Everybody | Goal::Reader | Goal::Known => {
            authenticator.authenticate(headers, certificate, &core.tokens, now).await?
        }
    };
    if !is_copy {
        limit(core, caller, Some(&principal), decisions)?;
    }
    if goal == Goal::Reader {
        authorize::may_see_services(&principal)?;
    }
    introduce(headers, &principal);
    request.extensions_mut().insert(principal);
    Ok(())
}

/// Takes a token under the limits of addresses, or of principals once one is known.
fn limit(
    core: &Core,
    caller: &Caller,
    principal: Option<&Principal>,
    decisions: &mut Vec<Decision>,
) -> Result<(), Error> {
    let rules = &core.shared.settings.limits.rules;
    if rules.is_empty() {
        return Ok(());
    }
    let now = core.shared.started.elapsed();
    let name = principal.map_or("", |principal| &principal.name);
    let of = limiter::Caller { address: caller.address.ip(), principal: name, route: "" };
    let is_due = |rule: &&RateLimit| (rule.by == By::Principal) == principal.is_some();
    decisions.extend(rules.iter().filter(is_due).map(|rule| core.shared.limiter.check(rule, "", of, now)));
    fields::refusal(decisions).map_or(Ok(()), Err)
}

/// Asks whether the caller may take a route, and takes a token under each of its limits, once the request has passed.
///
/// # Errors
/// `PERMISSION_DENIED`, `RATE_LIMITED`.
pub(crate) fn enter_route(
    core: &Core,
    (caller, is_copy): (&Caller, bool),
    principal: Option<&Principal>,
    route: &RouteFacts,
    decisions: &mut Vec<Decision>,
) -> Result<(), Error> {
    let refused = |error: Error| {
        core.shared.instruments.request_refused(error.code().name());
        Err(error)
    };
    if let Err(error) = route.access.check(principal) {
        return refused(error);
    }
    if route.rate_limits.is_empty() || is_copy {
        return Ok(());
    }
    let now = core.shared.started.elapsed();
    let name = principal.map_or("", |principal| &principal.name);
    let of = limiter::Caller { address: caller.address.ip(), principal: name, route: &route.id };
    decisions.extend(route.rate_limits.iter().map(|rule| core.shared.limiter.check(rule, &route.id, of, now)));
    fields::refusal(decisions).map_or(Ok(()), refused)
}

/// Tells the service behind who calls. Our own keys stay here; a token may be for the service too.
fn introduce(headers: &mut HeaderMap, principal: &Principal) {
    match principal.proof {
        Proof::None => return,
        Proof::Token => {}
        Proof::Bootstrap | Proof::ApiKey | Proof::Certificate => {
            headers.remove(header::AUTHORIZATION);
            headers.remove(API_KEY);
        }
    }
    if let Ok(name) = HeaderValue::from_maybe_shared(principal.name.escape_default().to_string()) {
        headers.insert(PRINCIPAL, name);
    }
}

/// Who calls, as [`pass`] found out.
pub(crate) fn principal(extensions: &Extensions) -> Option<&Principal> {
    extensions.get::<Arc<Principal>>().map(|principal| &**principal)
}

/// Reads the one message of a gRPC request, for [`confirm`]: the frame as it came, and the room that it takes.
///
/// # Errors
/// `UNSUPPORTED_MEDIA_TYPE` when it is compressed, `PAYLOAD_TOO_LARGE`, `OVERLOADED`, `MALFORMED_BODY`, `CANCELLED`.
pub(crate) async fn message<B>(core: &Rc<Core>, mut body: B) -> Result<(Bytes, Buffered), Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut room = core.buffer(0)?;
    let mut frame = BytesMut::new();
    while let Some(next) = body.frame().await {
        let next = next.map_err(|_| Error::new(Code::Cancelled, "the caller broke off its request"))?;
        let Ok(data) = next.into_data() else {
            break;
        };
        room.cover(frame.len() + data.len())?;
        frame.extend_from_slice(&data);
        if let Some(&[compressed, ref len @ ..]) = frame.first_chunk::<FRAME_HEAD>() {
            if compressed != 0 {
                let text = "a caller whose roles hold in some namespaces only must send its messages uncompressed";
                return Err(Error::new(Code::UnsupportedMediaType, text));
            }
            let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
            if len > MESSAGE_BYTES_MAX {
                let text = format!("the message has {len} bytes, the limit is {MESSAGE_BYTES_MAX}");
                return Err(Error::new(Code::PayloadTooLarge, text));
            }
            if frame.len() >= FRAME_HEAD + len {
                frame.truncate(FRAME_HEAD + len);
                return Ok((frame.freeze(), room));
            }
        }
    }
    Err(Error::new(Code::MalformedBody, "the request ended before its message did"))
}

/// Finds out whether a request lies within the namespaces that its caller may touch. `frame` is its one message as a gRPC
/// frame.
///
/// # Errors
/// `PERMISSION_DENIED`; `TASK_NOT_FOUND` and `WORKFLOW_NOT_FOUND` for what lies elsewhere; those of the look-up.
pub(crate) async fn confirm(core: &Core, narrow: &Narrow, frame: &[u8], identity: &Identity) -> Result<(), Error> {
    let places = &core.shared.security.places;
    let mut message = frame;
    message.advance(FRAME_HEAD.min(frame.len()));
    let subject = narrow.subject(places, message)?;
    let (service, path, request, id) = match &subject {
        Subject::Allowed => return Ok(()),
        Subject::Task(id) => {
            let request = frames::frame(&GetTaskRequest { task_id: id.clone() });
            (TASKS, "/mcp.scheduler.v1.TaskService/GetTask", request, id)
        }
        Subject::Workflow(id) => {
            let request = frames::frame(&GetWorkflowRequest { workflow_id: id.clone() });
            (WORKFLOWS, "/mcp.scheduler.v1.WorkflowService/GetWorkflow", request, id)
        }
    };
    let answer = timeout(LOOKUP_MAX, look_up(core, (service, path), request, id, identity)).await;
    let answer = answer.unwrap_or_else(|_| {
        Err(Error::new(Code::Unavailable, "finding out where this lies took too long; nothing was done"))
    })?;
    narrow.judge(places, &subject, &answer)
}

/// Asks the scheduler for a task or a workflow.
async fn look_up(
    core: &Core,
    (service, path): (&str, &'static str),
    request: Bytes,
    id: &str,
    identity: &Identity,
) -> Result<Bytes, Error> {
    let mut onward = Request::new(Forward::Whole(Some(request)));
    *onward.method_mut() = Method::POST;
    *onward.uri_mut() = Uri::from_static(path);
    *onward.version_mut() = Version::HTTP_2;
    onward.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    onward.headers_mut().insert(header::TE, TRAILERS);
    if let Ok(id) = HeaderValue::from_str(id) {
        onward.headers_mut().insert(partition::KEY_METADATA, id);
    }
    identity.inject(onward.headers_mut());
    let now = Instant::now();
    let outgoing = Outgoing {
        service,
        policy: core.upstreams.policy(),
        priority: Priority::default(),
        safe: true,
        measured: true,
        deadline: Some(now + LOOKUP_MAX),
        now,
        identity,
        request: onward,
    };
    let (response, lease) = core.upstreams.call(outgoing).await?;
    let (parts, frames) = response.into_parts();
    if parts.status != StatusCode::OK {
        lease.broke();
        return Err(Error::new(Code::UpstreamFailed, format!("the instance answered HTTP {}", parts.status.as_u16())));
    }
    if parts.headers.contains_key(Status::GRPC_STATUS) {
        ending::outcome(parts.headers, None).inspect_err(|error| lease.failed(error))?;
    }
    let answer = receive::answer(frames, LOOKUP_BYTES_MAX, None).await.inspect_err(|error| lease.failed(error))?;
    lease.finish(tonic::Code::Ok);
    Ok(answer)
}
