//! What is registered, as an OpenAPI document.

use std::future::poll_fn;

use http::{StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Limited};
use mcp_proto::{Code, Error};
use serde_json::Value;
use tonic::{Request, Response, Status, body::Body, client::GrpcService, transport::Channel};

use super::Client;

/// Where a gateway has the document.
const PATH: &str = "/openapi.json";
/// Largest document that is read, in bytes.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024 * 1024;

impl Client {
    /// Reads the OpenAPI document of everything that is registered at a gateway.
    ///
    /// # Errors
    /// `UNAUTHENTICATED`, `PERMISSION_DENIED`; `INTERNAL` when what answers is no gateway, and those of every call.
    pub async fn openapi(&self) -> Result<Value, Error> {
        self.read().unary((), |request| fetch(self.channel.clone(), request)).await
    }
}

async fn fetch(mut channel: Channel, request: Request<()>) -> Result<Response<Value>, Status> {
    let (metadata, _, ()) = request.into_parts();
    let mut onward = http::Request::new(Body::default());
    *onward.uri_mut() = Uri::from_static(PATH);
    *onward.version_mut() = Version::HTTP_2;
    *onward.headers_mut() = metadata.into_headers();
    let broken = |error: tonic::transport::Error| Status::from_error(error.into());
    poll_fn(|context| GrpcService::<Body>::poll_ready(&mut channel, context)).await.map_err(broken)?;
    let answer = GrpcService::call(&mut channel, onward).await.map_err(broken)?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), DOCUMENT_BYTES_MAX).collect().await.map_err(Status::from_error)?;
    let json = serde_json::from_slice(&body.to_bytes());
    if status.is_success() {
        let document = json.map_err(|_| Error::new(Code::Internal, format!("`{PATH}` is not JSON")))?;
        return Ok(Response::new(document));
    }
    Err(refusal(status, &json.unwrap_or_default()).into())
}

/// The error that an answer in JSON tells of.
fn refusal(status: StatusCode, json: &Value) -> Error {
    let code = json["name"].as_str().and_then(Code::from_name);
    let text = json["message"].as_str().map_or_else(|| format!("HTTP {}", status.as_u16()), str::to_owned);
    Error::new(code.unwrap_or(Code::from_http(status.as_u16())), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_that_of_the_catalogue_or_of_the_status() {
        let told = Error::new(Code::TlsRequired, "by TLS");
        assert_eq!(refusal(StatusCode::FORBIDDEN, &told.to_json()), told);
        let other = refusal(StatusCode::FORBIDDEN, &Value::Null);
        assert_eq!((other.code(), other.message()), (Code::PermissionDenied, "HTTP 403"));
    }
}
