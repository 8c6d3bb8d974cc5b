//! Errors as answers, on gRPC and on HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use mcp_proto::Error;

use crate::{body::Body, form};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer that ends with its head: the status of a gRPC call that gave nothing.
pub(crate) fn grpc(error: Error) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.headers_mut() = form::trailers(error);
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// An error as JSON.
pub(crate) fn json_error(error: &Error) -> Response<Body> {
    let status = StatusCode::from_u16(error.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, form::json(error));
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    response
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, text: Bytes) -> Response<Body> {
    body(status, JSON, text)
}

/// An answer of any type.
pub(crate) fn body(status: StatusCode, content_type: HeaderValue, content: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(content.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// `retry-after` knows whole seconds only; rounded up, so that nobody comes too early.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use mcp_proto::Code;
    use tonic::Status;

    use super::*;

    #[test]
    fn an_error_has_its_status_its_body_and_when_to_retry() {
        let error = Error::new(Code::NoInstance, "none").with_retry_after(Duration::from_millis(1_200));
        let response = json_error(&error);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["content-type"], "application/json");

        let response = grpc(error.clone());
        assert_eq!((response.status(), &response.headers()["grpc-status"]), (StatusCode::OK, &"14".parse().unwrap()));
        assert_eq!(Error::from(Status::from_header_map(response.headers()).unwrap()), error);
    }
}
