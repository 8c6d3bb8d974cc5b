//! JSON to gRPC frames and back; large ones on another thread, so that they hold up no other call.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use mcp_proto::{Code, Error, MESSAGE_BYTES_MAX};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

use super::{
    frames,
    json::{self, Options, Reader},
    raw,
    request::{self, Parts},
    rules::Route,
};
use crate::descriptors::Snapshot;

/// What is smaller is converted at once.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Longest time that a request's own `timeout` adds to its deadline.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// The content type of JSON.
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What one request, or all messages of a stream, are converted by.
#[derive(Debug, Clone)]
pub(crate) struct Converter {
    /// The method, and what belongs where.
    pub(crate) route: Arc<Route>,
    /// The types that there are.
    pub(crate) snapshot: Arc<Snapshot>,
    /// How requests are read.
    pub(crate) options: Options,
}

/// A request, ready to send.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Its only frame.
    pub(crate) frame: Bytes,
    /// How long it says that it waits.
    pub(crate) waits: Duration,
}

/// An answer, ready to send.
#[derive(Debug)]
pub(crate) struct Content {
    /// What it is.
    pub(crate) content_type: HeaderValue,
    /// The content.
    pub(crate) bytes: Bytes,
}

impl Converter {
    /// Makes the frame of a request.
    ///
    /// # Errors
    /// What [`request::build`] says, or `PAYLOAD_TOO_LARGE`.
    pub(crate) async fn request(&self, parts: Parts<'_>) -> Result<Encoded, Error> {
        if parts.body.len() <= INLINE_BYTES_MAX {
            return self.encode(parts);
        }
        let (converter, body) = (self.clone(), parts.body.clone());
        let segments: Vec<String> = parts.segments.iter().map(|segment| (*segment).to_owned()).collect();
        let query = parts.query.map(str::to_owned);
        let content_type = parts.content_type.to_owned();
        elsewhere(move || {
            let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
            let (query, content_type) = (query.as_deref(), content_type.as_str());
            converter.encode(Parts { segments: &segments, query, content_type, body: &body })
        })
        .await
    }

    /// Makes the content of an answer.
    ///
    /// # Errors
    /// `INTERNAL` when the message is not what its descriptor says.
    pub(crate) async fn answer(&self, message: Bytes) -> Result<Content, Error> {
        if message.len() <= INLINE_BYTES_MAX {
            return self.decode(message);
        }
        let converter = self.clone();
        elsewhere(move || converter.decode(message)).await
    }

    fn encode(&self, parts: Parts<'_>) -> Result<Encoded, Error> {
        let reader = Reader { snapshot: &self.snapshot, options: self.options };
        let message = request::build(&self.route, parts, reader)?;
        let len = message.encoded_len();
        if len > MESSAGE_BYTES_MAX {
            let text = format!("the message has {len} bytes, the limit is {MESSAGE_BYTES_MAX}");
            let error = Error::new(Code::PayloadTooLarge, text);
            return Err(error.with_metadata("limit_bytes", MESSAGE_BYTES_MAX.to_string()));
        }
        Ok(Encoded { waits: waits(&self.route, &message), frame: frames::frame(&message) })
    }

    /// The same as [`answer`](Self::answer), at once.
    pub(crate) fn decode(&self, message: Bytes) -> Result<Content, Error> {
        let route = &self.route;
        let message = DynamicMessage::decode(route.rpc.output(), message).map_err(Error::internal)?;
        if route.raw_response {
            let (content_type, bytes) = match &route.response_field {
                None => raw::content(&message),
                Some(field) => match message.get_field(field).as_ref() {
                    Value::Message(inner) => raw::content(inner),
                    _ => (raw::UNKNOWN_TYPE, Bytes::new()),
                },
            };
            return Ok(Content { content_type, bytes });
        }
        let bytes = json::write(&self.snapshot, &message, route.response_field.as_ref())?;
        Ok(Content { content_type: JSON, bytes })
    }
}

/// How long a request says that it waits; 0 when it does not say, or says something that its service will refuse.
fn waits(route: &Route, message: &DynamicMessage) -> Duration {
    let Some(field) = route.wait_field.as_ref().filter(|field| message.has_field(field)) else {
        return Duration::ZERO;
    };
    match message.get_field(field).as_ref() {
        Value::Message(duration) => {
            let seconds = duration.get_field_by_name("seconds").and_then(|seconds| seconds.as_i64()).unwrap_or(0);
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0).saturating_add(1)).min(WAIT_MAX)
        }
        _ => Duration::ZERO,
    }
}

/// Runs a conversion on a thread for blocking work. When the caller gives up, it still runs to its end.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(Error::internal(panic)))
}
