//! One session over its connection, as one task: decodes what comes, makes calls, writes what they answer.
//!
//! It reads on only when there is room for another call and for its answer, so a client that asks faster than it reads is
//! slowed down by its own connection. Calls run inside of this task and end with it.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable},
    stream::FuturesUnordered,
};
use http::HeaderValue;
use mcp_proto::{
    Code, Error,
    frame::{Broken, Decoded, Frame, FrameCodec, Profile, Side},
};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_util::{codec::Decoder, sync::CancellationToken};

use super::{
    ask, call,
    desk::Desk,
    hello,
    legacies::{Come, Legacies, Legacy},
    session::{Order, Session},
    sessions::{Claim, Inheritance, Place},
    topics::hub::{Mailbox, Subscribed},
    wire::{Came, Input, Wire},
};
use crate::{
    caller::Caller,
    core::{Buffered, Core},
    plane::Held,
};

/// Longest time that saying goodbye may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Bytes of an unfinished frame that need no room of the thread's.
const FREE_BYTES: usize = 64 * 1024;

/// A call that runs. It tells whether it was a stream.
type Calling = Pin<Box<dyn Future<Output = bool>>>;

/// How a connection ends.
enum End {
    /// All was said.
    Done,
    /// The other end has gone, or does not answer.
    Lost,
    /// Its client is back by another connection.
    Claimed(Claim),
}

/// What happens next.
enum Event {
    /// There may be room for what could not be taken before, or nothing left to do.
    Room,
    Came(Came),
    Tick,
    Drain,
    End(End),
}

/// What fills the room that there is for answers and events.
const SOURCES: usize = 3;

/// A connection on which a session begins.
pub(crate) struct Begun {
    /// The connection.
    pub(crate) wire: Wire,
    /// Who is at the other end.
    pub(crate) caller: Rc<Caller>,
    /// The credentials that the connection was opened with.
    pub(crate) authorization: Option<HeaderValue>,
    /// To be dropped when the connection ends.
    pub(crate) held: Option<Held>,
}

/// A session and what runs for it.
pub(super) struct Talk {
    pub(super) core: Rc<Core>,
    pub(super) desk: Rc<Desk>,
    calls: FuturesUnordered<Calling>,
    pub(super) place: Option<Place>,
    /// Calls of the session that this one goes on with.
    inherited: Legacies,
    /// Which of the sources is the next to fill the room that there is.
    first: usize,
    /// When something was written last, or began to wait for it.
    wrote: Instant,
    /// Nothing waits for the other end to take it.
    is_flushed: bool,
    /// What an unfinished frame takes.
    room: Option<Buffered>,
    /// What it is subscribed to, each with the frame that asked for it.
    pub(super) subscriptions: Vec<(Subscribed, Frame)>,
    pub(super) mailbox: Option<Arc<Mailbox>>,
    /// What it was subscribed to when its connection ended.
    left: Vec<Frame>,
}

/// Serves a session until its end. `drain`: finish what is running and take nothing new.
///
/// # Cancellation
/// Dropping the future cancels its calls and breaks the connection off.
pub(crate) async fn serve(core: Rc<Core>, begun: Begun, profile: Profile, drain: CancellationToken) {
    let Begun { mut wire, caller, authorization, held } = begun;
    let now = Instant::now();
    let settings = Rc::clone(&core.frames.settings);
    let session = Session::new(profile, Rc::clone(&settings), now);
    let desk = Rc::new(Desk::new(session, wire.out(), settings, caller));
    desk.set_authorization(authorization);
    let _counted = core.shared.frames.instruments.sessions.raise();
    let calls = FuturesUnordered::new();
    let mut talk = Talk {
        core,
        desk,
        calls,
        place: None,
        inherited: Legacies::default(),
        first: 0,
        wrote: now,
        is_flushed: true,
        room: None,
        subscriptions: Vec::new(),
        mailbox: None,
        left: Vec::new(),
    };
    let end = talk.run(&mut wire, &drain).await;
    talk.room = None;
    if !matches!(end, End::Lost) {
        let is_clean = !talk.desk.session.borrow().is_closing();
        // Whoever does not answer is left alone.
        timeout(CLOSE_MAX, wire.close(is_clean)).await.map_or(Ok(()), |closed| closed).unwrap_or_default();
    }
    drop((wire, held));
    talk.desk.cut_off();
    // What happens while nobody is connected is missed.
    talk.left = std::mem::take(&mut talk.subscriptions).into_iter().map(|(_, frame)| frame).collect();
    talk.mailbox = None;
    match end {
        End::Done => {}
        End::Lost => talk.wait(&drain).await,
        End::Claimed(claim) => talk.hand_over(claim).await,
    }
}

impl Talk {
    async fn run(&mut self, wire: &mut Wire, drain: &CancellationToken) -> End {
        let settings = &self.core.frames.settings;
        let mut decoder = FrameCodec::new(self.desk.session.borrow().profile(), settings.frame_bytes_max, Side::Server);
        let mut input = Input::new(self.core.frames.scratch.clone());
        let mut timer = pin!(sleep_until(self.desk.session.borrow().next_tick()));
        let mut draining = pin!(drain.cancelled());
        let mut is_draining = false;
        loop {
            self.take(&mut decoder, &mut input).await;
            if self.is_done() {
                return End::Done;
            }
            let event = poll_fn(|cx| {
                if !is_draining && draining.as_mut().poll(cx).is_ready() {
                    is_draining = true;
                    return Poll::Ready(Event::Drain);
                }
                self.poll(cx, wire, &mut input, timer.as_mut())
            });
            match event.await {
                Event::Room => {}
                Event::Came(Came::Bytes) => self.make_room(&input),
                Event::Came(Came::Message) => match decoder.decode_message(&mut input.bytes) {
                    Ok(decoded) => self.decoded(decoded).await,
                    Err(_) => return End::Lost,
                },
                Event::Came(Came::Text) => {
                    let error = Error::new(Code::UnsupportedMediaType, "a frame is a binary message, not text");
                    self.close(&error);
                }
                Event::Came(Came::TooLarge) => {
                    let length = self.core.frames.settings.frame_bytes_max as u64 + 1;
                    self.decoded(Decoded::Broken(Broken::Oversize { length, sequence: 0 })).await;
                }
                Event::Came(Came::End) => return End::Lost,
                Event::Tick => {
                    if self.tick() {
                        return End::Lost;
                    }
                    let next = self.desk.session.borrow().next_tick();
                    timer.as_mut().reset(next);
                }
                Event::Drain => {
                    let order = self.desk.session.borrow_mut().drain();
                    self.carry_out(order);
                    // Events have no end of their own.
                    self.unsubscribe(|_| true);
                }
                Event::End(end) => return end,
            }
        }
    }

    /// True when all is done and told.
    fn is_done(&self) -> bool {
        let session = self.desk.session.borrow();
        let has_ended = session.is_closing() || (session.is_done() && self.inherited.is_empty());
        self.is_flushed && self.desk.out.borrow().is_empty() && has_ended
    }

    /// Goes on with all that goes on without a new frame.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        input: &mut Input,
        timer: Pin<&mut Sleep>,
    ) -> Poll<Event> {
        // All that answers comes before writing, so that answers that are ready together are written together.
        let mut has_room = self.fill(cx);
        if self.is_flushed && !self.desk.out.borrow().is_empty() {
            self.is_flushed = false;
            self.wrote = Instant::now();
        }
        if !self.is_flushed {
            let (desk, wrote) = (&self.desk, &mut self.wrote);
            match wire.poll_write(cx, &desk.out, || *wrote = Instant::now()) {
                Poll::Ready(Ok(())) => (self.is_flushed, has_room) = (true, true),
                Poll::Ready(Err(_)) => return Poll::Ready(Event::End(End::Lost)),
                Poll::Pending => {}
            }
            self.desk.has_written();
        }
        if self.is_done() {
            return Poll::Ready(Event::Room);
        }
        // It is read whatever there is to write: a client that takes much may still ask, and end what it takes.
        if self.desk.takes_frames() {
            match wire.poll_read(cx, input) {
                Poll::Ready(Ok(came)) => return Poll::Ready(Event::Came(came)),
                Poll::Ready(Err(_)) => return Poll::Ready(Event::End(End::Lost)),
                Poll::Pending => {}
            }
        }
        if let Some(place) = &mut self.place
            && let Poll::Ready(claimed) = place.claimed.poll_unpin(cx)
        {
            return Poll::Ready(Event::End(claimed.map_or(End::Lost, End::Claimed)));
        }
        if timer.poll(cx).is_ready() {
            return Poll::Ready(Event::Tick);
        }
        if has_room { Poll::Ready(Event::Room) } else { Poll::Pending }
    }

    /// Goes on with the calls, the events and what is inherited; true when there may be room for another frame. Each fills
    /// what room it finds, so each is the first in its turn.
    fn fill(&mut self, cx: &mut Context<'_>) -> bool {
        let had_room = self.desk.has_room();
        let (mut has_ended, mut is_slow) = (false, false);
        for source in 0..SOURCES {
            match (self.first + source) % SOURCES {
                0 => has_ended |= self.poll_calls(cx),
                1 => is_slow |= self.poll_events(cx),
                _ => self.poll_inherited(cx),
            }
        }
        if had_room {
            self.first = (self.first + 1) % SOURCES;
        }
        if is_slow && !self.desk.session.borrow().is_closing() {
            let text = "more events wait than the subscription lets wait: subscribe again";
            self.close(&Error::new(Code::Overloaded, text));
        }
        has_ended
    }

    /// Passes on answers of the session that this one goes on with.
    fn poll_inherited(&mut self, cx: &mut Context<'_>) {
        while self.desk.has_room()
            && let Poll::Ready(come) = self.inherited.poll(cx)
        {
            let over = match come {
                Come::Answer(frame, ends) => {
                    self.desk.send(frame);
                    usize::from(ends)
                }
                Come::Over(streams) => streams,
            };
            (0..over).for_each(|_| self.desk.session.borrow_mut().ended(true));
        }
    }

    /// Takes over the calls of the session that this one goes on with.
    pub(super) fn inherit(&mut self, legacies: Vec<Legacy>) {
        let streams = self.inherited.add(legacies);
        self.desk.session.borrow_mut().inherit(streams);
    }

    /// Ends a streaming call that was inherited; `false` when there is none of this number.
    pub(super) fn end_inherited(&mut self, number: u32) -> bool {
        let has_ended = self.inherited.end(number);
        if has_ended {
            self.desk.session.borrow_mut().ended(true);
        }
        has_ended
    }

    /// Goes on with the calls; true when one has ended.
    fn poll_calls(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_ended = false;
        while let Poll::Ready(Some(is_stream)) = self.calls.poll_next_unpin(cx) {
            self.desk.session.borrow_mut().ended(is_stream);
            has_ended = true;
        }
        if has_ended && self.calls.is_empty() {
            // An idle session gives the memory back.
            self.calls = FuturesUnordered::new();
        }
        has_ended
    }

    /// Takes the frames that are there, as far as there is room for them.
    async fn take(&mut self, decoder: &mut FrameCodec, input: &mut Input) {
        while !input.bytes.is_empty() && self.desk.takes_frames() {
            match decoder.decode(&mut input.bytes) {
                Ok(Some(decoded)) => self.decoded(decoded).await,
                Ok(None) => break,
                Err(error) => return self.close(&Error::new(Code::MalformedBody, error.to_string())),
            }
        }
        input.settle();
        if input.bytes.len() <= FREE_BYTES {
            self.room = None;
        }
    }

    /// A large frame takes of the room that the thread has for requests.
    fn make_room(&mut self, input: &Input) {
        let len = input.bytes.len();
        if len <= FREE_BYTES {
            return;
        }
        let covered = match &mut self.room {
            Some(room) => room.cover(len),
            None => self.core.buffer(len).map(|room| self.room = Some(room)),
        };
        if let Err(error) = covered {
            self.close(&error);
        }
    }

    async fn decoded(&mut self, decoded: Decoded) {
        let now = Instant::now();
        let order = match decoded {
            Decoded::Frame(frame) => self.desk.session.borrow_mut().frame(frame, now),
            Decoded::Broken(broken) => self.broken(broken, now),
        };
        match order {
            Some(Order::Greet(greeting)) => hello::greet(self, greeting).await,
            Some(Order::Subscribe(frame)) => self.subscribe(frame).await,
            order => self.carry_out(order),
        }
    }

    fn broken(&self, broken: Broken, now: Instant) -> Option<Order> {
        self.core.shared.frames.instruments.broken(broken.name());
        self.desk.session.borrow_mut().broken(broken, now)
    }

    pub(super) fn carry_out(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Send(frame)) => self.desk.send(frame),
            Some(Order::Call(frame)) => self.call(frame),
            Some(Order::End(asked, answer)) => self.end(&asked, answer),
            // These wait for others, and are carried out where that may be.
            Some(Order::Greet(_) | Order::Subscribe(_)) | None => {}
        }
    }

    /// Begins a call.
    fn call(&mut self, mut frame: Frame) {
        let profile = self.desk.session.borrow().profile();
        let authorization = self.desk.authorization();
        let asked = match ask::read(&self.core, profile, &mut frame, authorization.as_ref()) {
            Ok(asked) => asked,
            Err(error) => return self.desk.refuse(&frame, &error),
        };
        let begun = self.desk.session.borrow_mut().begin(asked.is_stream);
        if let Err(error) = begun {
            return self.desk.refuse(&asked.frame, &error);
        }
        let (is_stream, sequence) = (asked.is_stream, asked.frame.sequence);
        let running = call::run(Rc::clone(&self.core), Rc::clone(&self.desk), asked);
        if !is_stream {
            return self.calls.push(Box::pin(running.map(|()| false)));
        }
        let (handle, registration) = AbortHandle::new_pair();
        self.desk.add_stream(sequence, handle);
        let desk = Rc::clone(&self.desk);
        self.calls.push(Box::pin(async move {
            // An end by its client is an end, too.
            Abortable::new(running, registration).await.unwrap_or_default();
            desk.forget_stream(sequence);
            true
        }));
    }

    /// Sends an answer that is not that of a call, when it is ready and there is room.
    pub(super) fn begin_answer(&mut self, answer: impl Future<Output = ()> + 'static) {
        // A call that answers once is never refused: with too many, no frame is taken.
        self.desk.session.borrow_mut().begin(false).unwrap_or_default();
        self.calls.push(Box::pin(answer.map(|()| false)));
    }

    /// Ends the session, and says why.
    fn close(&mut self, error: &Error) {
        let order = self.desk.session.borrow_mut().close(error);
        self.carry_out(order);
    }

    /// Time has passed; true when the other end does not live.
    fn tick(&mut self) -> bool {
        let now = Instant::now();
        let is_stuck =
            !self.is_flushed && now.saturating_duration_since(self.wrote) >= self.core.frames.settings.idle_timeout;
        let is_read = self.desk.takes_frames();
        let order = self.desk.session.borrow_mut().tick(now, is_read);
        let is_dead = is_stuck || (order.is_none() && self.desk.session.borrow().is_closing());
        if is_dead {
            self.core.shared.frames.instruments.unresponsive();
        }
        self.carry_out(order);
        is_dead
    }

    /// Waits for the client of a broken connection to come back, while its calls go on.
    async fn wait(mut self, drain: &CancellationToken) {
        let Some(mut place) = self.place.take() else {
            return;
        };
        let Some(_waiting) = self.core.shared.frames.sessions.wait() else {
            return;
        };
        let mut until = pin!(sleep_until(Instant::now() + self.core.frames.settings.resume_window));
        let mut draining = pin!(drain.cancelled());
        let claim = poll_fn(|cx| {
            self.poll_calls(cx);
            if let Poll::Ready(claim) = place.claimed.poll_unpin(cx) {
                return Poll::Ready(claim.ok());
            }
            if until.as_mut().poll(cx).is_ready() || draining.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        });
        if let Some(claim) = claim.await {
            self.hand_over(claim).await;
        }
    }

    /// Leaves what there is to the connection that the client came back with, and goes on with its calls.
    async fn hand_over(mut self, claim: Claim) {
        let (kept, legacy, mut ends) = self.desk.hand_over();
        let mut legacies = self.inherited.take();
        if !self.calls.is_empty() {
            legacies.push(legacy);
        }
        let subscriptions = std::mem::take(&mut self.left);
        if claim.send(Inheritance { kept, legacies, subscriptions }).is_err() {
            return;
        }
        poll_fn(|cx| {
            while let Poll::Ready(end) = ends.poll_recv(cx) {
                match end {
                    Some(number) => self.desk.end_stream(number),
                    // Nobody takes what comes yet.
                    None => return Poll::Ready(()),
                };
            }
            self.poll_calls(cx);
            if self.calls.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
