//! The body of an answer as the caller gets it, which is the last that is known of a request.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{Body, inbound::BoxError};
use crate::trace::Identity;

/// A body that counts what is sent. When it is dropped, and nothing else is left of its request, the request is told.
#[derive(Debug)]
pub(crate) struct Recorded {
    body: Body,
    identity: Identity,
}

impl Recorded {
    /// The body of an answer to this request.
    pub(crate) fn new(body: Body, identity: Identity) -> Self {
        Self { body, identity }
    }
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, identity } = self.get_mut();
        let poll = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &poll
            && let Some(data) = frame.data_ref()
        {
            identity.sent(data.len());
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
