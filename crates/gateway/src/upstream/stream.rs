//! One call's stream on a connection: the request as it goes out, the answer as it comes in.
//!
//! hyper's client would do this in two tasks for every call, behind a queue. Here the call itself sends its request and
//! waits for its answer, without either; only what is left of a request when the answer begins gets a task.

use std::{
    error::Error as StdError,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::{
    body::{forward::Forward, inbound::BoxError},
    ending,
};

/// The body of a request on its way to an instance.
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: Forward,
}

impl Upload {
    /// What follows a head that was sent.
    pub(super) fn new(stream: SendStream<Bytes>, body: Forward) -> Self {
        Self { stream, body }
    }

    /// Sends as much as the instance takes. Ready when nothing is left to do: all is sent, or the stream has ended, which
    /// its answer tells.
    ///
    /// Callers often end a request by an empty frame of its own. What comes is held until it is known whether that
    /// follows at once, so that one frame does for both: servers count small frames that are not the last against a
    /// budget, and close the connection of who has too many on their way.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut held: Option<Bytes> = None;
        loop {
            if held.is_none() && !ready!(self.poll_room(cx)) {
                return Poll::Ready(());
            }
            let next = Pin::new(&mut self.body).poll_frame(cx);
            let is_last = matches!(next, Poll::Ready(None));
            if held.is_some() || is_last {
                let sent = self.stream.send_data(held.take().unwrap_or_default(), is_last);
                if is_last || sent.is_err() {
                    return Poll::Ready(());
                }
            }
            match ready!(next) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => held = Some(data),
                    Err(frame) => {
                        self.end(frame.into_trailers().unwrap_or_default());
                        return Poll::Ready(());
                    }
                },
                Some(Err(error)) => {
                    self.stream.send_reset(reason(&error));
                    return Poll::Ready(());
                }
                None => return Poll::Ready(()),
            }
        }
    }

    /// Sends the rest, whatever the answer does meanwhile.
    pub(super) async fn finish(mut self) {
        poll_fn(|cx| self.poll(cx)).await;
    }

    /// Waits until the instance takes at least one byte more; false when it takes nothing any more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.stream.reserve_capacity(1);
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(false),
            }
        }
        Poll::Ready(self.stream.poll_reset(cx).is_pending())
    }

    /// Ends the request by trailers. When the stream has ended before, its answer tells why.
    fn end(&mut self, trailers: HeaderMap) {
        self.stream.reserve_capacity(0);
        self.stream.send_trailers(trailers).ok();
    }
}

/// Why the instance gets no more.
fn reason(error: &BoxError) -> Reason {
    let error: &(dyn StdError + 'static) = &**error;
    ending::h2_cause(error).and_then(h2::Error::reason).unwrap_or(Reason::INTERNAL_ERROR)
}

/// The body of an instance's answer. What is not taken from it holds the instance back.
#[derive(Debug)]
pub(crate) struct Download {
    stream: RecvStream,
}

impl Download {
    /// What follows the head of an answer.
    pub(super) fn new(stream: RecvStream) -> Self {
        Self { stream }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let stream = &mut self.get_mut().stream;
        let frame = match ready!(stream.poll_data(cx)) {
            Some(Ok(data)) => stream.flow_control().release_capacity(data.len()).map(|()| Some(Frame::data(data))),
            Some(Err(error)) => Err(error),
            None => ready!(stream.poll_trailers(cx)).map(|trailers| trailers.map(Frame::trailers)),
        };
        // With NO_ERROR an instance only says that it wants no more of the request.
        Poll::Ready(match frame {
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
            frame => frame.transpose(),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
