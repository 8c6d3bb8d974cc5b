//! Errors as answers, on gRPC and on HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use mcp_proto::{Code, Error};

use crate::{
    body::Body,
    form,
    security::{authenticator::REASON, authorize::ROLE},
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer that ends with its head: the status of a gRPC call that gave nothing.
pub(crate) fn grpc(error: Error) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    let challenge = challenge(&error);
    *response.headers_mut() = form::trailers(error);
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    if let Some(challenge) = challenge {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// An error as JSON.
pub(crate) fn json_error(error: &Error) -> Response<Body> {
    let status = StatusCode::from_u16(error.code().http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, form::json(error));
    if let Some(wait) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    if let Some(challenge) = challenge(error) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
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

/// What a caller without credentials, or with such that do not do, is to bring. Source: RFC 6750, section 3.
fn challenge(error: &Error) -> Option<HeaderValue> {
    let reason = error.metadata().get(REASON).map(String::as_str);
    let text = match error.code() {
        Code::Unauthenticated if matches!(reason, None | Some("CREDENTIALS_MISSING")) => {
            "Bearer realm=\"mcp\"".to_owned()
        }
        Code::Unauthenticated => format!(
            "Bearer realm=\"mcp\", error=\"invalid_token\", error_description=\"{}\"",
            reason.unwrap_or_default()
        ),
        Code::PermissionDenied => {
            let role = error.metadata().get(ROLE).map(String::as_str).unwrap_or_default();
            format!("Bearer realm=\"mcp\", error=\"insufficient_scope\", scope=\"{role}\"")
        }
        _ => return None,
    };
    // A service behind may have put anything into the metadata.
    HeaderValue::from_maybe_shared(text).ok()
}

/// `retry-after` knows whole seconds only; rounded up, so that nobody comes too early.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_refusal_says_what_to_bring() {
        let refused = |reason: &str| Error::new(Code::Unauthenticated, "no").with_metadata(REASON, reason);
        for (error, expected) in [
            (refused("CREDENTIALS_MISSING"), "Bearer realm=\"mcp\""),
            (
                refused("TOKEN_EXPIRED"),
                "Bearer realm=\"mcp\", error=\"invalid_token\", error_description=\"TOKEN_EXPIRED\"",
            ),
            (
                Error::new(Code::PermissionDenied, "no").with_metadata(ROLE, "admin"),
                "Bearer realm=\"mcp\", error=\"insufficient_scope\", scope=\"admin\"",
            ),
        ] {
            assert_eq!(json_error(&error).headers()["www-authenticate"], expected);
            assert_eq!(grpc(error).headers()["www-authenticate"], expected);
        }
        assert!(!json_error(&refused("a\nb")).headers().contains_key("www-authenticate"));
    }
}
