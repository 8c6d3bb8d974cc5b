//! Bodies: of answers to callers, and of requests to instances.

pub(crate) mod events;
pub(crate) mod forward;
pub(crate) mod inbound;
pub(crate) mod kept;
pub(crate) mod link;
pub(crate) mod recorded;
pub(crate) mod relay;
pub(crate) mod source;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use self::{events::Events, inbound::BoxError, relay::Relay};
use crate::grpc_web::answer::Wrapped;

/// The body of an answer. Only raw content and what the gateway's own gRPC services answer can fail; every other ends
/// with its error as content.
#[derive(Default)]
pub(crate) enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Everything at once.
    Full(Option<Bytes>),
    /// What an instance answers to a gRPC call.
    Relay(Box<Relay>),
    /// What an instance streams, as JSON.
    Events(Box<Events>),
    /// What an instance answers to a gRPC call, for a browser.
    Web(Wrapped),
    /// What the gateway's own gRPC services answer.
    Own(tonic::body::Body),
    /// What a layer makes of another.
    Made(MadeBody),
}

/// The body that a layer makes. It stays on its thread.
pub(crate) type MadeBody = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError>>>;

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Relay(_) => "Relay",
            Self::Events(_) => "Events",
            Self::Web(_) => "Web",
            Self::Own(_) => "Own",
            Self::Made(_) => "Made",
        })
    }
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
            Self::Events(events) => events.poll_frame(cx),
            Self::Web(wrapped) => wrapped.poll_frame(cx),
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from),
            Self::Made(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Full(None) => true,
            Self::Full(Some(_)) | Self::Relay(_) | Self::Events(_) => false,
            Self::Web(wrapped) => wrapped.is_end_stream(),
            Self::Own(body) => body.is_end_stream(),
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Full(None) => SizeHint::with_exact(0),
            Self::Full(Some(content)) => SizeHint::with_exact(content.len() as u64),
            Self::Relay(_) | Self::Events(_) | Self::Web(_) => SizeHint::default(),
            Self::Own(body) => body.size_hint(),
            Self::Made(body) => body.size_hint(),
        }
    }
}
