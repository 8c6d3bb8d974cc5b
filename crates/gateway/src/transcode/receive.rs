//! Reads what has to be whole before it can be converted: a request's body, and an answer of one message.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt;
use mcp_proto::{Code, Error};
use tokio::time::{Instant, timeout_at};

use super::{convert::Converter, frames::Frames, send::Sent};
use crate::{
    body::{
        Body as Answer,
        inbound::{self, Inbound},
    },
    core::{Buffered, Core},
    deadline, ending, headers,
    limits::pace::Pace,
    reply,
    upstream::Download,
};

/// A body, and the room that it takes.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The body.
    pub(crate) bytes: Bytes,
    _room: Option<Buffered>,
}

/// Reads a request's body: JSON, or content of any type when it is raw.
///
/// # Errors
/// `UNSUPPORTED_MEDIA_TYPE`, `PAYLOAD_TOO_LARGE`, `OVERLOADED` when the thread holds too much already, `CANCELLED`
/// when the caller broke off.
pub(crate) async fn body(
    core: &Rc<Core>,
    headers: &HeaderMap,
    mut body: Inbound,
    is_raw: bool,
) -> Result<Received, Error> {
    if body.is_end_stream() {
        return Ok(Received::default());
    }
    if !is_raw {
        check_media_type(headers)?;
    }
    let bytes_max = core.shared.settings.json.body_bytes_max;
    let announced = body.size_hint().lower();
    if announced > bytes_max as u64 {
        return Err(too_large(announced, bytes_max));
    }
    let mut room = core.buffer(usize::try_from(announced).unwrap_or(usize::MAX))?;
    let mut bytes = BytesMut::new();
    let downstream = &core.shared.settings.downstream;
    let pace = Pace::new(Instant::now(), downstream.body_grace, downstream.body_rate_min);
    loop {
        let frame = match pace.due(bytes.len()) {
            Some(due) => timeout_at(due, body.frame()).await.map_err(|_| too_slow(downstream.body_rate_min))?,
            None => body.frame().await,
        };
        let Some(frame) = frame else {
            break;
        };
        let frame = frame.map_err(inbound::broken)?;
        let Ok(data) = frame.into_data() else {
            break;
        };
        let len = bytes.len() + data.len();
        if len > bytes_max {
            return Err(too_large(len as u64, bytes_max));
        }
        room.cover(len)?;
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(Received { bytes: data, _room: Some(room) });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes: bytes.freeze(), _room: Some(room) })
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Error> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !headers::may_be_json(headers) {
        let found = text(header::CONTENT_TYPE);
        let message = format!("the body is `{found}`; send JSON with `content-type: application/json`");
        return Err(Error::new(Code::UnsupportedMediaType, message));
    }
    match text(header::CONTENT_ENCODING) {
        "" | "identity" => Ok(()),
        found => {
            let message = format!("the body has `content-encoding: {found}`; send it without one");
            Err(Error::new(Code::UnsupportedMediaType, message))
        }
    }
}

/// `BODY_TOO_SLOW`.
pub(crate) fn too_slow(rate_min: u32) -> Error {
    Error::new(Code::BodyTooSlow, format!("the body came with less than {rate_min} bytes a second"))
}

fn too_large(len: u64, bytes_max: usize) -> Error {
    Error::new(Code::PayloadTooLarge, format!("the body has {len} bytes or more, the limit is {bytes_max}"))
        .with_metadata("limit_bytes", bytes_max.to_string())
}

/// Reads the one message of an answer, and the trailers that say that it counts.
///
/// # Errors
/// What the trailers say, or `UPSTREAM_FAILED` when the answer breaks off or is not one message.
pub(crate) async fn answer(mut answer: Download, bytes_max: usize, deadline: Option<Instant>) -> Result<Bytes, Error> {
    let mut frames = Frames::new(bytes_max);
    let mut message = None;
    while let Some(frame) = answer.frame().await {
        match frame.map_err(|error| ending::failure(&error))?.into_data() {
            Ok(data) => {
                frames.push(&data);
                while let Some(next) = frames.next().map_err(unreadable)? {
                    if message.replace(next).is_some() {
                        return Err(unreadable("there is more than one message"));
                    }
                }
            }
            Err(frame) => {
                ending::outcome(frame.into_trailers().unwrap_or_default(), deadline)?;
                if !frames.is_empty() {
                    return Err(unreadable("its end is missing"));
                }
                return message.ok_or_else(|| unreadable("there is no message"));
            }
        }
    }
    Err(ending::without_status())
}

/// Reads the first message of a stream into `frames`, which then has what came after it too. `None`: the stream ended
/// well without one.
///
/// # Errors
/// See [`answer`].
pub(crate) async fn first(
    source: &mut Download,
    frames: &mut Frames,
    deadline: Option<Instant>,
) -> Result<Option<Bytes>, Error> {
    while let Some(frame) = source.frame().await {
        match frame.map_err(|error| ending::failure(&error))?.into_data() {
            Ok(data) => {
                frames.push(&data);
                if let Some(message) = frames.next().map_err(unreadable)? {
                    return Ok(Some(message));
                }
            }
            Err(frame) => {
                return ending::outcome(frame.into_trailers().unwrap_or_default(), deadline).map(|()| None);
            }
        }
    }
    Err(ending::without_status())
}

/// Waits for the one message of a call and its trailers, and makes them an answer.
///
/// # Errors
/// See [`answer`]; `INTERNAL` when the message cannot be written, which says nothing about the instance.
pub(crate) async fn unary(core: &Core, sent: Sent, converter: &Converter) -> Result<Response<Answer>, Error> {
    let Sent { head, frames, deadline, lease } = sent;
    let message = answer(frames, core.shared.settings.json.answer_bytes_max, deadline);
    let message = match deadline {
        Some(at) => timeout_at(at, message).await.map_err(|_| deadline::exceeded())?,
        None => message.await,
    };
    let message = message.inspect_err(|error| lease.failed(error))?;
    lease.finish(tonic::Code::Ok);
    let content = converter.answer(message).await?;
    let mut response = reply::body(StatusCode::OK, content.content_type, content.bytes);
    add_metadata(&mut response, head);
    Ok(response)
}

/// What the instance said besides its message becomes headers.
pub(crate) fn add_metadata(response: &mut Response<Answer>, mut head: HeaderMap) {
    headers::into_http(&mut head);
    for (name, value) in &head {
        response.headers_mut().append(name, value.clone());
    }
}

pub(crate) fn unreadable(reason: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("the answer cannot be passed on as JSON: {reason}"))
}
