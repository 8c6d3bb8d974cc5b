//! The call that goes to an instance, in whatever way it came in.

use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version, header, uri::PathAndQuery};
use tokio::time::Instant;

use crate::{body::forward::Forward, call::Call, core::Core, deadline, exchange::Context, upstream::Outgoing};

const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// What is known of a call that is to go out, besides its path, metadata and messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Onward<'a> {
    /// The thread's own.
    pub(crate) core: &'a Core,
    /// What is known about the request.
    pub(crate) context: &'a Context,
    /// The call's record.
    pub(crate) call: &'a Call,
    /// Full name of the service, unless the route names another one.
    pub(crate) service: &'a str,
    /// When the answer must be there.
    pub(crate) deadline: Option<Instant>,
    /// The time.
    pub(crate) now: Instant,
}

impl<'a> Onward<'a> {
    /// The call. `metadata` is without headers that end at the gateway.
    pub(crate) fn outgoing(self, path: PathAndQuery, mut metadata: HeaderMap, messages: Forward) -> Outgoing<'a> {
        let Self { core, context, call, service, deadline, now } = self;
        metadata.insert(header::TE, TRAILERS);
        call.identity().inject(&mut metadata);
        core.shared.platform.unlock(&mut metadata, path.path());
        if let Some(at) = deadline {
            metadata.insert(deadline::GRPC_TIMEOUT, deadline::remaining(at, now));
        }
        let mut request = Request::new(messages);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from(path);
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = metadata;
        let route = &context.route;
        Outgoing {
            service: context.target.as_deref().unwrap_or(service),
            policy: route.policy().unwrap_or(core.upstreams.policy()),
            priority: route.calls.priority,
            safe: call.method().safe,
            measured: !call.method().waits,
            deadline,
            now,
            identity: call.identity(),
            request,
        }
    }
}
