//! One instance: the connections to it, and what is known about it. None of it depends on a route.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::uri::Authority;
use mcp_coord::InstanceRecord;
use mcp_proto::partition::{OWNED_LABEL, OwnedPartitions};
use tokio::{sync::Notify, time::Instant};

use super::{
    connection::Connection,
    decide::{
        breaker::{Breaker, Pass, State},
        ejection::Ejection,
        ewma::Ewma,
        gradient::Gradient,
        outcome::Outcome,
        shed, slow_start,
    },
    policy::{Policy, Priority},
};
use crate::{
    config::UpstreamSettings,
    metrics::{Instruments, UpstreamEvent},
};

/// A wait doubles this many times at most; the configured limit is reached before.
const DOUBLINGS_MAX: u32 = 16;

/// Connections that are closed before a call can be sent on them, after which an instance is left alone.
const STILLBORN_MAX: u32 = 8;

/// Why a call cannot go to an instance. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// Connecting failed, now or a moment ago.
    Down,
    /// Every connection has as many calls as it may, and there are as many connections as there may be.
    Full,
}

/// What one data-plane thread shares among its endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// How instances are called.
    pub(crate) settings: Rc<UpstreamSettings>,
    /// What is counted.
    pub(crate) instruments: Instruments,
    /// The gateway's zone; empty when it has none.
    pub(crate) zone: Rc<str>,
}

/// One instance, as one data-plane thread knows it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    record: Arc<InstanceRecord>,
    authority: Authority,
    surroundings: Surroundings,
    // What its record says and may change.
    weight: Cell<u32>,
    local: Cell<bool>,
    owned: Cell<Option<OwnedPartitions>>,
    // Its connections.
    connections: RefCell<Vec<Rc<Connection>>>,
    dialing: Cell<bool>,
    dialed: Notify,
    failures: Cell<u32>,
    retry_at: Cell<Option<Instant>>,
    // What its calls say.
    born: Instant,
    in_flight: Cell<u32>,
    /// Those of them that should be answered as soon as can be.
    measured: Cell<u32>,
    latency: Cell<Ewma>,
    gradient: Cell<Option<Gradient>>,
    breaker: RefCell<Breaker>,
    ejection: Cell<Ejection>,
    /// False while the breaker is closed and it was not ejected lately: nothing more need be asked.
    troubled: Cell<bool>,
}

/// What tells one endpoint from another.
pub(crate) fn key(record: &InstanceRecord) -> String {
    format!("{}/{}", record.service, record.instance_id)
}

impl Endpoint {
    /// An instance without a connection yet; `None` when its address is not `host:port`.
    pub(crate) fn new(record: &Arc<InstanceRecord>, surroundings: Surroundings) -> Option<Rc<Self>> {
        let authority: Authority = match record.address.parse() {
            Ok(authority) => authority,
            Err(error) => {
                tracing::warn!(instance = key(record), address = record.address, %error, "instance skipped");
                return None;
            }
        };
        let now = Instant::now();
        let endpoint = Self {
            record: Arc::clone(record),
            authority,
            surroundings,
            weight: Cell::new(1),
            local: Cell::new(false),
            owned: Cell::new(None),
            connections: RefCell::default(),
            dialing: Cell::new(false),
            dialed: Notify::new(),
            failures: Cell::new(0),
            retry_at: Cell::new(None),
            born: now,
            in_flight: Cell::new(0),
            measured: Cell::new(0),
            latency: Cell::new(Ewma::new(now)),
            gradient: Cell::new(None),
            breaker: RefCell::new(Breaker::new(now)),
            ejection: Cell::default(),
            troubled: Cell::new(false),
        };
        endpoint.refresh(record);
        Some(Rc::new(endpoint))
    }

    /// See [`key`].
    pub(crate) fn key(&self) -> String {
        key(&self.record)
    }

    /// The record it was made for.
    pub(crate) fn record(&self) -> &InstanceRecord {
        &self.record
    }

    /// What a request to it names as its authority.
    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// True when it is the same process. A new registration may be a new one.
    pub(crate) fn is_for(&self, record: &InstanceRecord) -> bool {
        self.record.address == record.address && self.record.registered_unix_ms == record.registered_unix_ms
    }

    /// Takes over what may change while the connections, and what is known, stay.
    pub(crate) fn refresh(&self, record: &InstanceRecord) {
        self.weight.set(record.weight.max(1));
        self.local.set(!record.zone.is_empty() && *record.zone == *self.surroundings.zone);
        self.owned.set(record.labels.get(OWNED_LABEL).and_then(|label| OwnedPartitions::parse(label)));
    }

    /// True when it says that it owns the partition of this home.
    pub(crate) fn owns(&self, home: u16) -> bool {
        self.owned.get().is_some_and(|owned| owned.has_home(home))
    }

    /// True when it is in the gateway's own zone.
    pub(crate) fn is_local(&self) -> bool {
        self.local.get()
    }

    /// Its share of the calls compared with others; at least 1.
    pub(crate) fn weight(&self) -> u32 {
        self.weight.get()
    }

    /// How long it is left alone after a failed connect; `None` when it is not.
    pub(crate) fn backing_off(&self, now: Instant) -> Option<Duration> {
        self.retry_at.get().map(|at| at.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }
}

/// Its connections.
impl Endpoint {
    /// Room for one call on a connection, which is made when there is none. True when that was waited for.
    ///
    /// Many calls may wait for one connect; when the first of them gives up, it goes on for the others.
    pub(crate) async fn connect(self: &Rc<Self>) -> Result<(Rc<Connection>, bool), Unreachable> {
        let (mut waited, mut stillborn) = (false, 0);
        loop {
            if let Some(connection) = self.spare() {
                return Ok((connection, waited));
            }
            if self.backing_off(Instant::now()).is_some() {
                return Err(Unreachable::Down);
            }
            if waited && !self.dialing.get() && self.connections.borrow().is_empty() {
                stillborn += 1;
                if stillborn > STILLBORN_MAX {
                    self.keep_away(Instant::now());
                    return Err(Unreachable::Down);
                }
            }
            if self.connections.borrow().len() >= self.surroundings.settings.connections_max {
                return Err(Unreachable::Full);
            }
            let dialed = self.dialed.notified();
            if !self.dialing.replace(true) {
                let endpoint = Rc::clone(self);
                // Ends by itself within the connect timeout.
                tokio::task::spawn_local(async move { endpoint.dial().await });
            }
            waited = true;
            dialed.await;
        }
    }

    /// A connection that takes one more call. Broken ones are forgotten on the way.
    fn spare(&self) -> Option<Rc<Connection>> {
        let streams_max = self.surroundings.settings.streams_max;
        let mut connections = self.connections.borrow_mut();
        if let [only] = connections.as_slice()
            && only.has_room(streams_max)
        {
            return Some(Rc::clone(only));
        }
        connections.retain(|connection| !connection.is_closed());
        connections.iter().find(|connection| connection.has_room(streams_max)).map(Rc::clone)
    }

    async fn dial(&self) {
        match Connection::dial(&self.record.address, &self.surroundings.settings).await {
            Ok(connection) => {
                self.connections.borrow_mut().push(Rc::new(connection));
                self.failures.set(0);
                self.retry_at.set(None);
            }
            Err(error) => {
                self.keep_away(Instant::now());
                self.surroundings.instruments.connect_failed();
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::debug!(instance = self.key(), address = self.record.address, %error, cause, "connect failed");
            }
        }
        self.dialing.set(false);
        self.dialed.notify_waiters();
    }

    /// It cannot be used: it is left alone for a while, longer each time in a row.
    pub(crate) fn keep_away(&self, now: Instant) {
        let wait = self.backoff();
        self.failures.set(self.failures.get().saturating_add(1));
        self.retry_at.set(Some(now + wait));
        self.latency.set(self.latency.get().failed(now));
    }

    /// The wait after one more failure: doubling from the least to the most, and up to half of it random.
    fn backoff(&self) -> Duration {
        let settings = &self.surroundings.settings;
        let doubled = settings.backoff_min.saturating_mul(1 << self.failures.get().min(DOUBLINGS_MAX));
        doubled.min(settings.backoff_max).mul_f64(rand::random_range(0.5..=1.0))
    }
}

/// What it is worth.
impl Endpoint {
    /// What one more call here costs by latency and calls in flight; less is better.
    pub(crate) fn cost(&self, now: Instant) -> f64 {
        self.latency.get().seconds(now) * self.busyness()
    }

    /// Calls in flight, one more included, by weight.
    pub(crate) fn busyness(&self) -> f64 {
        f64::from(self.in_flight.get() + 1) / f64::from(self.weight.get())
    }

    /// The share of its calls that it takes while it warms up.
    pub(crate) fn share(&self, now: Instant, window: Duration) -> f64 {
        if window.is_zero() {
            return 1.0;
        }
        let since = self.ejection.get().returned(now).unwrap_or(self.born);
        slow_start::share(now.saturating_duration_since(since), window)
    }

    /// How a call may go to it; `None` when its breaker refuses it, or it has as many as it takes.
    pub(crate) fn admits(&self, now: Instant, policy: &Policy, (priority, measured): (Priority, bool)) -> Option<Pass> {
        if !self.has_room(now, policy, (priority, measured)) {
            return None;
        }
        if !self.troubled.get() || policy.breaker.failure_percent == 0 {
            return Some(Pass::Normal);
        }
        self.breaker.borrow().admits(now, &policy.breaker)
    }

    /// False when it has as many calls as it takes of this priority. A call that may take its time is not held back by
    /// the limit that follows its latency, nor does it count there.
    pub(crate) fn has_room(&self, now: Instant, policy: &Policy, (priority, measured): (Priority, bool)) -> bool {
        let settings = &self.surroundings.settings;
        let most = settings.connections_max.saturating_mul(settings.streams_max);
        let has_room = shed::has_room(self.in_flight.get(), u32::try_from(most).unwrap_or(u32::MAX), priority);
        match &policy.concurrency {
            Some(settings) if measured && has_room => {
                let limit = self.gradient.get().map_or(settings.initial, |gradient| gradient.limit(now));
                shed::has_room(self.measured.get(), limit, priority)
            }
            _ => has_room,
        }
    }

    /// How long it is ejected yet; `None` when it is not.
    pub(crate) fn ejected(&self, now: Instant) -> Option<Duration> {
        if !self.troubled.get() {
            return None;
        }
        self.ejection.get().left(now)
    }

    /// How long its breaker stays open; `None` when it is not.
    pub(crate) fn broken(&self, now: Instant) -> Option<Duration> {
        match self.breaker.borrow().state(now) {
            State::Open(left) => Some(left),
            State::Closed | State::HalfOpen => None,
        }
    }
}

/// How it is, to be shown.
impl Endpoint {
    /// Its breaker.
    pub(crate) fn breaker(&self, now: Instant) -> State {
        self.breaker.borrow().state(now)
    }

    /// Open connections.
    pub(crate) fn connections(&self) -> usize {
        self.connections.borrow().iter().filter(|connection| !connection.is_closed()).count()
    }

    /// Calls in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// How long an answer takes.
    pub(crate) fn latency(&self, now: Instant) -> Duration {
        Duration::from_secs_f64(self.latency.get().seconds(now))
    }

    /// Ejections in a row.
    pub(crate) fn ejections(&self) -> u32 {
        self.ejection.get().times()
    }

    /// The limit that follows its latency, when it has one.
    pub(crate) fn gradient(&self) -> Option<Gradient> {
        self.gradient.get()
    }
}

/// What its calls say about it.
impl Endpoint {
    /// A call begins.
    pub(crate) fn begin(&self, pass: Pass, measured: bool) {
        self.in_flight.set(self.in_flight.get() + 1);
        self.measured.set(self.measured.get() + u32::from(measured));
        if pass == Pass::Probe && self.breaker.borrow_mut().begin(pass) {
            tracing::info!(instance = self.key(), "breaker half open");
            self.surroundings.instruments.upstream(UpstreamEvent::BreakerHalfOpened);
        }
    }

    /// A call is over.
    pub(crate) fn end(&self, measured: bool) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.measured.set(self.measured.get().saturating_sub(u32::from(measured)));
    }

    /// The head of an answer came after this time.
    pub(crate) fn answered(&self, latency: Duration, now: Instant, policy: &Policy) {
        self.latency.set(self.latency.get().answered(latency, now));
        if let Some(settings) = &policy.concurrency {
            let gradient = self.gradient.get().unwrap_or_else(|| Gradient::new(settings));
            self.gradient.set(Some(gradient.answered(latency, self.measured.get(), now, settings)));
        }
    }

    /// No answer came in this time, in which it might have.
    pub(crate) fn unanswered(&self, waited: Duration, now: Instant) {
        if waited.as_secs_f64() > self.latency.get().seconds(now) {
            self.latency.set(self.latency.get().answered(waited, now));
        }
    }

    /// A call has told how the instance is. `peers`: how many of its service are ejected, and how many there are.
    pub(crate) fn judge(
        &self,
        pass: Pass,
        outcome: Outcome,
        now: Instant,
        policy: &Policy,
        peers: impl FnOnce() -> (usize, usize),
    ) {
        if outcome == Outcome::Failed {
            self.latency.set(self.latency.get().failed(now));
            if let Some(settings) = &policy.concurrency {
                let gradient = self.gradient.get().unwrap_or_else(|| Gradient::new(settings));
                self.gradient.set(Some(gradient.failed(settings)));
            }
        }
        let changed = self.breaker.borrow_mut().end(pass, outcome, now, &policy.breaker);
        if let Some(state) = changed {
            self.tell(state);
        }
        let mut ejection = self.ejection.get();
        if ejection.end(outcome, now, &policy.ejection) {
            let (ejected, all) = peers();
            if super::decide::ejection::is_allowed(ejected, all, &policy.ejection) {
                let away = ejection.eject(now, &policy.ejection);
                tracing::warn!(instance = self.key(), ?away, times = ejection.times(), "instance ejected");
                self.surroundings.instruments.upstream(UpstreamEvent::Ejected);
            }
        }
        self.ejection.set(ejection);
        self.troubled.set(!self.breaker.borrow().is_closed() || ejection.times() > 0);
    }

    fn tell(&self, state: State) {
        let instance = self.key();
        let event = match state {
            State::Open(wait) => {
                tracing::warn!(instance, ?wait, "breaker open");
                UpstreamEvent::BreakerOpened
            }
            State::HalfOpen => UpstreamEvent::BreakerHalfOpened,
            State::Closed => {
                tracing::info!(instance, "breaker closed");
                UpstreamEvent::BreakerClosed
            }
        };
        self.surroundings.instruments.upstream(event);
    }
}
