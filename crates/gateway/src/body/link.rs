//! Between the two directions of one call, and between its attempts.
//!
//! The request must end when the answer has ended, or its stream would stay open for as long as the caller likes; and
//! the answer must know when the request was cut off by us, to say why. Until the answer begins, the beginning of the
//! request is kept, so that another attempt can send it again.

use std::{
    cell::{Cell, RefCell},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use mcp_chassis::server::GrpcFrameLimit;
use mcp_proto::Error;

use super::{
    inbound::BoxError,
    kept::{Kept, Room},
    source::Source,
};

/// What connects a caller's request, its attempts and the answer.
#[derive(Debug)]
pub(crate) struct Link {
    caller: RefCell<Caller>,
    /// The number of the newest attempt, from 0: only it reads on.
    attempt: Cell<u32>,
    fault: RefCell<Option<Error>>,
    over: Cell<bool>,
    /// Bytes that came from the caller and were not told yet.
    received: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

/// The caller's messages.
#[derive(Debug)]
struct Caller {
    /// Each within the limit. `None` when nobody wants more of them.
    messages: Option<GrpcFrameLimit<Source>>,
    kept: Kept,
    ended: bool,
}

impl Link {
    fn new(messages: Source) -> Rc<Self> {
        let caller = Caller { messages: Some(GrpcFrameLimit::new(messages)), kept: Kept::default(), ended: false };
        Rc::new(Self {
            caller: RefCell::new(caller),
            attempt: Cell::new(0),
            fault: RefCell::default(),
            over: Cell::new(false),
            received: Cell::new(0),
            waker: RefCell::default(),
        })
    }

    /// Keeps the request from now on, up to so many bytes; nothing of it may have been read.
    pub(crate) fn keep(&self, bytes_max: usize, room: &Rc<Room>) {
        self.caller.borrow_mut().kept.start(bytes_max, room);
    }

    /// The answer has begun: the request is not sent again.
    pub(crate) fn commit(&self) {
        // A later attempt may still be reading what was kept.
        if self.attempt.get() == 0 {
            self.caller.borrow_mut().kept.release();
        }
    }

    /// True when the request can be sent again.
    pub(crate) fn is_kept(&self) -> bool {
        self.caller.borrow().kept.is_all()
    }

    /// True when the whole request is there and can be sent again, even while it is being sent.
    pub(crate) fn is_whole(&self) -> bool {
        let caller = self.caller.borrow();
        caller.kept.is_all() && caller.is_ended()
    }

    /// The request from the beginning. Of the attempts before, none reads on.
    pub(crate) fn again(self: &Rc<Self>) -> Reader {
        self.attempt.set(self.attempt.get() + 1);
        Reader { link: Rc::clone(self), attempt: self.attempt.get(), next: 0 }
    }

    /// Why we cut the request off, if we did.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.fault.borrow().clone()
    }

    /// Bytes that have come from the caller since this was asked last.
    pub(crate) fn received(&self) -> usize {
        self.received.take()
    }

    /// The answer has ended: nobody wants the rest of the request.
    pub(crate) fn close(&self) {
        self.over.set(true);
        self.caller.borrow_mut().messages = None;
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

impl Caller {
    fn is_ended(&self) -> bool {
        self.ended || self.messages.as_ref().is_some_and(Body::is_end_stream)
    }
}

/// The request as one attempt sends it: what was kept, then what comes.
#[derive(Debug)]
pub(crate) struct Reader {
    link: Rc<Link>,
    attempt: u32,
    /// The number of the next frame.
    next: usize,
}

impl Reader {
    /// The first attempt's.
    pub(crate) fn first(messages: Source) -> Self {
        Self { link: Link::new(messages), attempt: 0, next: 0 }
    }

    /// What it shares with the answer and with other attempts.
    pub(crate) fn link(&self) -> &Rc<Link> {
        &self.link
    }

    /// The next frame.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let link = &self.link;
        if link.over.get() {
            return cancelled();
        }
        let mut caller = link.caller.borrow_mut();
        if let Some(frame) = caller.kept.get(self.next) {
            self.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        if caller.ended {
            return Poll::Ready(None);
        }
        let Caller { messages: Some(messages), kept, ended } = &mut *caller else {
            return cancelled();
        };
        if self.attempt != link.attempt.get() {
            return cancelled();
        }
        let poll = Pin::new(messages).poll_frame(cx);
        match &poll {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) => {
                    link.received.set(link.received.get() + data.len());
                    kept.push(data);
                    self.next += 1;
                }
                None => kept.release(),
            },
            Poll::Ready(Some(Err(error))) => {
                kept.release();
                if let Some(status) = GrpcFrameLimit::status_of(error.as_ref()) {
                    *link.fault.borrow_mut() = Some(Error::from(status));
                }
            }
            Poll::Ready(None) => *ended = true,
            Poll::Pending => link.watch(cx),
        }
        poll
    }

    /// True when there is nothing more to send.
    pub(crate) fn is_end_stream(&self) -> bool {
        let caller = self.link.caller.borrow();
        caller.kept.get(self.next).is_none() && caller.is_ended()
    }
}

/// When the instance wants no more of the request, and it is not sent again, the caller's messages are let go.
impl Drop for Reader {
    fn drop(&mut self) {
        if self.attempt == self.link.attempt.get() && !self.link.is_kept() {
            self.link.caller.borrow_mut().messages = None;
        }
    }
}

fn cancelled() -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    Poll::Ready(Some(Err(h2::Error::from(h2::Reason::CANCEL).into())))
}
