//! What the parts of one session share: its rules, and what is to be sent. It stays on its thread.

use std::{cell::RefCell, rc::Rc};

use bytes::{Bytes, BytesMut};
use futures_util::future::AbortHandle;
use http::HeaderValue;
use mcp_proto::{
    Code, Error,
    frame::{Flags, Frame, FrameCodec, Kind, Side},
};
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit, mpsc},
    time::Instant,
};
use tokio_util::codec::Encoder;

use super::{
    legacies::Legacy,
    out::Out,
    session::{Order, Session, kept},
    settings::FrameSettings,
};
use crate::caller::Caller;

/// Which answer of its call one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    /// Counted from 1.
    pub(crate) number: u64,
    /// Others follow.
    pub(crate) has_more: bool,
}

impl Part {
    /// The one answer of a call.
    pub(crate) const ONLY: Self = Self::last(1);

    /// The last one.
    pub(crate) const fn last(number: u64) -> Self {
        Self { number, has_more: false }
    }

    /// Its number, if it is one of many: a client that comes back must know which of them it has seen.
    const fn of_stream(self) -> Option<u64> {
        if self.number > 1 || self.has_more { Some(self.number) } else { None }
    }
}

/// Where answers go.
#[derive(Debug)]
enum Way {
    /// Out.
    Wire,
    /// Nowhere: the connection is gone, and its client may come back for what is kept. This is how much came since.
    Nowhere(Away),
    /// To the connection that its client came back with.
    Heir(mpsc::Sender<Frame>),
}

/// Answers that came while nobody was connected.
#[derive(Debug, Clone, Copy, Default)]
struct Away {
    frames: usize,
    bytes: usize,
}

/// One session's.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The rules.
    pub(crate) session: RefCell<Session>,
    /// What is to be written.
    pub(crate) out: RefCell<Out>,
    /// Held by the answer that waits for room. Those behind it wait for the turn, in their order, so that a call whose
    /// answers never end takes turns with the others.
    turn: Semaphore,
    room: Notify,
    way: RefCell<Way>,
    encoder: RefCell<FrameCodec>,
    settings: Rc<FrameSettings>,
    caller: Rc<Caller>,
    authorization: RefCell<Option<HeaderValue>>,
    streams: RefCell<Vec<(u32, AbortHandle)>>,
}

impl Desk {
    /// Of a session that begins.
    pub(crate) fn new(session: Session, out: Out, settings: Rc<FrameSettings>, caller: Rc<Caller>) -> Self {
        let encoder = FrameCodec::new(session.profile(), usize::MAX, Side::Server);
        Self {
            session: RefCell::new(session),
            out: RefCell::new(out),
            turn: Semaphore::new(1),
            room: Notify::new(),
            way: RefCell::new(Way::Wire),
            encoder: RefCell::new(encoder),
            settings,
            caller,
            authorization: RefCell::default(),
            streams: RefCell::default(),
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

    /// Sends the answer to a frame, when there is room and all that waited for it before have sent theirs.
    ///
    /// # Cancellation
    /// Nothing was sent.
    pub(crate) async fn answer(&self, asked: &Frame, body: Bytes, part: Part) {
        if !self.session.borrow().wants_answer(asked) {
            return;
        }
        let mut frame = Frame::reply_to(asked, Kind::Response, body);
        if part.has_more {
            frame.flags = frame.flags.with(Flags::MORE);
        }
        self.deliver(frame, part).await;
    }

    /// Ends a call with an error, as its last answer.
    ///
    /// # Cancellation
    /// Nothing was sent.
    pub(crate) async fn fail(&self, asked: &Frame, error: &Error) {
        tracing::debug!(command = %asked.command, %error, "a call failed");
        let order = self.session.borrow().refuse(asked, error);
        if let Some(Order::Send(frame)) = order {
            self.deliver(frame, Part::ONLY).await;
        }
    }

    async fn deliver(&self, frame: Frame, part: Part) {
        let _turn = self.turn().await;
        let heir = match &*self.way.borrow() {
            Way::Heir(heir) => Some(heir.clone()),
            Way::Wire | Way::Nowhere(_) => None,
        };
        match heir {
            // A client that left again needs no answer.
            Some(heir) => drop(heir.send(kept::numbered(frame, part.of_stream())).await),
            None => self.put(frame, part),
        }
    }

    /// Waits until it is one's turn and there is room. Where both are so already, no turn needs to be held.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        if self.has_room() && self.turn.available_permits() > 0 {
            return None;
        }
        // It is never closed.
        let turn = self.turn.acquire().await.ok();
        while !self.has_room() {
            self.room.notified().await;
        }
        turn
    }

    /// True when an answer, or an event, may be added to what waits to be written. That is so for half of what may wait: the
    /// rest is for what is sent at once, so that answers never keep the session from being read. While nobody is connected,
    /// half of what is kept may be new: the rest is what the client may have missed before.
    pub(crate) fn has_room(&self) -> bool {
        let settings = &self.settings;
        match *self.way.borrow() {
            Way::Wire => self.out.borrow().len() < settings.write_bytes_max.div_ceil(2),
            Way::Nowhere(Away { frames, bytes }) => {
                frames < settings.resume_frames_max.div_ceil(2) && bytes < settings.resume_bytes_max.div_ceil(2)
            }
            Way::Heir(_) => true,
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
        self.put(frame, Part::ONLY);
    }

    fn put(&self, frame: Frame, part: Part) {
        self.session.borrow_mut().keep(&frame, part.of_stream(), Instant::now());
        match &mut *self.way.borrow_mut() {
            Way::Wire => self.write(&frame),
            Way::Nowhere(away) => {
                away.frames += 1;
                away.bytes += frame.body.len();
            }
            // Answers come by `deliver`; nothing else is said by a session without a connection.
            Way::Heir(_) => {}
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
        if self.has_room() {
            self.room.notify_waiters();
        }
    }

    /// The connection is gone.
    pub(crate) fn cut_off(&self) {
        self.way.replace(Way::Nowhere(Away::default()));
        self.out.borrow_mut().clear();
        self.room.notify_waiters();
    }

    /// Its client came back by another connection: what comes yet goes there. Also gives the numbers of streaming calls that
    /// are to end, as they come; their end is that nobody takes answers any more.
    pub(crate) fn hand_over(&self) -> (Vec<Frame>, Legacy, mpsc::Receiver<u32>) {
        let streams: Vec<u32> = self.streams.borrow().iter().map(|(sequence, _)| *sequence).collect();
        let (heir, answers) = mpsc::channel(self.settings.resume_frames_max.max(1));
        let (ends, ended) = mpsc::channel(streams.len().max(1));
        let kept = self.session.borrow_mut().take_kept(Instant::now());
        self.cut_off();
        self.way.replace(Way::Heir(heir));
        (kept, Legacy::new(answers, ends, streams), ended)
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

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{Context, Poll},
    };

    use futures_util::{StreamExt, stream::FuturesUnordered, task::noop_waker};
    use mcp_proto::frame::{Command, Decoded, Profile};
    use tokio_util::codec::Decoder;

    use super::*;

    /// Of these, half is for answers: five of them.
    const WRITE_BYTES_MAX: usize = 1_200;

    /// A desk with calls that answer, and a connection that takes what it is told to.
    struct Fixture {
        desk: Rc<Desk>,
        calls: FuturesUnordered<Pin<Box<dyn Future<Output = u32>>>>,
        decoder: FrameCodec,
    }

    impl Fixture {
        fn new() -> Self {
            let settings = FrameSettings { write_bytes_max: WRITE_BYTES_MAX, ..FrameSettings::default() };
            let (settings, now) = (Rc::new(settings), Instant::now());
            let session = Session::new(Profile::Standard, Rc::clone(&settings), now);
            let caller = Rc::new(Caller::at(([127, 0, 0, 1], 1).into(), now.into_std()));
            let desk = Rc::new(Desk::new(session, Out::stream(), settings, caller));
            let decoder = FrameCodec::new(Profile::Standard, 1 << 20, Side::Client);
            Self { desk, calls: FuturesUnordered::new(), decoder }
        }

        /// A call that answers so often, 120 bytes each time.
        fn call(&mut self, sequence: u32, answers: usize) {
            let desk = Rc::clone(&self.desk);
            self.calls.push(Box::pin(async move {
                let asked = Frame::request(Command::CALL, sequence, "");
                for left in (0..answers).rev() {
                    let part = Part { number: 1, has_more: left > 0 };
                    desk.answer(&asked, vec![0; 100].into(), part).await;
                }
                sequence
            }));
        }

        /// Lets the calls go on; those that have ended.
        fn run(&mut self) -> Vec<u32> {
            let waker = noop_waker();
            let mut ended = Vec::new();
            // It asks to be called again after each call had its turn.
            for _ in 0..WRITE_BYTES_MAX {
                if let Poll::Ready(Some(sequence)) = self.calls.poll_next_unpin(&mut Context::from_waker(&waker)) {
                    ended.push(sequence);
                }
            }
            ended
        }

        /// The connection takes all that waits: whose answers they are.
        fn written(&mut self) -> Vec<u32> {
            let mut sent = Vec::new();
            let mut out = self.desk.out.borrow_mut();
            let Out::Stream(bytes) = &mut *out else { panic!("it is a stream") };
            while let Some(Decoded::Frame(frame)) = self.decoder.decode(bytes).unwrap() {
                sent.push(frame.sequence);
            }
            drop(out);
            self.desk.has_written();
            sent
        }
    }

    #[tokio::test]
    async fn an_answer_waits_for_one_of_a_stream_and_not_for_its_end() {
        let mut fixture = Fixture::new();
        fixture.call(1, usize::MAX);
        assert!(fixture.run().is_empty());
        fixture.call(2, 1);
        assert!(fixture.run().is_empty(), "there is no room");
        assert_eq!(fixture.written(), [1; 5]);
        assert_eq!(fixture.run(), [2]);
        assert_eq!(fixture.written(), [1, 2, 1, 1, 1], "the one that waited for room before it, and then it");
    }

    #[tokio::test]
    async fn streams_take_turns() {
        let mut fixture = Fixture::new();
        for sequence in 1..=3 {
            fixture.call(sequence, usize::MAX);
        }
        fixture.run();
        fixture.written();
        let mut sent = Vec::new();
        for _ in 0..6 {
            fixture.run();
            sent.extend(fixture.written());
        }
        let counts = [1, 2, 3].map(|sequence| sent.iter().filter(|sent| **sent == sequence).count());
        assert_eq!((sent.len(), counts), (30, [10, 10, 10]), "{sent:?}");
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_while_it_waits_leaves_its_turn_to_the_next() {
        let mut fixture = Fixture::new();
        for sequence in 1..=3 {
            fixture.call(sequence, usize::MAX);
        }
        fixture.run();
        fixture.calls.clear();
        fixture.call(4, 1);
        fixture.written();
        assert_eq!(fixture.run(), [4]);
    }
}
