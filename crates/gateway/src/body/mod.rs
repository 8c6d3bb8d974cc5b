//! Bodies: of answers to callers, and of requests to instances.

pub(crate) mod events;
pub(crate) mod forward;
pub(crate) mod relay;

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use self::{events::Events, forward::BoxError, relay::Relay};

/// The body of an answer. Only that of the gateway's own gRPC services can fail; every other ends with its error as
/// content.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing.
    Empty,
    /// Everything at once.
    Full(Option<Bytes>),
    /// What an instance answers to a gRPC call.
    Relay(Box<Relay>),
    /// What an instance streams, as JSON.
    Events(Box<Events>),
    /// What the gateway's own gRPC services answer.
    Own(tonic::body::Body),
}

impl Body {
    /// A body that is there at once.
    pub(crate) fn full(content: Bytes) -> Self {
        if content.is_empty() { Self::Empty } else { Self::Full(Some(content)) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Self::Relay(relay) => relay.poll_frame(cx).map(|frame| frame.map(Ok)),
            Self::Events(events) => events.poll_frame(cx).map(|frame| frame.map(Ok)),
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Full(None) => true,
            Self::Full(Some(_)) | Self::Relay(_) | Self::Events(_) => false,
            Self::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Full(None) => SizeHint::with_exact(0),
            Self::Full(Some(content)) => SizeHint::with_exact(content.len() as u64),
            Self::Relay(_) | Self::Events(_) => SizeHint::default(),
            Self::Own(body) => body.size_hint(),
        }
    }
}
