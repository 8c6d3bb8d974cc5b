//! The answer of a gRPC call on its way from an instance to the caller.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use mcp_proto::{Code, Error};
use tokio::time::Instant;

use super::link::Link;
use crate::{
    call::Call,
    deadline::{self, Timer},
    ending, form,
    upstream::{Download, Lease},
};

/// Frames as they come, until trailers end them: the instance's, or ours when something broke.
#[derive(Debug)]
pub(crate) struct Relay {
    /// `None` once it has ended.
    frames: Option<Download>,
    deadline: Option<Timer>,
    call: Call,
    link: Rc<Link>,
    lease: Lease,
}

impl Relay {
    /// An answer whose head has come.
    pub(crate) fn new(frames: Download, deadline: Option<Instant>, call: Call, link: Rc<Link>, lease: Lease) -> Self {
        Self { frames: Some(frames), deadline: deadline.map(Timer::new), call, link, lease }
    }

    /// The next frame; it never fails.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(frames) = &mut self.frames else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(frames).poll_frame(cx) {
            return Poll::Ready(Some(match frame {
                Some(Ok(frame)) => match frame.into_trailers() {
                    Ok(trailers) => Frame::trailers(self.ended(trailers)),
                    Err(data) => data,
                },
                Some(Err(error)) => Frame::trailers(self.broken(ending::failure(&error))),
                None => Frame::trailers(self.broken(ending::without_status())),
            }));
        }
        if self.deadline.as_mut().is_some_and(|deadline| deadline.has_passed(cx)) {
            return Poll::Ready(Some(Frame::trailers(self.broken(deadline::exceeded()))));
        }
        Poll::Pending
    }

    /// The instance has said how the call ended.
    fn ended(&mut self, mut trailers: HeaderMap) -> HeaderMap {
        let deadline = self.deadline.as_ref().map(|deadline| deadline.at);
        let code = match ending::judge(&mut trailers, deadline) {
            Some(code) => {
                self.lease.finish(code);
                code
            }
            None => {
                self.lease.broke();
                trailers.extend(form::trailers(ending::without_status()));
                Code::UpstreamFailed.grpc()
            }
        };
        self.close(code);
        trailers
    }

    /// The call ends here, by us.
    fn broken(&mut self, error: Error) -> HeaderMap {
        let error = self.link.fault().unwrap_or(error);
        tracing::debug!(trace_id = %self.call.identity(), %error, "answer broke off");
        self.lease.failed(&error);
        self.close(error.code().grpc());
        form::trailers(error)
    }

    fn close(&mut self, code: tonic::Code) {
        self.frames = None;
        self.link.close();
        self.call.finish(code);
    }
}

/// Whatever way it ends, the request need not go on.
impl Drop for Relay {
    fn drop(&mut self) {
        self.link.close();
        self.call.identity().received(self.link.received());
    }
}
