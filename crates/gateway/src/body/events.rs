//! A gRPC stream as JSON, one element for each message as soon as it comes.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Body, Frame};
use mcp_proto::{Code, Error};
use tokio::time::Instant;

use super::inbound::BoxError;
use crate::{
    call::Call,
    deadline::{self, Timer},
    ending, form,
    transcode::{convert::Converter, frames::Frames},
    upstream::{Download, Lease},
};

/// How elements are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// A line each. An error is the line `{"error": …}`.
    Lines,
    /// Server-sent events. An error is an event `error`; a stream that ended well ends with an event `end`, so that a
    /// browser need not connect again.
    ServerSent,
    /// Content that is not JSON, one part after the other. An error breaks it off: there is no place for it.
    Raw,
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
            Self::Raw => "application/octet-stream",
        })
    }

    fn element(self, content: Bytes) -> Bytes {
        match self {
            Self::Raw => content,
            Self::Lines => [&content[..], b"\n"].concat().into(),
            Self::ServerSent => [b"data: ", &content[..], b"\n\n"].concat().into(),
        }
    }

    fn error(self, error: Error) -> Result<Bytes, BoxError> {
        let json = form::json(&error);
        match self {
            Self::Lines => Ok([b"{\"error\":", json.trim_ascii_end(), b"}\n"].concat().into()),
            Self::ServerSent => Ok([b"event: error\ndata: ", json.trim_ascii_end(), b"\n\n"].concat().into()),
            Self::Raw => Err(error.into()),
        }
    }

    /// What a stream that ended well ends with.
    pub(crate) fn end(self) -> Option<Bytes> {
        match self {
            Self::Lines | Self::Raw => None,
            Self::ServerSent => Some(Bytes::from_static(b"event: end\ndata: {}\n\n")),
        }
    }
}

/// The elements of a stream, the error of one that breaks as the last.
#[derive(Debug)]
pub(crate) struct Events {
    /// `None` once it has ended.
    source: Option<Download>,
    frames: Frames,
    /// What comes before all that is still to be read.
    first: Option<Bytes>,
    converter: Converter,
    format: Format,
    deadline: Option<Timer>,
    call: Call,
    lease: Lease,
}

impl Events {
    /// A stream whose head has come, and what of its messages has been read.
    pub(crate) fn new(
        (source, frames): (Download, Frames),
        (converter, format): (Converter, Format),
        deadline: Option<Instant>,
        call: Call,
        lease: Lease,
    ) -> Self {
        let deadline = deadline.map(Timer::new);
        Self { source: Some(source), frames, first: None, converter, format, deadline, call, lease }
    }

    /// The same with `content` in front.
    pub(crate) fn after(mut self, content: Bytes) -> Self {
        self.first = Some(content).filter(|content| !content.is_empty());
        self
    }

    /// The next element. Only raw content fails.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(content) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(content))));
        }
        loop {
            let Some(source) = &mut self.source else {
                return Poll::Ready(None);
            };
            match self.frames.next() {
                Ok(Some(message)) => {
                    return Poll::Ready(match self.element(message) {
                        Ok(element) => Some(Ok(Frame::data(element))),
                        // What we cannot write says nothing about the instance.
                        Err(error) => self.close(Err(error)),
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
        self.converter.decode(message).map(|content| self.format.element(content.bytes))
    }

    /// An error when the stream ended within a message.
    fn whole(&self) -> Result<(), Error> {
        if self.frames.is_empty() {
            Ok(())
        } else {
            Err(Error::new(Code::UpstreamFailed, "the instance ended its answer within a message"))
        }
    }

    /// The instance has ended the stream, in whatever way.
    fn ended(&mut self, outcome: Result<(), Error>) -> Option<Result<Frame<Bytes>, BoxError>> {
        match &outcome {
            Ok(()) => self.lease.finish(tonic::Code::Ok),
            Err(error) => self.lease.failed(error),
        }
        self.close(outcome)
    }

    fn close(&mut self, outcome: Result<(), Error>) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.source = None;
        match outcome {
            Ok(()) => {
                self.call.finish(tonic::Code::Ok);
                self.format.end().map(|end| Ok(Frame::data(end)))
            }
            Err(error) => {
                tracing::debug!(trace_id = %self.call.identity(), %error, "stream broke off");
                self.call.finish(error.code().grpc());
                Some(self.format.error(error).map(Frame::data))
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
