//! What a layer wraps, and is: a service of one data-plane thread that answers an [`Exchange`].

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use http::{HeaderMap, Response};
use mcp_proto::Error;
use tower::{Service, ServiceExt};

use crate::{body::Body, exchange::Exchange};

/// How a request ends: with an answer, which may be an error that an instance gave, or with a refusal of ours.
pub(crate) type Answer = Result<Response<Body>, Refusal>;

/// An [`Answer`] that is on its way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Answer>>>;

/// An error of the catalogue, and headers for the answer that it becomes. What form it takes, gRPC or JSON, is decided
/// outside of all layers.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Refused>);

/// What a [`Refusal`] holds.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Why.
    pub(crate) error: Error,
    /// Headers to add.
    pub(crate) headers: HeaderMap,
}

impl Refusal {
    /// A refusal whose answer has these headers besides.
    pub(crate) fn with_headers(error: Error, headers: HeaderMap) -> Self {
        Self(Box::new(Refused { error, headers }))
    }

    /// Why.
    pub(crate) fn error(&self) -> &Error {
        &self.0.error
    }

    /// What it holds.
    pub(crate) fn into_inner(self) -> Refused {
        *self.0
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::with_headers(error, HeaderMap::new())
    }
}

impl From<Infallible> for Refusal {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A boxed service. Clones share it; nothing in it is ever locked, since it stays on its thread.
#[derive(Clone)]
pub(crate) struct LocalService(Rc<dyn Fn(Exchange) -> Answering>);

impl LocalService {
    /// Boxes a service. It is cloned for each request.
    pub(crate) fn new<S>(service: S) -> Self
    where
        S: Service<Exchange, Response = Response<Body>, Error = Refusal> + Clone + 'static,
        S::Future: 'static,
    {
        Self(Rc::new(move |exchange| Box::pin(service.clone().oneshot(exchange))))
    }

    /// Makes a service of a function.
    pub(crate) fn of<F>(answer: impl Fn(Exchange) -> F + 'static) -> Self
    where
        F: Future<Output = Answer> + 'static,
    {
        Self(Rc::new(move |exchange| Box::pin(answer(exchange))))
    }

    /// Answers a request.
    pub(crate) fn answer(&self, exchange: Exchange) -> Answering {
        (self.0)(exchange)
    }
}

impl fmt::Debug for LocalService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalService")
    }
}

impl Service<Exchange> for LocalService {
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, exchange: Exchange) -> Answering {
        self.answer(exchange)
    }
}
