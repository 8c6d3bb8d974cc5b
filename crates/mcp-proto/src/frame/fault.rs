//! Errors as the body of an error frame.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use serde_json::Value;

use super::{
    head::{BodyCodec, Kind},
    model::Frame,
};
use crate::{Code, Error, common::v1, error::DOMAIN};

impl Frame {
    /// The error frame that answers a frame: protobuf if that is the frame's codec, otherwise JSON.
    pub fn error_to(asked: &Self, error: &Error) -> Self {
        let codec = if asked.codec == BodyCodec::Protobuf { BodyCodec::Protobuf } else { BodyCodec::Json };
        Self { codec, ..Self::reply_to(asked, Kind::Error, encode_error(error, codec)) }
    }

    /// An error frame that answers no frame that could be read, for instance one with a wrong checksum.
    pub fn error(sequence: u32, error: &Error) -> Self {
        Self { codec: BodyCodec::Json, body: encode_error(error, BodyCodec::Json), ..Self::new(Kind::Error, sequence) }
    }
}

/// The JSON body of an error frame.
pub fn error_body(error: &Error) -> Bytes {
    Bytes::from(error.to_json().to_string())
}

/// The body of an error frame in the codec of the request.
fn encode_error(error: &Error, codec: BodyCodec) -> Bytes {
    match codec {
        BodyCodec::Protobuf => Bytes::from(v1::Error::from(error.clone()).encode_to_vec()),
        BodyCodec::Raw | BodyCodec::Json => error_body(error),
    }
}

/// The error that an error frame or a GOAWAY tells of.
///
/// A body that cannot be read is `INTERNAL` and says so; a number from a newer catalogue keeps its class.
pub fn parse_error(frame: &Frame) -> Error {
    let parsed = match frame.codec {
        BodyCodec::Protobuf => v1::Error::decode(frame.body.clone()).ok().map(Error::from),
        BodyCodec::Raw | BodyCodec::Json => serde_json::from_slice(&frame.body).ok().and_then(|json| from_json(&json)),
    };
    parsed.unwrap_or_else(|| Error::new(Code::Internal, "the peer sent an error that cannot be read"))
}

fn from_json(json: &Value) -> Option<Error> {
    let number = u32::try_from(json.get("code")?.as_u64()?).ok()?;
    let message = json.get("message").and_then(Value::as_str).unwrap_or_default();
    let mut error = Error::from(v1::Error { code: number, message: message.to_owned(), ..v1::Error::default() });
    for detail in json.get("details").and_then(Value::as_array).into_iter().flatten() {
        error = with_detail(error, detail);
    }
    Some(error)
}

fn with_detail(mut error: Error, detail: &Value) -> Error {
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    match detail.get("@type").and_then(Value::as_str) {
        Some("type.googleapis.com/google.rpc.RetryInfo") => match retry_delay(&text(detail, "retryDelay")) {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        },
        Some("type.googleapis.com/google.rpc.ErrorInfo") if text(detail, "domain") == DOMAIN => {
            for (key, value) in detail.get("metadata").and_then(Value::as_object).into_iter().flatten() {
                error = error.with_metadata(key, value.as_str().unwrap_or_default());
            }
            error
        }
        Some("type.googleapis.com/google.rpc.BadRequest") => {
            for violation in detail.get("fieldViolations").and_then(Value::as_array).into_iter().flatten() {
                error = error.with_violation(text(violation, "field"), text(violation, "description"));
            }
            error
        }
        _ => error,
    }
}

/// Reads `1.5s`.
fn retry_delay(text: &str) -> Option<Duration> {
    let seconds: f64 = text.strip_suffix('s')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}
