//! A gRPC stream as JSON, one element for each message as soon as it comes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use mcp_proto::{Code, Error};
use prost_reflect::DynamicMessage;
use tokio::time::Instant;

use crate::{
    call::Call,
    deadline::{self, Timer},
    ending, form,
    transcode::{frames::Frames, json, rules::Route},
    upstream::Lease,
};

/// How elements are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line each. An error is the line `{"error": …}`.
    Lines,
    /// Server-sent events. An error is an event `error`; a stream that ended well ends with an event `end`, so that a
    /// browser need not connect again.
    ServerSent,
}

impl Format {
    /// The format that an `accept` header asks for.
    pub(crate) fn accepted(accept: Option<&HeaderValue>) -> Self {
        let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let types = accept.split(',').map(|part| part.split(';').next().unwrap_or_default().trim());
        if types.into_iter().any(|kind| kind.eq_ignore_ascii_case("text/event-stream")) {
            Self::ServerSent
        } else {
            Self::Lines
        }
    }

    /// Its content type.
    pub(crate) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Lines => "application/x-ndjson",
            Self::ServerSent => "text/event-stream",
        })
    }

    fn element(self, json: &[u8]) -> Bytes {
        match self {
            Self::Lines => [json, b"\n"].concat().into(),
            Self::ServerSent => [b"data: ", json, b"\n\n"].concat().into(),
        }
    }

    fn error(self, error: &Error) -> Bytes {
        let json = form::json(error);
        match self {
            Self::Lines => [b"{\"error\":", json.trim_ascii_end(), b"}\n"].concat().into(),
            Self::ServerSent => [b"event: error\ndata: ", json.trim_ascii_end(), b"\n\n"].concat().into(),
        }
    }

    /// What a stream that ended well ends with.
    pub(crate) fn end(self) -> Option<Bytes> {
        match self {
            Self::Lines => None,
            Self::ServerSent => Some(Bytes::from_static(b"event: end\ndata: {}\n\n")),
        }
    }
}

/// The elements of a stream, the error of one that breaks as the last.
#[derive(Debug)]
pub(crate) struct Events {
    /// `None` once it has ended.
    source: Option<Incoming>,
    frames: Frames,
    route: Arc<Route>,
    format: Format,
    deadline: Option<Timer>,
    call: Call,
    _lease: Lease,
}

impl Events {
    /// A stream whose head has come. Messages over `bytes_max` break it.
    pub(crate) fn new(
        source: Incoming,
        bytes_max: usize,
        (route, format): (Arc<Route>, Format),
        deadline: Option<Instant>,
        call: Call,
        lease: Lease,
    ) -> Self {
        let (frames, deadline) = (Frames::new(bytes_max), deadline.map(Timer::new));
        Self { source: Some(source), frames, route, format, deadline, call, _lease: lease }
    }

    /// The next element; it never fails.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        loop {
            let Some(source) = &mut self.source else {
                return Poll::Ready(None);
            };
            match self.frames.next() {
                Ok(Some(message)) => {
                    return Poll::Ready(match self.element(message) {
                        Ok(element) => Some(Frame::data(element)),
                        Err(error) => self.ended(Err(error)),
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    let error = Error::new(Code::Internal, format!("the stream cannot be passed on: {error}"));
                    return Poll::Ready(self.ended(Err(error)));
                }
            }
            match Pin::new(source).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.frames.push(&data),
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        let deadline = self.deadline.as_ref().map(|deadline| deadline.at);
                        return Poll::Ready(
                            self.ended(ending::outcome(trailers, deadline).and_then(|()| self.whole())),
                        );
                    }
                },
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.ended(Err(ending::failure(&error)))),
                Poll::Ready(None) => return Poll::Ready(self.ended(Err(ending::without_status()))),
                Poll::Pending if self.deadline.as_mut().is_some_and(|deadline| deadline.has_passed(cx)) => {
                    return Poll::Ready(self.ended(Err(deadline::exceeded())));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn element(&self, message: Bytes) -> Result<Bytes, Error> {
        let message = DynamicMessage::decode(self.route.rpc.output(), message).map_err(Error::internal)?;
        Ok(self.format.element(&json::write(&message, self.route.response_field.as_ref())?))
    }

    /// An error when the stream ended within a message.
    fn whole(&self) -> Result<(), Error> {
        if self.frames.is_empty() {
            Ok(())
        } else {
            Err(Error::new(Code::UpstreamFailed, "the instance ended its answer within a message"))
        }
    }

    fn ended(&mut self, outcome: Result<(), Error>) -> Option<Frame<Bytes>> {
        self.source = None;
        match outcome {
            Ok(()) => {
                self.call.finish(tonic::Code::Ok);
                self.format.end().map(Frame::data)
            }
            Err(error) => {
                tracing::debug!(parent: self.call.span(), %error, "stream broke off");
                self.call.finish(error.code().grpc());
                Some(Frame::data(self.format.error(&error)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_caller_accepts() {
        for (accept, expected) in [
            ("", Format::Lines),
            ("*/*", Format::Lines),
            ("application/json", Format::Lines),
            ("text/event-stream", Format::ServerSent),
            ("text/html, Text/Event-Stream;q=0.9", Format::ServerSent),
        ] {
            assert_eq!(Format::accepted(Some(&HeaderValue::from_static(accept))), expected, "{accept}");
        }
        assert_eq!(Format::accepted(None), Format::Lines);
    }
}
