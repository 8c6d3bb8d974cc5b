//! The body of a request from a caller: as it comes, or as a layer makes it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use mcp_chassis::server::GrpcFrameLimit;
use mcp_proto::{Code, Error};

/// Why a body broke off.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request.
///
/// A layer that refuses the rest of it ends it with a [`tonic::Status`] as its error; [`broken`] finds it again.
#[derive(Debug)]
pub(crate) enum Inbound {
    /// As it comes from the caller.
    Wire(Incoming),
    /// All of it: the one message of a call that came as a wire frame.
    Whole(Option<Bytes>),
    /// As a layer makes it.
    Made(UnsyncBoxBody<Bytes, BoxError>),
}

impl Inbound {
    /// A body that a layer makes.
    pub(crate) fn made<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::Made(body.map_err(Into::into).boxed_unsync())
    }
}

impl Body for Inbound {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Wire(body) => Pin::new(body).poll_frame(cx).map_err(BoxError::from),
            Self::Whole(content) => Poll::Ready(content.take().map(|content| Ok(Frame::data(content)))),
            Self::Made(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Wire(body) => body.is_end_stream(),
            Self::Whole(content) => content.is_none(),
            Self::Made(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Wire(body) => body.size_hint(),
            Self::Whole(content) => SizeHint::with_exact(content.as_ref().map_or(0, Bytes::len) as u64),
            Self::Made(body) => body.size_hint(),
        }
    }
}

/// Why a request's body broke off: our refusal, or `CANCELLED` when the caller did.
pub(crate) fn broken(error: BoxError) -> Error {
    match GrpcFrameLimit::status_of(&*error) {
        Some(status) => Error::from(status),
        None => Error::new(Code::Cancelled, "the caller broke off its request").with_source(io::Error::other(error)),
    }
}
