//! The form that a refusal takes, which its request decides.

use http::{HeaderMap, HeaderValue, Request, Response, header};
use mcp_proto::Error;

use super::service::Refusal;
use crate::{body::Body, grpc_web, headers, reply};

/// What kind of answer a caller understands.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// A gRPC status.
    Grpc,
    /// The same for a browser, in this content type.
    Web(HeaderValue),
    /// JSON.
    Json,
}

impl Form {
    /// The form that a request with these headers asks for.
    pub(crate) fn of(head: &HeaderMap) -> Self {
        match head.get(header::CONTENT_TYPE) {
            _ if headers::is_grpc(head) => Self::Grpc,
            Some(content_type) if grpc_web::form(head).is_some() => Self::Web(content_type.clone()),
            _ => Self::Json,
        }
    }

    /// An error.
    pub(crate) fn failed(&self, error: Error) -> Response<Body> {
        match self {
            Self::Grpc => reply::grpc(error),
            Self::Json => reply::json_error(&error),
            Self::Web(content_type) => {
                let mut request = Request::new(());
                request.headers_mut().insert(header::CONTENT_TYPE, content_type.clone());
                grpc_web::refuse(&request, error)
            }
        }
    }

    /// The answer that a layer's refusal becomes.
    pub(crate) fn refused(&self, refusal: Refusal) -> Response<Body> {
        let refused = refusal.into_inner();
        let mut response = self.failed(refused.error);
        response.headers_mut().extend(refused.headers);
        response
    }
}
