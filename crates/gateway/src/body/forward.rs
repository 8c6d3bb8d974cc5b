//! The body of a request to an instance.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    inbound::BoxError,
    link::{Link, Reader},
    source::Source,
};

/// The body of a request to an instance.
#[derive(Debug)]
pub(crate) enum Forward {
    /// A caller's gRPC messages, as they come.
    Stream(Reader),
    /// One message that is there already.
    Whole(Option<Bytes>),
}

impl Forward {
    /// A caller's messages as they come, and the link that its answer needs.
    pub(crate) fn stream(messages: impl Into<Source>) -> (Self, Rc<Link>) {
        let reader = Reader::first(messages.into());
        let link = Rc::clone(reader.link());
        (Self::Stream(reader), link)
    }
}

impl Body for Forward {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(message) => Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Stream(reader) => reader.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(message) => message.is_none(),
            Self::Stream(reader) => reader.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        // Not that of a stream: it may be cut off, and a `content-length` would have promised more.
        match self {
            Self::Whole(message) => SizeHint::with_exact(message.as_ref().map_or(0, |message| message.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
