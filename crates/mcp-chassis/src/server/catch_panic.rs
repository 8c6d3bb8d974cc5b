//! A panic in a handler becomes the answer `INTERNAL`; other calls on the connection go on.
//!
//! Left alone, a panic would end the connection's task and with it every call on the connection.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use mcp_proto::{Code, Error};
use tonic::Status;

/// Runs `future` to its end, or to its panic.
pub(super) async fn catch<F: Future>(future: F) -> Result<F::Output, Error> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| internal(&*panic))
}

/// What a caller is told of a panic: nothing. The log has the rest.
fn internal(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("not a text"), "a handler panicked");
    Error::new(Code::Internal, "internal error")
}

/// A gRPC response body whose panic becomes trailers.
#[derive(Debug)]
pub(super) struct CatchBody<B> {
    /// `None` after a panic: what is left of the body is not touched again.
    body: Option<B>,
}

impl<B> CatchBody<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body: Some(body) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for CatchBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
            Ok(poll) => poll,
            Err(panic) => {
                this.body = None;
                let mut trailers = HeaderMap::new();
                // Cannot fail: details are base64 and the message is ASCII. Without it the caller reads UNKNOWN.
                Status::from(internal(&*panic)).add_header(&mut trailers).unwrap_or_default();
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // Not that of the body: a panic would make it a lie.
        SizeHint::default()
    }
}
