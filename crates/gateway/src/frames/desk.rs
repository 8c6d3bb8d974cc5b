//! What the parts of one session share: its rules, and what is to be sent. It stays on its thread.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use bytes::{Bytes, BytesMut};
use futures_util::future::AbortHandle;
use http::HeaderValue;
use mcp_proto::{
    Code, Error,
    frame::{Flags, Frame, FrameCodec, Kind, Side},
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};
use tokio_util::codec::Encoder;

use super::{
    out::Out,
    session::{Order, Session},
    settings::FrameSettings,
};
use crate::caller::Caller;

/// Where answers go.
#[derive(Debug)]
enum Way {
    /// Out.
    Wire,
    /// Nowhere: the connection is gone, and its client may come back for what is kept.
    Nowhere,
    /// To the connection that its client came back with.
    Heir(mpsc::Sender<Frame>),
}

/// One session's.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The rules.
    pub(crate) session: RefCell<Session>,
    /// What is to be written.
    pub(crate) out: RefCell<Out>,
    has_room: Notify,
    way: RefCell<Way>,
    encoder: RefCell<FrameCodec>,
    settings: Rc<FrameSettings>,
    caller: Rc<Caller>,
    authorization: RefCell<Option<HeaderValue>>,
    streams: RefCell<Vec<(u32, AbortHandle)>>,
    /// Answers that were dropped because nobody could take them.
    lost: Cell<u64>,
}

impl Desk {
    /// Of a session that begins.
    pub(crate) fn new(session: Session, out: Out, settings: Rc<FrameSettings>, caller: Rc<Caller>) -> Self {
        let encoder = FrameCodec::new(session.profile(), usize::MAX, Side::Server);
        Self {
            session: RefCell::new(session),
            out: RefCell::new(out),
            has_room: Notify::new(),
            way: RefCell::new(Way::Wire),
            encoder: RefCell::new(encoder),
            settings,
            caller,
            authorization: RefCell::default(),
            streams: RefCell::default(),
            lost: Cell::new(0),
        }
    }

    /// The other end.
    pub(crate) fn caller(&self) -> &Rc<Caller> {
        &self.caller
    }

    /// The credentials that its client greeted with.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        self.authorization.borrow().clone()
    }

    /// Its client greeted with these.
    pub(crate) fn set_authorization(&self, value: Option<HeaderValue>) {
        self.authorization.replace(value);
    }

    /// True when more may be read: what was asked before is not waiting to be taken.
    pub(crate) fn takes_frames(&self) -> bool {
        self.out.borrow().len() < self.settings.write_bytes_max && self.session.borrow().takes_frames()
    }

    /// Sends the answer to a frame, when there is room.
    ///
    /// # Cancellation
    /// Nothing was sent.
    pub(crate) async fn answer(&self, asked: &Frame, body: Bytes, has_more: bool) {
        if !self.session.borrow().wants_answer(asked) {
            return;
        }
        let mut frame = Frame::reply_to(asked, Kind::Response, body);
        if has_more {
            frame.flags = frame.flags.with(Flags::MORE);
        }
        self.room().await;
        let heir = match &*self.way.borrow() {
            Way::Heir(heir) => Some(heir.clone()),
            Way::Wire | Way::Nowhere => None,
        };
        match heir {
            // A client that left again needs no answer.
            Some(heir) => drop(heir.send(frame).await),
            None => self.send(frame),
        }
    }

    async fn room(&self) {
        // Half of it: what streams send never keeps the session from being read.
        while matches!(*self.way.borrow(), Way::Wire) && self.out.borrow().len() >= self.settings.write_bytes_max / 2 {
            self.has_room.notified().await;
        }
    }

    /// Tells why a frame is not served.
    pub(crate) fn refuse(&self, asked: &Frame, error: &Error) {
        tracing::debug!(command = %asked.command, %error, "a frame was refused");
        let order = self.session.borrow().refuse(asked, error);
        if let Some(Order::Send(frame)) = order {
            self.send(frame);
        }
    }

    /// Sends a frame at once.
    pub(crate) fn send(&self, frame: Frame) {
        self.session.borrow_mut().keep(&frame, Instant::now());
        match &*self.way.borrow() {
            Way::Wire => self.write(&frame),
            Way::Nowhere => {}
            Way::Heir(heir) => {
                if heir.try_send(frame).is_err() {
                    self.lost.set(self.lost.get() + 1);
                }
            }
        }
    }

    fn write(&self, frame: &Frame) {
        let written = self.out.borrow_mut().push(|bytes: &mut BytesMut| self.encoder.borrow_mut().encode(frame, bytes));
        if let Err(error) = written {
            tracing::debug!(%error, kind = %frame.kind, "an answer cannot be sent in this profile");
            let error = Error::new(Code::PayloadTooLarge, format!("the answer cannot be sent: {error}"));
            let asked = Frame { kind: Kind::Request, ..frame.clone() };
            if frame.kind == Kind::Response
                && let Some(Order::Send(refusal)) = self.session.borrow().refuse(&asked, &error)
            {
                // An error is small, and of a kind that the profile has, or there was none.
                let again = |bytes: &mut BytesMut| self.encoder.borrow_mut().encode(&refusal, bytes);
                self.out.borrow_mut().push(again).unwrap_or_default();
            }
        }
    }

    /// Some of what was to be sent is.
    pub(crate) fn has_written(&self) {
        if self.out.borrow().len() < self.settings.write_bytes_max / 2 {
            self.has_room.notify_waiters();
        }
    }

    /// The connection is gone.
    pub(crate) fn cut_off(&self) {
        self.way.replace(Way::Nowhere);
        self.out.borrow_mut().clear();
        self.has_room.notify_waiters();
    }

    /// Its client came back by another connection: what comes yet goes there.
    pub(crate) fn hand_over(&self) -> (Vec<Frame>, mpsc::Receiver<Frame>) {
        let (heir, rest) = mpsc::channel(self.settings.resume_frames_max.max(1));
        let kept = self.session.borrow_mut().take_kept(Instant::now());
        self.cut_off();
        self.way.replace(Way::Heir(heir));
        (kept, rest)
    }

    /// True when nobody takes what comes yet.
    pub(crate) fn is_abandoned(&self) -> bool {
        match &*self.way.borrow() {
            Way::Wire | Way::Nowhere => false,
            Way::Heir(heir) => heir.is_closed(),
        }
    }

    /// A streaming call or a subscription that can be ended by its sequence number.
    pub(crate) fn add_stream(&self, sequence: u32, handle: AbortHandle) {
        self.streams.borrow_mut().push((sequence, handle));
    }

    /// Ends streaming calls with this number; `false` when there is none.
    pub(crate) fn end_stream(&self, sequence: u32) -> bool {
        let mut streams = self.streams.borrow_mut();
        let before = streams.len();
        streams.retain(|(known, handle)| {
            if *known == sequence {
                handle.abort();
            }
            *known != sequence && !handle.is_aborted()
        });
        streams.len() < before
    }

    /// A streaming call has ended by itself.
    pub(crate) fn forget_stream(&self, sequence: u32) {
        self.streams.borrow_mut().retain(|(known, _)| *known != sequence);
    }
}
