//! The answer of a gRPC call in the form that a browser can read.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::Form;
use crate::body::{Body, inbound::BoxError};

/// Flag of the frame that holds the trailers.
const TRAILERS_FLAG: u8 = 0x80;

/// Frames as they come, the trailers as the last one.
#[derive(Debug)]
pub(crate) struct Wrapped {
    body: Box<Body>,
    form: Form,
}

impl Wrapped {
    /// Wraps the body of a gRPC answer.
    pub(crate) fn new(body: Body, form: Form) -> Self {
        Self { body: Box::new(body), form }
    }

    /// The next part.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(self.body.as_mut()).poll_frame(cx));
        Poll::Ready(frame.map(|frame| {
            let bytes = match frame?.into_data() {
                Ok(data) => data,
                Err(frame) => frame_of(&frame.into_trailers().unwrap_or_default()),
            };
            Ok(Frame::data(match self.form {
                Form::Binary => bytes,
                Form::Text => BASE64_STANDARD.encode(&bytes).into(),
            }))
        }))
    }

    /// True when nothing more comes.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// Trailers as a frame of lines.
fn frame_of(trailers: &HeaderMap) -> Bytes {
    let mut lines = BytesMut::new();
    for (name, value) in trailers {
        lines.put_slice(name.as_str().as_bytes());
        lines.put_slice(b": ");
        lines.put_slice(value.as_bytes());
        lines.put_slice(b"\r\n");
    }
    let mut frame = BytesMut::with_capacity(lines.len() + 5);
    frame.put_u8(TRAILERS_FLAG);
    frame.put_u32(u32::try_from(lines.len()).unwrap_or(u32::MAX));
    frame.extend_from_slice(&lines);
    frame.freeze()
}
