//! One session of the wire frame as rules: frames and time go in, orders come out. It does no I/O and has no clock.
//!
//! States: a session is *active* while something comes, *idle* once it has been silent for a ping interval (it is pinged),
//! *unresponsive* when that brought nothing for another interval, and *closed* when it has been silent for too long.
//! While it is not read because it has as many calls as it may, or takes no answers, its silence does not count.
//!
//! What a session may have at a time is bounded: calls by not reading on, streams and subscriptions by a refusal.

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod drive;
pub(super) mod kept;
#[cfg(test)]
mod tests;

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use mcp_proto::{
    Code, Error,
    frame::{
        BodyCodec, Broken, Frame, Kind, Metadata, Profile,
        hello::{Hello, HelloAck},
    },
};
use tokio::time::Instant;

pub(crate) use self::kept::Budget;
use self::kept::Kept;
use super::settings::FrameSettings;

/// Longest name that a client may give itself, in bytes.
const CLIENT_BYTES_MAX: usize = 200;

/// How alive a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Something came within the last ping interval.
    Active,
    /// Nothing did; it was pinged.
    Idle,
    /// A ping brought nothing within another interval.
    Unresponsive,
    /// It is over.
    Closed,
}

/// What a frame, or the time, asks for.
#[derive(Debug)]
pub(crate) enum Order {
    /// Send this.
    Send(Frame),
    /// Find out who greets, and take over the session that is to be resumed; then call [`Session::greeted`] or
    /// [`Session::not_greeted`].
    Greet(Greeting),
    /// Make the call that this frame asks for.
    Call(Frame),
    /// Begin a subscription, and answer.
    Subscribe(Frame),
    /// End the subscription, or the streaming call, that this frame names, and send the answer after it.
    End(Frame, Frame),
}

/// What a client said first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// Its hello, without the body.
    hello: Frame,
    /// Its credentials, if it showed any.
    pub(crate) authorization: Option<String>,
    /// The session that it comes back to; empty: none.
    pub(crate) resume: String,
    codec: BodyCodec,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session {
    profile: Profile,
    settings: Rc<FrameSettings>,
    /// When something came last.
    heard: Instant,
    /// When it was pinged last, if nothing has come since.
    pinged: Option<Instant>,
    calls: usize,
    streams: usize,
    codec: BodyCodec,
    is_greeted: bool,
    is_draining: bool,
    is_closing: bool,
    kept: Option<Box<Kept>>,
}

impl Session {
    /// A session that begins now.
    pub(crate) fn new(profile: Profile, settings: Rc<FrameSettings>, now: Instant) -> Self {
        Self {
            profile,
            settings,
            heard: now,
            pinged: None,
            calls: 0,
            streams: 0,
            codec: BodyCodec::Json,
            is_greeted: false,
            is_draining: false,
            is_closing: false,
            kept: None,
        }
    }

    /// What it speaks.
    pub(crate) fn profile(&self) -> Profile {
        self.profile
    }

    /// True when the next frame may be taken. Whoever reads must not, otherwise.
    pub(crate) fn takes_frames(&self) -> bool {
        self.calls < self.settings.calls_max && !self.is_closing
    }

    /// True when nothing more is to be read: what is to be sent is sent, then it is closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// True when it is told to go away and has nothing left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.is_closing || (self.is_draining && self.calls == 0 && self.streams == 0)
    }

    /// How alive it is.
    pub(crate) fn state(&self, now: Instant) -> State {
        let silent = now.saturating_duration_since(self.heard);
        match () {
            () if self.is_closing || silent >= self.settings.idle_timeout => State::Closed,
            () if silent >= self.settings.ping_interval * 2 => State::Unresponsive,
            () if silent >= self.settings.ping_interval => State::Idle,
            () => State::Active,
        }
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub(crate) fn next_tick(&self) -> Instant {
        let dead = self.heard + self.settings.idle_timeout;
        if !self.has_notices() {
            return dead;
        }
        dead.min(self.pinged.unwrap_or(self.heard) + self.settings.ping_interval)
    }

    /// Time has passed: pings a silent session, and closes one that has been silent for too long. `is_read` is false while
    /// nobody listens to it.
    pub(crate) fn tick(&mut self, now: Instant, is_read: bool) -> Option<Order> {
        if let Some(kept) = &mut self.kept {
            kept.expire(now, self.settings.resume_window);
        }
        let waits_for_us = self.calls > 0 && !self.has_notices();
        if !is_read || !self.takes_frames() || waits_for_us {
            // Nobody listened, or the client has no way to say anything: its silence says nothing.
            self.heard = now;
            self.pinged = None;
            return None;
        }
        if self.state(now) == State::Closed {
            self.is_closing = true;
            return None;
        }
        let last = self.pinged.unwrap_or(self.heard);
        if !self.has_notices() || now.saturating_duration_since(last) < self.settings.ping_interval {
            return None;
        }
        self.pinged = Some(now);
        Some(Order::Send(Frame::new(Kind::Ping, 0)))
    }

    /// True when the profile has pings, errors and notices.
    fn has_notices(&self) -> bool {
        self.profile == Profile::Standard
    }

    /// A frame came.
    pub(crate) fn frame(&mut self, frame: Frame, now: Instant) -> Option<Order> {
        self.heard = now;
        self.pinged = None;
        match frame.kind {
            Kind::Request | Kind::Notification | Kind::Subscribe if self.is_draining => {
                self.refuse(&frame, &going_away())
            }
            Kind::Request | Kind::Notification => Some(Order::Call(frame)),
            Kind::Subscribe => Some(Order::Subscribe(frame)),
            Kind::Unsubscribe => {
                let answer = Frame::reply_to(&frame, Kind::Response, Bytes::new());
                Some(Order::End(frame, answer))
            }
            Kind::Ping => Some(Order::Send(Frame::reply_to(&frame, Kind::Pong, frame.body.clone()))),
            Kind::Hello => self.hello(frame),
            Kind::GoAway => {
                // The client leaves: what it has asked for is finished.
                self.is_draining = true;
                None
            }
            Kind::Response | Kind::Event | Kind::HelloAck => {
                self.refuse(&frame, &Error::invalid("kind", "is one that only a server sends"))
            }
            Kind::Pong | Kind::Error => None,
        }
    }

    /// What came was no frame.
    pub(crate) fn broken(&mut self, broken: Broken, now: Instant) -> Option<Order> {
        self.heard = now;
        self.pinged = None;
        self.is_closing |= broken.is_fatal();
        let error = describe(broken, self.settings.frame_bytes_max);
        let kind = if matches!(broken, Broken::Version { .. }) { Kind::GoAway } else { Kind::Error };
        let frame = Frame { kind, ..Frame::error(broken.sequence(), &error) };
        self.has_notices().then_some(Order::Send(frame))
    }

    fn hello(&mut self, mut frame: Frame) -> Option<Order> {
        if std::mem::replace(&mut self.is_greeted, true) {
            return self.refuse(&frame, &Error::new(Code::FailedPrecondition, "a session has one hello"));
        }
        match read_hello(&frame) {
            Ok((hello, authorization)) => {
                frame.body = Bytes::new();
                frame.metadata = Bytes::new();
                let codec = hello.codec();
                Some(Order::Greet(Greeting { hello: frame, authorization, resume: hello.resume, codec }))
            }
            Err(error) => {
                self.is_greeted = false;
                self.refuse(&frame, &error)
            }
        }
    }

    /// The client of a greeting is known: the session has the id `id`, and answers are kept within the budget.
    pub(crate) fn greeted(&mut self, greeting: &Greeting, id: &str, budget: Budget) -> Frame {
        self.codec = greeting.codec;
        self.kept = (!self.settings.resume_window.is_zero()).then(|| Box::new(Kept::new(budget)));
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let ack = HelloAck {
            session: id.to_owned(),
            codec: self.codec.name().to_owned(),
            ping_interval_ms: millis(self.settings.ping_interval),
            idle_timeout_ms: millis(self.settings.idle_timeout),
            max_frame: self.settings.frame_bytes_max as u64,
        };
        ack.to_frame(&greeting.hello)
    }

    /// A greeting was refused: the client may greet again.
    pub(crate) fn not_greeted(&mut self, greeting: &Greeting, error: &Error) -> Option<Order> {
        self.is_greeted = false;
        self.refuse(&greeting.hello, error)
    }

    /// A call begins.
    ///
    /// # Errors
    /// `OVERLOADED`: it is a stream, and there are as many as there may be.
    pub(crate) fn begin(&mut self, is_stream: bool) -> Result<(), Error> {
        if !is_stream {
            self.calls += 1;
            return Ok(());
        }
        let max = self.settings.subscriptions_max;
        if self.streams >= max {
            let text = format!("the session has {max} streams and subscriptions: end one first");
            return Err(Error::new(Code::Overloaded, text).with_metadata("limit", max.to_string()));
        }
        self.streams += 1;
        Ok(())
    }

    /// It goes on with so many streaming calls of the session that it resumes.
    pub(crate) fn inherit(&mut self, streams: usize) {
        self.streams += streams;
    }

    /// A call has ended.
    pub(crate) fn ended(&mut self, is_stream: bool) {
        let count = if is_stream { &mut self.streams } else { &mut self.calls };
        *count = count.saturating_sub(1);
    }

    /// The gateway stops: what is in flight is finished, nothing new begins.
    pub(crate) fn drain(&mut self) -> Option<Order> {
        self.is_draining = true;
        let frame = Frame { kind: Kind::GoAway, ..Frame::error(0, &going_away()) };
        self.has_notices().then_some(Order::Send(frame))
    }

    /// Ends it for a reason that its client is told.
    pub(crate) fn close(&mut self, error: &Error) -> Option<Order> {
        self.is_closing = true;
        let frame = Frame { kind: Kind::GoAway, ..Frame::error(0, error) };
        self.has_notices().then_some(Order::Send(frame))
    }

    /// Keeps an answer for a client that comes back without having read it. `number`: which one of its stream it is.
    pub(crate) fn keep(&mut self, frame: &Frame, number: Option<u64>, now: Instant) {
        if let Some(kept) = &mut self.kept
            && frame.sequence != 0
            && matches!(frame.kind, Kind::Response | Kind::Error)
        {
            kept.push((frame.clone(), number), now, &self.settings);
        }
    }

    /// The answers that its client may have missed, the oldest first.
    pub(crate) fn take_kept(&mut self, now: Instant) -> Vec<Frame> {
        let window = self.settings.resume_window;
        self.kept.as_mut().map(|kept| kept.take(now, window)).unwrap_or_default()
    }

    /// True when the sender of a frame waits for an answer.
    pub(crate) fn wants_answer(&self, asked: &Frame) -> bool {
        !self.has_notices() || (asked.sequence != 0 && asked.kind != Kind::Notification)
    }

    /// The answer to a frame that cannot be served; `None` when it wants none, or the profile has no errors.
    pub(crate) fn refuse(&self, asked: &Frame, error: &Error) -> Option<Order> {
        (self.has_notices() && self.wants_answer(asked)).then(|| Order::Send(Frame::error_to(asked, error)))
    }
}

/// What a hello says, and the credentials beside it.
fn read_hello(frame: &Frame) -> Result<(Hello, Option<String>), Error> {
    let hello = Hello::parse(&frame.body)?;
    if hello.client.len() > CLIENT_BYTES_MAX {
        return Err(Error::invalid("client", format!("must have at most {CLIENT_BYTES_MAX} bytes")));
    }
    if !hello.codecs.is_empty() && hello.codecs.iter().all(|name| BodyCodec::from_name(name).is_none()) {
        return Err(Error::invalid("codecs", "must name `json` or `protobuf`"));
    }
    let authorization = frame.metadata()?.get(Metadata::AUTHORIZATION).map(str::to_owned);
    Ok((hello, authorization))
}

fn going_away() -> Error {
    Error::new(Code::ShuttingDown, "the gateway is stopping: open another connection")
}

/// The error for what came.
fn describe(broken: Broken, bytes_max: usize) -> Error {
    match broken {
        Broken::Crc { .. } => Error::new(Code::MalformedBody, "the frame's checksum is wrong"),
        Broken::Magic { .. } => Error::new(Code::MalformedBody, "bytes were skipped that begin no frame"),
        Broken::Oversize { length, .. } => {
            let text = format!("the frame's payload has {length} bytes, the limit is {bytes_max}");
            Error::new(Code::PayloadTooLarge, text).with_metadata("limit_bytes", bytes_max.to_string())
        }
        Broken::Version { major } => {
            Error::new(Code::Unimplemented, format!("version {major} of the frame is not spoken here, only 1"))
        }
        Broken::Kind { kind, .. } => Error::invalid("kind", format!("is {kind}, which is none")),
        Broken::Codec { codec, .. } => Error::invalid("codec", format!("is {codec}, which is none")),
        Broken::Metadata { .. } => Error::new(Code::MalformedBody, "the metadata block is longer than the payload"),
    }
}
