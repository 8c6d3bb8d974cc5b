//! The transparent gRPC proxy: any method of any registered service, its messages never decoded.

use std::{net::SocketAddr, rc::Rc};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery};
use hyper::body::Incoming;
use mcp_proto::{Code, Error};
use tokio::time::{Instant, timeout_at};

use crate::{
    body::{
        Body,
        forward::{Forward, Link},
        relay::Relay,
    },
    call::Call,
    core::Core,
    deadline, ending, headers,
    metrics::Protocol,
    reply,
    trace::Identity,
    upstream::Lease,
};

const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Passes a gRPC call on to an instance of the service that its path names.
pub(crate) async fn serve(
    core: &Core,
    request: Request<Incoming>,
    identity: Identity,
    peer: SocketAddr,
) -> Response<Body> {
    if request.version() != Version::HTTP_2 || request.method() != Method::POST {
        let error = Error::new(Code::UnsupportedMediaType, "gRPC needs a POST over HTTP/2");
        return reply::json_error(&error);
    }
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let Some((service, method)) = names(target.path()) else {
        let text = format!("`{}` is not `/package.Service/Method`", target.path());
        return reply::grpc(Error::new(Code::ServiceNotFound, text));
    };
    identity.calls(service, method);
    let http = (request.method(), target.path());
    let mut call = match core.begin(Protocol::Grpc, target.path(), identity, http, peer) {
        Ok(call) => call,
        Err(error) => return reply::grpc(error),
    };
    match send(core, request, service, &call).await {
        Ok(answer) => answer.into_response(call),
        Err(error) => {
            tracing::debug!(parent: call.span(), %error, "call failed");
            call.finish(error.code().grpc());
            reply::grpc(error)
        }
    }
}

/// The head of an instance's answer, and what its body needs.
struct Answer {
    response: Response<Incoming>,
    deadline: Option<Instant>,
    link: Rc<Link>,
    lease: Lease,
}

async fn send(core: &Core, request: Request<Incoming>, service: &str, call: &Call) -> Result<Answer, Error> {
    let now = Instant::now();
    let deadline = deadline::of_grpc(request.headers(), now)?;
    let (mut parts, messages) = request.into_parts();
    let (body, link) = Forward::stream(messages);

    headers::strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::HOST);
    parts.headers.insert(header::TE, TRAILERS);
    call.identity().inject(&mut parts.headers);
    if let Some(at) = deadline {
        parts.headers.insert(deadline::GRPC_TIMEOUT, deadline::remaining(at, now));
    }
    let mut onward = Request::new(body);
    *onward.method_mut() = Method::POST;
    *onward.uri_mut() = origin(parts.uri);
    *onward.version_mut() = Version::HTTP_2;
    *onward.headers_mut() = parts.headers;

    let answer = core.upstreams.call(service, onward, !call.method().waits);
    let answer = match deadline {
        Some(at) => timeout_at(at, answer).await.unwrap_or_else(|_| Err(deadline::exceeded())),
        None => answer.await,
    };
    match answer {
        Ok((response, lease)) => Ok(Answer { response, deadline, link, lease }),
        Err(error) => {
            link.close();
            Err(link.fault().unwrap_or(error))
        }
    }
}

impl Answer {
    fn into_response(self, mut call: Call) -> Response<Body> {
        let (mut parts, frames) = self.response.into_parts();
        call.span().record("server.address", self.lease.address());
        if parts.status != StatusCode::OK {
            let error =
                Error::new(Code::UpstreamFailed, format!("the instance answered HTTP {}", parts.status.as_u16()));
            call.finish(error.code().grpc());
            self.link.close();
            return reply::grpc(error);
        }
        headers::strip_hop_by_hop(&mut parts.headers);
        let body = match ending::judge(&mut parts.headers, self.deadline) {
            // A status in the head is the whole answer.
            Some(code) => {
                call.finish(code);
                self.link.close();
                Body::Empty
            }
            None => Body::Relay(Box::new(Relay::new(frames, self.deadline, call, self.link, self.lease))),
        };
        let mut response = Response::new(body);
        *response.headers_mut() = parts.headers;
        response
    }
}

/// The service and the method in `/package.Service/Method`.
fn names(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some((service, method))
}

/// Only the path: where it goes is not known yet.
fn origin(uri: Uri) -> Uri {
    uri.into_parts().path_and_query.map_or_else(Uri::default, Uri::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_and_a_method() {
        for (path, expected) in [
            ("/mcp.scheduler.v1.TaskService/GetTask", Some(("mcp.scheduler.v1.TaskService", "GetTask"))),
            ("/Service/Method", Some(("Service", "Method"))),
            ("/", None),
            ("/Service", None),
            ("/Service/", None),
            ("//Method", None),
            ("/a/b/c", None),
            ("*", None),
        ] {
            assert_eq!(names(path), expected, "{path}");
        }
    }
}
