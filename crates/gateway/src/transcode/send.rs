//! The gRPC call that an HTTP request becomes.

use http::{HeaderMap, HeaderValue, StatusCode, header, uri::PathAndQuery};
use mcp_proto::{Code, Error};
use tokio::time::Instant;
use tonic::Status;

use super::rules::Route;
use crate::{
    body::forward::Forward,
    call::Call,
    core::Core,
    ending,
    exchange::Context,
    headers,
    onward::Onward,
    upstream::{Download, Lease},
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc+proto");

/// An answer that has begun well.
pub(crate) struct Sent {
    /// Its metadata.
    pub(crate) head: HeaderMap,
    /// Its messages and trailers.
    pub(crate) frames: Download,
    /// When it has to be over.
    pub(crate) deadline: Option<Instant>,
    /// The place of the call on its instance.
    pub(crate) lease: Lease,
}

impl Sent {
    /// True when the head has the status already: there are no messages.
    pub(crate) fn is_over(&self) -> bool {
        self.head.contains_key(Status::GRPC_STATUS)
    }
}

/// Where a call goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct To<'a> {
    /// The HTTP rule that was found, and with it the method.
    pub(crate) route: &'a Route,
    /// What is known about the request: its route may name another service, or other instances.
    pub(crate) context: &'a Context,
}

impl To<'_> {
    /// The service that is called.
    fn service(&self) -> &str {
        match self.context.route.rpc_service() {
            Some(service) => service,
            // `/package.Service/Method`: what a descriptor gives by value cannot be lent.
            None => self.route.rpc_path.path().split('/').nth(1).unwrap_or_default(),
        }
    }

    /// `/package.Service/Method`, as the instance will see it.
    pub(crate) fn path(&self) -> Result<PathAndQuery, Error> {
        match self.context.route.rpc_service() {
            None => Ok(self.route.rpc_path.clone()),
            Some(service) => format!("/{service}/{}", self.route.rpc.name()).parse().map_err(Error::internal),
        }
    }
}

/// Calls a method with these messages. `headers` are those of the HTTP request.
///
/// # Errors
/// What the instance answers before its first message, or why none could be reached.
///
/// # Cancellation
/// Dropping the future cancels the call.
pub(crate) async fn send(
    core: &Core,
    to: To<'_>,
    mut headers: HeaderMap,
    messages: Forward,
    deadline: Option<Instant>,
    call: &Call,
) -> Result<Sent, Error> {
    headers::into_metadata(&mut headers);
    headers.insert(header::CONTENT_TYPE, GRPC);
    let onward = Onward { core, context: to.context, call, service: to.service(), deadline, now: Instant::now() };
    let outgoing = onward.outgoing(to.path()?, headers, messages);
    let (response, lease) = core.upstreams.call(outgoing).await?;
    let (parts, frames) = response.into_parts();
    if parts.status != StatusCode::OK {
        let text = format!("the instance answered HTTP {}", parts.status.as_u16());
        lease.broke();
        return Err(Error::new(Code::UpstreamFailed, text));
    }
    let sent = Sent { head: parts.headers, frames, deadline, lease };
    if sent.is_over() {
        // A status in the head is the whole answer; with OK, that is an empty stream.
        ending::outcome(sent.head.clone(), deadline).inspect_err(|error| sent.lease.failed(error))?;
        sent.lease.finish(tonic::Code::Ok);
    }
    Ok(sent)
}
