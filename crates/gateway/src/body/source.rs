//! Where the messages of a streamed request come from.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::inbound::{BoxError, Inbound};
use crate::grpc_web::text::Decoded;

/// gRPC frames on their way to an instance.
#[derive(Debug)]
pub(crate) enum Source {
    /// A caller sends them as they are.
    Caller(Inbound),
    /// A caller sends them as base64 text.
    Text(Box<Decoded<Inbound>>),
    /// The one message, which the gateway has read already.
    Read(Option<Bytes>),
    /// The gateway makes them, one by one; the request ends when the sender is dropped.
    Made(mpsc::Receiver<Bytes>),
}

impl From<Inbound> for Source {
    fn from(body: Inbound) -> Self {
        Self::Caller(body)
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Caller(body) => Pin::new(body).poll_frame(cx),
            Self::Text(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Read(frame) => Poll::Ready(frame.take().map(|frame| Ok(Frame::data(frame)))),
            Self::Made(frames) => frames.poll_recv(cx).map(|frame| frame.map(|frame| Ok(Frame::data(frame)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Caller(body) => body.is_end_stream(),
            Self::Read(frame) => frame.is_none(),
            Self::Text(_) | Self::Made(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Caller(body) => body.size_hint(),
            Self::Read(_) | Self::Text(_) | Self::Made(_) => SizeHint::default(),
        }
    }
}
