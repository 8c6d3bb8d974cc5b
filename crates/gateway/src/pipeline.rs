//! The way of every request: identify it, then pages of our own, then gRPC, then HTTP/JSON.

use std::{net::SocketAddr, panic::AssertUnwindSafe, rc::Rc};

use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use mcp_proto::{Code, Error};

use crate::{
    body::Body,
    builtin::{self, Page},
    core::Core,
    headers, proxy, reply,
    trace::Identity,
    transcode,
};

/// Answers a request. Every outcome is an answer, a panic too.
pub(crate) async fn handle(core: Rc<Core>, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
    let path = request.uri().path();
    let page = Page::at(path);
    let is_grpc = headers::is_grpc(request.headers());
    let is_own = is_grpc && builtin::is_own(path);
    // Probes come all the time and lead nowhere: a span each would bury the rest.
    let identity = if page.is_some() || is_own {
        Identity::quiet(request.headers())
    } else {
        Identity::begin(request.method(), path, request.headers())
    };
    let (span, trace_id) = (identity.span.clone(), identity.trace_id());
    let answer = async {
        match page {
            Some(page) => builtin::page(&core.shared, page, request.method()).await,
            None if is_own => builtin::own(&core, request).await,
            None if is_grpc => proxy::serve(&core, request, identity, peer).await,
            None => transcode::serve::serve(&core, request, identity, peer).await,
        }
    };
    let mut response = AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        tracing::error!(parent: &span, panic = text.unwrap_or("not a text"), "a request panicked");
        let error = Error::new(Code::Internal, "internal error");
        if is_grpc { reply::grpc(error) } else { reply::json_error(&error) }
    });
    span.record("http.response.status_code", response.status().as_u16());
    response.headers_mut().insert(headers::X_TRACE_ID, trace_id);
    response
}
