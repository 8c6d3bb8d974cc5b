//! The form an error takes inside of an answer.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use mcp_proto::Error;
use tonic::Status;

/// The trailers that end a gRPC call with an error.
pub(crate) fn trailers(error: Error) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // It fails only for metadata that is no header value, and ours has none: then a bare status must do.
    if Status::from(error).add_header(&mut trailers).is_err() {
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from(tonic::Code::Internal as i32));
    }
    trailers
}

/// The JSON body of an error, on a line of its own.
pub(crate) fn json(error: &Error) -> Bytes {
    let mut text = error.to_json().to_string();
    text.push('\n');
    text.into()
}
