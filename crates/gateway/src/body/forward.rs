//! The body of a request to an instance, and what it and the answer tell each other.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use mcp_chassis::server::GrpcFrameLimit;
use mcp_proto::Error;

/// Why a body broke off.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request to an instance.
#[derive(Debug)]
pub(crate) enum Forward {
    /// A caller's gRPC messages, as they come.
    Stream {
        /// The messages, each within the limit.
        messages: GrpcFrameLimit<Incoming>,
        /// What the answer has to know, and tells.
        link: Rc<Link>,
    },
    /// One message that is there already.
    Whole(Option<Bytes>),
}

/// Between the two directions of one call.
///
/// The request must end when the answer has ended, or its stream would stay open for as long as the caller likes; and
/// the answer must know when the request was cut off by us, to say why.
#[derive(Debug, Default)]
pub(crate) struct Link {
    fault: RefCell<Option<Error>>,
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Link {
    /// Why we cut the request off, if we did.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.fault.borrow().clone()
    }

    /// The answer has ended: nobody wants the rest of the request.
    pub(crate) fn close(&self) {
        self.over.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn watch(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &mut *waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            waker => *waker = Some(cx.waker().clone()),
        }
    }
}

impl Forward {
    /// A caller's messages as they come, and the link that its answer needs.
    pub(crate) fn stream(messages: Incoming) -> (Self, Rc<Link>) {
        let link = Rc::new(Link::default());
        (Self::Stream { messages: GrpcFrameLimit::new(messages), link: Rc::clone(&link) }, link)
    }
}

impl Body for Forward {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(message) => Poll::Ready(message.take().map(|message| Ok(Frame::data(message)))),
            Self::Stream { link, .. } if link.over.get() => {
                Poll::Ready(Some(Err(h2::Error::from(h2::Reason::CANCEL).into())))
            }
            Self::Stream { messages, link } => {
                let poll = Pin::new(messages).poll_frame(cx);
                match &poll {
                    Poll::Ready(Some(Err(error))) => {
                        if let Some(status) = GrpcFrameLimit::status_of(error.as_ref()) {
                            *link.fault.borrow_mut() = Some(Error::from(status));
                        }
                    }
                    Poll::Ready(_) => {}
                    Poll::Pending => link.watch(cx),
                }
                poll
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(message) => message.is_none(),
            Self::Stream { messages, .. } => messages.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        // Not that of a stream: it may be cut off, and a `content-length` would have promised more.
        match self {
            Self::Whole(message) => SizeHint::with_exact(message.as_ref().map_or(0, |message| message.len() as u64)),
            Self::Stream { .. } => SizeHint::default(),
        }
    }
}
