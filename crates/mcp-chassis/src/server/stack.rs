//! What happens to a request, from the connection to the service and back.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, Request, StatusCode, header};
use hyper::body::Incoming;
use mcp_proto::{Code, Error};
use tonic::{Status, service::Routes};
use tower::Service as _;
use tracing::Instrument as _;

use super::{
    calls::Calls,
    catch_panic::{self, CatchBody},
    deadline::Deadline,
    frame_limit::GrpcFrameLimit,
    in_flight::{InFlight, RunningBody},
    methods::{Method, Methods, Target},
};

/// Everything a request meets. One for all connections of a server.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) methods: Methods,
    pub(super) grpc: Routes,
    pub(super) http: Router,
    pub(super) calls: Arc<Calls>,
    pub(super) in_flight: InFlight,
}

impl Stack {
    /// Answers a request. Never fails: whatever goes wrong is an answer.
    pub(super) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response, Infallible> {
        let running = self.in_flight.enter();
        let response = match self.methods.target(request.uri().path()) {
            Target::Method(method) => self.grpc(method, request).await,
            Target::NoSuchMethod { service } => {
                let name = request.uri().path().rsplit('/').next().unwrap_or_default();
                refuse(
                    request.headers(),
                    Error::new(Code::MethodNotFound, format!("`{service}` has no method `{name}`")),
                )
            }
            Target::Elsewhere => self.http(request).await,
        };
        Ok(response.map(|body| Body::new(RunningBody::new(body, running))))
    }

    async fn grpc(&self, method: Arc<Method>, request: Request<Incoming>) -> Response {
        let call = self.calls.begin(method, request.headers());
        let deadline = Deadline::of(request.headers());
        let request = request.map(|body| tonic::body::Body::new(GrpcFrameLimit::new(body)));
        let mut routes = self.grpc.clone();
        let handled = deadline.limit(catch_panic::catch(async move { routes.call(request).await }));
        let response = match handled.instrument(call.span().clone()).await {
            Ok(Ok(Ok(response))) => response,
            Ok(Err(error)) | Err(error) => Status::from(error).into_http(),
        };
        call.answer(response.map(|body| deadline.limit_body(CatchBody::new(body)))).map(Body::new)
    }

    async fn http(&self, request: Request<Incoming>) -> Response {
        let mut http = self.http.clone();
        let is_grpc = is_grpc(request.headers());
        match catch_panic::catch(async move { http.call(request).await }).await {
            Ok(Ok(response)) => response,
            Err(panic) if is_grpc => Status::from(panic).into_http(),
            Err(panic) => json(&panic),
        }
    }
}

/// The answer to what nobody serves here.
pub(super) async fn not_found(request: Request<Body>) -> Response {
    let path = request.uri().path();
    let error = if is_grpc(request.headers()) {
        Error::new(Code::ServiceNotFound, format!("nothing here serves `{path}`"))
    } else {
        Error::new(Code::PathNotFound, format!("there is no `{path}` here"))
    };
    refuse(request.headers(), error)
}

fn refuse(headers: &HeaderMap, error: Error) -> Response {
    if is_grpc(headers) { Status::from(error).into_http() } else { json(&error) }
}

fn json(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, axum::Json(error.to_json())).into_response()
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
