//! `mcp.worker.v1.WorkerSessionService` as a tower service: what tonic would generate, but over [`wire`](super::wire).

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use http_body::Body as HttpBody;
use mcp_chassis::server::DECODE_BYTES_MAX;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService, StreamingService},
};
use tonic_prost::ProstCodec;

use super::{
    SessionStream, Sessions,
    wire::{OpenSessionRequest, OpenSessionResponse},
};

/// Full path of the only method.
const OPEN_SESSION: &str = "/mcp.worker.v1.WorkerSessionService/OpenSession";

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl NamedService for Sessions {
    const NAME: &'static str = mcp_proto::worker::v1::worker_session_service_server::SERVICE_NAME;
}

impl<B> tower::Service<http::Request<B>> for Sessions
where
    B: HttpBody + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != OPEN_SESSION {
            return Box::pin(async { Ok(Status::unimplemented("no such method").into_http()) });
        }
        let sessions = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<OpenSessionResponse, OpenSessionRequest>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(DECODE_BYTES_MAX);
            Ok(grpc.streaming(OpenSession(sessions), request).await)
        })
    }
}

struct OpenSession(Sessions);

impl StreamingService<OpenSessionRequest> for OpenSession {
    type Response = OpenSessionResponse;
    type ResponseStream = SessionStream;
    type Future = BoxFuture<Result<Response<SessionStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<OpenSessionRequest>>) -> Self::Future {
        let sessions = self.0.clone();
        Box::pin(async move { sessions.open(request.into_inner()).await.map(Response::new) })
    }
}
