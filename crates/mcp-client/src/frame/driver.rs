//! The loop of a client: orders, connections, answers, time.

mod answers;
mod keep;

use std::{future::poll_fn, io, pin::Pin, sync::Arc, task::Poll, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use mcp_proto::{Code, Error, frame::Frame};
use tokio::{
    pin, select,
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use tracing::{debug, info};

use super::{
    lanes::{Attempt, Backoff, LaneId, Lanes},
    link::{self, Link, Plan},
    pending::{LinkId, Pending},
    topics::Topics,
    waiter::{Asked, Order, Waiter},
};

/// Most orders that are taken at once.
const ORDERS_AT_ONCE: usize = 64;
/// Bytes that wait to be written before no more orders are taken.
const UNWRITTEN_BYTES_MAX: usize = 1024 * 1024;
/// Connections that end their calls after the server sent us away.
const LEAVING_MAX: usize = 4;
/// How long the last bytes of a connection may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Longest sleep; there is always something to look at sooner.
const SLEEP_MAX: Duration = Duration::from_secs(3600);

/// How a client behaves beside how it connects.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conduct {
    /// One connection, or two.
    pub(super) lanes: usize,
    /// Waits between attempts.
    pub(super) backoff: Backoff,
    /// Answers that may be awaited at a time.
    pub(super) in_flight_max: usize,
    /// How long the answers of a broken connection are awaited on the next one.
    pub(super) resume_max: Duration,
    /// Calls fail when an attempt to connect did, in place of waiting for the next one.
    pub(super) fails_fast: bool,
}

type Connecting = Pin<Box<dyn Future<Output = (LaneId, Result<Link, Error>)> + Send>>;

/// Which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Lane(LaneId),
    Leaving(usize),
}

/// A connection that broke with answers awaited on it.
#[derive(Debug, Clone, Copy)]
struct Orphans {
    link: LinkId,
    until: Instant,
}

/// Everything of a client.
pub(super) struct Driver {
    plan: Arc<Plan>,
    conduct: Conduct,
    orders: mpsc::Receiver<Order>,
    closing: watch::Receiver<Option<Instant>>,
    gone: Arc<Notify>,
    lanes: Lanes,
    links: Vec<Option<Link>>,
    orphans: Vec<Option<Orphans>>,
    leaving: Vec<Link>,
    connecting: FuturesUnordered<Connecting>,
    pending: Pending<Asked>,
    topics: Topics,
    /// Subscriptions and streams that ended while there was no connection.
    unended: Vec<u32>,
    refusal: Option<Error>,
    links_made: u64,
}

impl Driver {
    /// A client that is not connected yet.
    pub(super) fn new(
        plan: Plan,
        conduct: Conduct,
        orders: mpsc::Receiver<Order>,
        closing: watch::Receiver<Option<Instant>>,
        gone: Arc<Notify>,
    ) -> Self {
        Self {
            lanes: Lanes::new(conduct.lanes, plan.addresses.len(), conduct.backoff, Instant::now()),
            links: (0..conduct.lanes).map(|_| None).collect(),
            orphans: vec![None; conduct.lanes],
            leaving: Vec::new(),
            connecting: FuturesUnordered::new(),
            pending: Pending::new(conduct.in_flight_max),
            topics: Topics::default(),
            unended: Vec::new(),
            refusal: None,
            links_made: 0,
            plan: Arc::new(plan),
            conduct,
            orders,
            closing,
            gone,
        }
    }

    /// Runs until it is told to close, or its handles are gone.
    pub(super) async fn run(mut self) {
        let mut orders = Vec::with_capacity(ORDERS_AT_ONCE);
        let sleep = sleep_until(Instant::now());
        pin!(sleep);
        while !self.is_finished() {
            self.connect_due();
            let (takes, room) = (self.takes_orders(), self.room());
            let timer = self.next_timer();
            if timer < sleep.deadline() || sleep.is_elapsed() {
                sleep.as_mut().reset(timer);
            }
            select! {
                count = self.orders.recv_many(&mut orders, room), if takes => {
                    if count == 0 {
                        break;
                    }
                    for order in orders.drain(..) {
                        self.order(order);
                    }
                }
                (place, result) = readable(&mut self.links, &mut self.leaving) => self.came(place, result),
                Some((lane, result)) = self.connecting.next(), if !self.connecting.is_empty() => {
                    self.connected(lane, result);
                }
                () = self.gone.notified() => self.sweep(),
                changed = self.closing.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    self.end_streams();
                }
                () = sleep.as_mut() => self.tick(),
            }
        }
        self.end().await;
    }

    fn connect_due(&mut self) {
        if self.closing.borrow().is_some() {
            return;
        }
        while let Some(attempt) = self.lanes.begin(Instant::now()) {
            self.links_made += 1;
            let (id, plan) = (LinkId(self.links_made), Arc::clone(&self.plan));
            debug!(lane = attempt.lane, address = %plan.addresses[attempt.endpoint], "connecting");
            self.connecting.push(Box::pin(attempt_on(plan, attempt, id)));
        }
    }

    /// The connection by which calls go.
    fn active(&mut self) -> Option<&mut Link> {
        self.links[self.lanes.active()?].as_mut()
    }

    fn link(&mut self, place: Place) -> Option<&mut Link> {
        match place {
            Place::Lane(lane) => self.links[lane].as_mut(),
            Place::Leaving(at) => self.leaving.get_mut(at),
        }
    }

    fn takes_orders(&mut self) -> bool {
        if self.closing.borrow().is_some() || self.pending.is_full() {
            return false;
        }
        match self.active() {
            Some(link) => link.unwritten() < UNWRITTEN_BYTES_MAX,
            None => self.refusal.is_some(),
        }
    }

    fn room(&self) -> usize {
        self.conduct.in_flight_max.saturating_sub(self.pending.len()).clamp(1, ORDERS_AT_ONCE)
    }

    fn order(&mut self, order: Order) {
        match order {
            Order::Ask { frame, deadline, is_repeatable, waiter } => self.ask(frame, deadline, is_repeatable, waiter),
            Order::Tell { frame, sent } => {
                let refusal = self.refusal();
                let told = self.active().map_or(Err(refusal), |link| link.send(&frame));
                // Who does not wait any more need not know.
                drop(sent.send(told));
            }
        }
    }

    fn ask(&mut self, mut frame: Frame, deadline: Option<Instant>, is_repeatable: bool, waiter: Waiter) {
        if waiter.is_gone() {
            return;
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return waiter.fail(Error::new(Code::DeadlineExceeded, "no connection in time"));
        }
        if let Waiter::Subscription { pattern, reader: Some((events, _)) } = &waiter
            && self.topics.join(pattern, events)
        {
            waiter.made();
            return;
        }
        let Some(link) = self.active().map(|link| link.id) else {
            return waiter.fail(self.refusal());
        };
        let again = is_repeatable.then(|| frame.clone());
        match self.pending.insert(link, deadline, Asked { waiter, again }) {
            Ok(sequence) => {
                frame.sequence = sequence;
                let sent = self.active().map_or(Ok(()), |link| link.send(&frame));
                if let Err(error) = sent
                    && let Some(asked) = self.pending.remove(sequence)
                {
                    asked.waiter.fail(error);
                }
            }
            Err(asked) => asked.waiter.fail(Error::new(Code::Overloaded, "too many answers are awaited already")),
        }
    }

    /// Why nothing can be asked now.
    fn refusal(&self) -> Error {
        self.refusal.clone().unwrap_or_else(|| Error::new(Code::Unavailable, "there is no connection"))
    }

    fn connected(&mut self, lane: LaneId, result: Result<Link, Error>) {
        let now = Instant::now();
        let link = match result {
            Ok(link) => link,
            Err(error) => {
                let wait = self.lanes.failed(lane, now, rand::random());
                debug!(lane, %error, ?wait, "not connected");
                if self.conduct.fails_fast || !error.code().retryable() {
                    self.refusal = Some(error);
                }
                return;
            }
        };
        let (id, opened) = (link.id, self.lanes.opened(lane, &link.session, now));
        info!(lane, opened.is_active, opened.is_resumed, session = link.session, "connected");
        self.refusal = None;
        self.links[lane] = Some(link);
        self.settle(lane, id, opened.is_resumed);
        self.end_what_was_left(lane, opened.is_resumed);
        if opened.is_active && !opened.is_resumed {
            self.subscribe_again();
        }
        if opened.is_resumed && !opened.is_active {
            // It only brings what was missed; subscriptions are elsewhere now.
            self.leave(lane);
        }
        // What the server said right behind its hello-ack was read with it.
        self.take_frames(id);
    }

    fn came(&mut self, place: Place, result: io::Result<()>) {
        if let Err(error) = result {
            return self.lost(place, &error.to_string());
        }
        if let Some(id) = self.link(place).map(|link| link.id) {
            self.take_frames(id);
        }
    }

    /// Takes the frames that were read from a connection.
    fn take_frames(&mut self, id: LinkId) {
        loop {
            // A frame may have made the connection one that is left.
            let Some(place) = self.place_of(id) else { return };
            match self.link(place).map(Link::next) {
                Some(Ok(Some(frame))) => self.frame(place, id, frame),
                Some(Ok(None)) | None => break,
                Some(Err(error)) => return self.lost(place, &error.to_string()),
            }
        }
        if !self.leaving.is_empty() {
            self.end_left();
        }
    }

    fn place_of(&self, id: LinkId) -> Option<Place> {
        let lane = self.links.iter().position(|link| link.as_ref().is_some_and(|link| link.id == id));
        lane.map(Place::Lane).or_else(|| self.leaving.iter().position(|link| link.id == id).map(Place::Leaving))
    }

    fn is_finished(&self) -> bool {
        let until = *self.closing.borrow();
        until.is_some_and(|until| self.pending.is_empty() || Instant::now() >= until)
    }

    fn next_timer(&self) -> Instant {
        let links = self.links.iter().flatten().chain(&self.leaving).map(Link::next_check);
        let orphans = self.orphans.iter().flatten().map(|orphans| orphans.until);
        let closing = *self.closing.borrow();
        let attempt = self.lanes.next_due().filter(|_| closing.is_none());
        let others = [self.pending.next_deadline(), attempt, closing];
        let next = links.chain(orphans).chain(others.into_iter().flatten()).min();
        next.unwrap_or_else(|| Instant::now() + SLEEP_MAX)
    }

    /// Ends everything that is left.
    async fn end(mut self) {
        for asked in self.pending.drain() {
            asked.waiter.fail(Error::new(Code::Cancelled, "the client was closed"));
        }
        for events in self.topics.drain() {
            events.end(Ok(()));
        }
        if self.closing.borrow().is_some() {
            let links = self.links.into_iter().flatten().chain(self.leaving);
            futures_util::future::join_all(links.map(|link| link.close(CLOSE_MAX))).await;
        }
    }
}

async fn attempt_on(plan: Arc<Plan>, attempt: Attempt, id: LinkId) -> (LaneId, Result<Link, Error>) {
    let lane = attempt.lane;
    (lane, link::open(plan, attempt, id).await)
}

/// Writes to all connections, and gives the first that was read from or broke.
async fn readable(links: &mut [Option<Link>], leaving: &mut [Link]) -> (Place, io::Result<()>) {
    poll_fn(|cx| {
        for (lane, link) in links.iter_mut().enumerate() {
            if let Some(Poll::Ready(result)) = link.as_mut().map(|link| link.poll(cx)) {
                return Poll::Ready((Place::Lane(lane), result));
            }
        }
        for (at, link) in leaving.iter_mut().enumerate() {
            if let Poll::Ready(result) = link.poll(cx) {
                return Poll::Ready((Place::Leaving(at), result));
            }
        }
        Poll::Pending
    })
    .await
}
