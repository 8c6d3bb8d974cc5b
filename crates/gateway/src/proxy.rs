//! The transparent gRPC proxy: any method of any registered service, its messages never decoded.

use std::rc::Rc;

use http::{Method, Request, Response, StatusCode, Version, header, uri::PathAndQuery};
use mcp_proto::{Code, Error};
use tokio::time::{Instant, timeout_at};

use crate::{
    body::{Body, forward::Forward, link::Link, relay::Relay, source::Source},
    call::Call,
    caller::Spoken,
    core::Core,
    deadline, ending,
    exchange::{Context, Exchange},
    gate, headers,
    metrics::Protocol,
    onward::Onward,
    reply,
    upstream::{Download, Lease},
};

/// Passes a gRPC call on to an instance of the service that its path names, or of the one that its route names.
pub(crate) async fn serve(core: &Rc<Core>, exchange: Exchange) -> Response<Body> {
    let Exchange { request, context } = exchange;
    let protocol =
        if context.caller.activity.protocol.get() == Spoken::Frames { Protocol::Frame } else { Protocol::Grpc };
    call(core, request.map(Source::from), protocol, context).await
}

/// The same for a call that came in by `protocol`, wherever its messages come from.
pub(crate) async fn call(
    core: &Rc<Core>,
    request: Request<Source>,
    protocol: Protocol,
    context: Context,
) -> Response<Body> {
    if request.version() != Version::HTTP_2 || request.method() != Method::POST {
        let error = Error::new(Code::UnsupportedMediaType, "gRPC needs a POST over HTTP/2");
        return reply::json_error(&error);
    }
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    let Some((service, method)) = names(target.path()) else {
        context.identity.refused(Code::ServiceNotFound.grpc());
        let text = format!("`{}` is not `/package.Service/Method`", target.path());
        return reply::grpc(Error::new(Code::ServiceNotFound, text));
    };
    let identity = context.identity.clone();
    identity.calls(service, method);
    let principal = gate::principal(request.extensions());
    let mut call = match core.begin(protocol, target.path(), identity, principal) {
        Ok(call) => call,
        Err(error) => return reply::grpc(error),
    };
    match send(core, request, (&context, service), &call).await {
        Ok(answer) => answer.into_response(call),
        Err(error) => {
            tracing::debug!(trace_id = %call.identity(), %error, "call failed");
            call.finish(error.code().grpc());
            reply::grpc(error)
        }
    }
}

/// The head of an instance's answer, and what its body needs.
struct Answer {
    response: Response<Download>,
    deadline: Option<Instant>,
    link: Rc<Link>,
    lease: Lease,
}

async fn send(
    core: &Rc<Core>,
    request: Request<Source>,
    (context, service): (&Context, &str),
    call: &Call,
) -> Result<Answer, Error> {
    let now = Instant::now();
    let deadline = deadline::of_grpc(request.headers(), now)?;
    let (mut parts, messages) = request.into_parts();
    let mut _room = None;
    let messages = match call.narrow() {
        None => messages,
        // Which namespace it is about is in the message, so that has to be read first.
        Some(narrow) => {
            let confirmed = Box::pin(async {
                let (frame, room) = gate::message(core, messages).await?;
                gate::confirm(core, narrow, &frame, call.identity()).await.map(|()| (frame, room))
            });
            let (frame, room) = match deadline {
                Some(at) => timeout_at(at, confirmed).await.unwrap_or_else(|_| Err(deadline::exceeded()))?,
                None => confirmed.await?,
            };
            _room = Some(room);
            Source::Read(Some(frame))
        }
    };
    let (body, link) = Forward::stream(messages);

    headers::strip_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::HOST);
    let path = parts.uri.into_parts().path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let onward = Onward { core, context, call, service, deadline, now };
    let outgoing = onward.outgoing(path, parts.headers, body);
    match core.upstreams.call(outgoing).await {
        Ok((response, lease)) => Ok(Answer { response, deadline, link, lease }),
        Err(error) => {
            link.close();
            call.identity().received(link.received());
            Err(link.fault().unwrap_or(error))
        }
    }
}

impl Answer {
    fn into_response(self, mut call: Call) -> Response<Body> {
        let (mut parts, frames) = self.response.into_parts();
        call.identity().received(self.link.received());
        if parts.status != StatusCode::OK {
            let error =
                Error::new(Code::UpstreamFailed, format!("the instance answered HTTP {}", parts.status.as_u16()));
            self.lease.broke();
            call.finish(error.code().grpc());
            self.link.close();
            return reply::grpc(error);
        }
        headers::strip_hop_by_hop(&mut parts.headers);
        let body = match ending::judge(&mut parts.headers, self.deadline) {
            // A status in the head is the whole answer.
            Some(code) => {
                self.lease.finish(code);
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
