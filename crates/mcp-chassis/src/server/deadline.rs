//! The caller's deadline: `grpc-timeout` becomes `DEADLINE_EXCEEDED` from the catalogue when it passes.
//!
//! It counts for the whole call, the stream of the answer included. Callers keep their own time too; this ends the
//! work of calls that came through a proxy, and tells what happened instead of breaking the stream off.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use mcp_proto::{Code, Error};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::Status;

/// Most digits that the protocol allows in `grpc-timeout`.
const DIGITS_MAX: usize = 8;

/// When a call must have ended; `None` when the caller did not say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// From `grpc-timeout`, counted from now. A malformed one counts as none, as the protocol's servers do.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(timeout_of(headers).and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// Runs `future` no longer than this.
    pub(super) async fn limit<F: Future>(self, future: F) -> Result<F::Output, Error> {
        match self.0 {
            None => Ok(future.await),
            Some(deadline) => timeout_at(deadline, future).await.map_err(|_| passed()),
        }
    }

    /// Reads `body` no longer than this.
    pub(super) fn limit_body<B>(self, body: B) -> DeadlineBody<B> {
        DeadlineBody { body: Some(body), timer: self.0.map(|deadline| Box::pin(sleep_until(deadline))) }
    }
}

/// The time that the caller of a gRPC call gave it: `grpc-timeout`; `None` when there is none, or a malformed one.
pub fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    headers.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?))
}

fn passed() -> Error {
    Error::new(Code::DeadlineExceeded, "the caller's deadline passed")
}

/// One to eight digits and a unit.
fn parse(text: &str) -> Option<Duration> {
    let unit_at = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(unit_at)?;
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// The body of an answer; when the deadline passes it ends with trailers that say so.
#[derive(Debug)]
pub(super) struct DeadlineBody<B> {
    /// `None` when the deadline has passed: the handler's stream is dropped, which ends its work.
    body: Option<B>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for DeadlineBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        match &mut this.timer {
            Some(timer) => std::task::ready!(timer.as_mut().poll(cx)),
            None => return Poll::Pending,
        }
        this.body = None;
        let mut trailers = HeaderMap::new();
        // Cannot fail: details are base64 and the message is ASCII. Without it the caller reads UNKNOWN.
        Status::from(passed()).add_header(&mut trailers).unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.timer) {
            (Some(body), None) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::parse;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("5u", Some(Duration::from_micros(5))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("", None),
            ("S", None),
            ("-1S", None),
            ("1s", None),
            ("123456789n", None),
            ("1é", None),
        ] {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }
}
