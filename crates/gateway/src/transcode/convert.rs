//! JSON to gRPC frames and back; large ones on another thread, so that they hold up no other call.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mcp_proto::{Code, Error, MESSAGE_BYTES_MAX};
use prost::Message;
use prost_reflect::{DynamicMessage, Value};

use super::{
    frames, json,
    receive::Received,
    request::{self, Parts},
    rules::Route,
};

/// What is smaller is converted at once.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Longest time that a request's own `timeout` adds to its deadline.
const WAIT_MAX: Duration = Duration::from_secs(3_600);

/// A request, ready to send.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// Its only frame.
    pub(crate) frame: Bytes,
    /// How long it says that it waits.
    pub(crate) waits: Duration,
}

/// Makes the frame of a request.
///
/// # Errors
/// What [`request::build`] says, or `PAYLOAD_TOO_LARGE`.
pub(crate) async fn request(
    route: &Arc<Route>,
    segments: &[&str],
    query: Option<&str>,
    body: &Received,
) -> Result<Encoded, Error> {
    if body.bytes.len() <= INLINE_BYTES_MAX {
        return encode(route, Parts { segments, query, body: &body.bytes });
    }
    let (route, body) = (Arc::clone(route), body.bytes.clone());
    let segments: Vec<String> = segments.iter().map(|segment| (*segment).to_owned()).collect();
    let query = query.map(str::to_owned);
    elsewhere(move || {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        encode(&route, Parts { segments: &segments, query: query.as_deref(), body: &body })
    })
    .await
}

/// Makes the JSON of an answer.
///
/// # Errors
/// `INTERNAL` when the message is not what its descriptor says.
pub(crate) async fn answer(route: &Arc<Route>, message: Bytes) -> Result<Bytes, Error> {
    if message.len() <= INLINE_BYTES_MAX {
        return decode(route, message);
    }
    let route = Arc::clone(route);
    elsewhere(move || decode(&route, message)).await
}

fn encode(route: &Route, parts: Parts<'_>) -> Result<Encoded, Error> {
    let message = request::build(route, parts)?;
    let len = message.encoded_len();
    if len > MESSAGE_BYTES_MAX {
        let text = format!("the message has {len} bytes, the limit is {MESSAGE_BYTES_MAX}");
        return Err(Error::new(Code::PayloadTooLarge, text).with_metadata("limit_bytes", MESSAGE_BYTES_MAX.to_string()));
    }
    Ok(Encoded { waits: waits(route, &message), frame: frames::frame(&message) })
}

fn decode(route: &Route, message: Bytes) -> Result<Bytes, Error> {
    let message = DynamicMessage::decode(route.rpc.output(), message).map_err(Error::internal)?;
    json::write(&message, route.response_field.as_ref())
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
