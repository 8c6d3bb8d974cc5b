//! A layer as small as they get: it says hello. All that it needs besides this file is its line in `layers::NAMED`.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderValue, Response};
use mcp_proto::gateway::v1::Layer as Settings;
use tower::{Layer, Service, layer::layer_fn};

use super::{
    plan::{Plan, Site},
    service::{Answer, Answering, LocalService, Refusal},
};
use crate::{body::Body, exchange::Exchange, routes::violations::Violations};

#[derive(Debug)]
struct HelloPlan;

pub(super) fn plan(_: &Settings, _: &str, _: &mut Violations) -> Option<Arc<dyn Plan>> {
    Some(Arc::new(HelloPlan))
}

impl Plan for HelloPlan {
    fn wrap(&self, inner: LocalService, _: &Site) -> LocalService {
        LocalService::new(layer_fn(|inner| Hello { inner }).layer(inner))
    }
}

/// An ordinary tower service.
#[derive(Debug, Clone)]
struct Hello<S> {
    inner: S,
}

impl<S> Service<Exchange> for Hello<S>
where
    S: Service<Exchange, Response = Response<Body>, Error = Refusal, Future = Answering>,
{
    type Response = Response<Body>;
    type Error = Refusal;
    type Future = Answering;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, exchange: Exchange) -> Answering {
        let answer = self.inner.call(exchange);
        Box::pin(async move {
            let mut response: Response<Body> = answer.await?;
            response.headers_mut().insert("x-hello", HeaderValue::from_static("world"));
            Answer::Ok(response)
        })
    }
}
