//! Lends the onion layers that are written for plain HTTP services, those of tower-http: they see a request whose body
//! carries along what else is known about it.

use std::{
    pin::Pin,
    task::{Context as Task, Poll},
};

use http::{Request, Response};
use http_body::Body as HttpBody;
use tower::{Layer, Service};

use super::service::{Answer, Answering, LocalService, Refusal};
use crate::{
    body::{Body, inbound::Inbound},
    exchange::{Context, Exchange},
};

/// A request's body, and what is known about the request.
#[derive(Debug)]
pub(super) struct Carried {
    body: Inbound,
    context: Context,
}

/// The service that such a layer wraps.
#[derive(Debug, Clone)]
pub(super) struct Plain(LocalService);

impl Service<Request<Carried>> for Plain {
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Task<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Carried>) -> Answering {
        let (parts, Carried { body, context }) = request.into_parts();
        self.0.answer(Exchange { request: Request::from_parts(parts, body), context })
    }
}

/// Puts a layer for plain HTTP services around one of ours; `body` makes a body of ours of the layer's.
pub(super) fn wrap<L, S, B>(layer: &L, inner: LocalService, body: fn(B) -> Body) -> LocalService
where
    L: Layer<Plain, Service = S>,
    S: Service<Request<Carried>, Response = Response<B>, Error = Refusal> + Clone + 'static,
    S::Future: 'static,
    B: 'static,
{
    LocalService::new(Wrapped { service: layer.layer(Plain(inner)), body })
}

/// What comes of it.
#[derive(Debug)]
struct Wrapped<S, B> {
    service: S,
    body: fn(B) -> Body,
}

impl<S: Clone, B> Clone for Wrapped<S, B> {
    fn clone(&self) -> Self {
        Self { service: self.service.clone(), body: self.body }
    }
}

impl<S, B> Service<Exchange> for Wrapped<S, B>
where
    S: Service<Request<Carried>, Response = Response<B>, Error = Refusal>,
    S::Future: 'static,
    B: 'static,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Task<'_>) -> Poll<Result<(), Refusal>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, exchange: Exchange) -> Answering {
        let Exchange { request, context } = exchange;
        let answer = self.service.call(request.map(|body| Carried { body, context }));
        let body = self.body;
        Box::pin(async move { Answer::Ok(answer.await?.map(body)) })
    }
}

/// Boxes the body that a layer makes of ours.
pub(super) fn made<B>(body: B) -> Body
where
    B: HttpBody<Data = bytes::Bytes> + 'static,
    B::Error: Into<crate::body::inbound::BoxError>,
{
    Body::Made(Box::pin(http_body_util::BodyExt::map_err(body, Into::into)) as Pin<Box<_>>)
}
