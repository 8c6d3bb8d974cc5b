//! One instance and the connections to it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{
    Request, Response, Uri,
    uri::{Authority, Scheme},
};
use hyper::body::Incoming;
use mcp_coord::InstanceRecord;
use mcp_proto::partition::{OWNED_LABEL, OwnedPartitions};
use tokio::{sync::Notify, time::Instant};

use super::{connection::Connection, load::Load};
use crate::{body::forward::Forward, config::UpstreamSettings, metrics::Instruments};

/// A wait doubles this many times at most; the configured limit is reached before.
const DOUBLINGS_MAX: u32 = 16;

/// Why a call cannot go to an instance. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreachable {
    /// Connecting failed, now or a moment ago.
    Down,
    /// Every connection has as many calls as it may, and there are as many connections as there may be.
    Full,
}

/// One instance, as one data-plane thread knows it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    record: Arc<InstanceRecord>,
    authority: Authority,
    settings: Rc<UpstreamSettings>,
    instruments: Instruments,
    connections: RefCell<Vec<Rc<Connection>>>,
    dialing: Cell<bool>,
    dialed: Notify,
    failures: Cell<u32>,
    retry_at: Cell<Option<Instant>>,
    load: Load,
    owned: Cell<Option<OwnedPartitions>>,
}

/// What tells one endpoint from another.
pub(crate) fn key(record: &InstanceRecord) -> String {
    format!("{}/{}", record.service, record.instance_id)
}

impl Endpoint {
    /// An instance without a connection yet; `None` when its address is not `host:port`.
    pub(crate) fn new(
        record: &Arc<InstanceRecord>,
        settings: Rc<UpstreamSettings>,
        instruments: Instruments,
    ) -> Option<Rc<Self>> {
        let authority: Authority = match record.address.parse() {
            Ok(authority) => authority,
            Err(error) => {
                tracing::warn!(instance = key(record), address = record.address, %error, "instance skipped");
                return None;
            }
        };
        Some(Rc::new(Self {
            record: Arc::clone(record),
            authority,
            settings,
            instruments,
            connections: RefCell::default(),
            dialing: Cell::new(false),
            dialed: Notify::new(),
            failures: Cell::new(0),
            retry_at: Cell::new(None),
            load: Load::new(record.weight, Instant::now()),
            owned: Cell::new(owned(record)),
        }))
    }

    /// See [`key`].
    pub(crate) fn key(&self) -> String {
        key(&self.record)
    }

    /// True when nothing has changed that matters to its connections. A new registration may be a new process.
    pub(crate) fn is_for(&self, record: &InstanceRecord) -> bool {
        self.record.address == record.address
            && self.record.weight == record.weight
            && self.record.registered_unix_ms == record.registered_unix_ms
    }

    /// Takes over what may change while the connections stay.
    pub(crate) fn refresh(&self, record: &InstanceRecord) {
        self.owned.set(owned(record));
    }

    /// True when it says that it owns the partition of this home.
    pub(crate) fn owns(&self, home: u16) -> bool {
        self.owned.get().is_some_and(|owned| owned.has_home(home))
    }

    /// What one more call here costs; less is better.
    pub(crate) fn cost(&self, now: Instant) -> f64 {
        self.load.cost(now)
    }

    /// How long it is left alone after a failed connect; `None` when it is not.
    pub(crate) fn backing_off(&self, now: Instant) -> Option<Duration> {
        self.retry_at.get().map(|at| at.saturating_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// Room for one call on a connection, which is made when there is none.
    ///
    /// Many calls may wait for one connect; when the first of them gives up, it goes on for the others.
    pub(crate) async fn lease(self: &Rc<Self>, measured: bool) -> Result<Lease, Unreachable> {
        // A call that waits for the connect counts already, or all that come meanwhile would end up here.
        let counted = Counted::new(self);
        loop {
            if let Some(connection) = self.spare() {
                connection.begin();
                return Ok(Lease { counted, connection, started: Instant::now(), measured });
            }
            if self.backing_off(Instant::now()).is_some() {
                return Err(Unreachable::Down);
            }
            if self.connections.borrow().len() >= self.settings.connections_max {
                return Err(Unreachable::Full);
            }
            let dialed = self.dialed.notified();
            if !self.dialing.replace(true) {
                let endpoint = Rc::clone(self);
                // Ends by itself within the connect timeout.
                tokio::task::spawn_local(async move { endpoint.dial().await });
            }
            dialed.await;
        }
    }

    /// A connection that takes one more call. Broken ones are forgotten on the way.
    fn spare(&self) -> Option<Rc<Connection>> {
        let mut connections = self.connections.borrow_mut();
        if let [only] = connections.as_slice()
            && only.calls() < self.settings.streams_max
            && !only.is_closed()
        {
            return Some(Rc::clone(only));
        }
        connections.retain(|connection| !connection.is_closed());
        connections.iter().find(|connection| connection.calls() < self.settings.streams_max).map(Rc::clone)
    }

    async fn dial(&self) {
        match Connection::dial(&self.record.address, &self.settings).await {
            Ok(connection) => {
                self.connections.borrow_mut().push(Rc::new(connection));
                self.failures.set(0);
                self.retry_at.set(None);
            }
            Err(error) => {
                let wait = self.backoff();
                let now = Instant::now();
                self.failures.set(self.failures.get().saturating_add(1));
                self.retry_at.set(Some(now + wait));
                self.load.failed(now);
                self.instruments.connect_failed();
                let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
                tracing::debug!(instance = self.key(), address = self.record.address, %error, cause, "connect failed");
            }
        }
        self.dialing.set(false);
        self.dialed.notify_waiters();
    }

    /// The wait after one more failure: doubling from the least to the most, and up to half of it random.
    fn backoff(&self) -> Duration {
        let doubled = self.settings.backoff_min.saturating_mul(1 << self.failures.get().min(DOUBLINGS_MAX));
        doubled.min(self.settings.backoff_max).mul_f64(rand::random_range(0.5..=1.0))
    }
}

fn owned(record: &InstanceRecord) -> Option<OwnedPartitions> {
    OwnedPartitions::parse(record.labels.get(OWNED_LABEL)?)
}

/// One more call of an endpoint, until dropped.
#[derive(Debug)]
struct Counted(Rc<Endpoint>);

impl Counted {
    fn new(endpoint: &Rc<Endpoint>) -> Self {
        endpoint.load.begin();
        Self(Rc::clone(endpoint))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.load.end();
    }
}

/// Room for one call, given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    counted: Counted,
    connection: Rc<Connection>,
    started: Instant,
    measured: bool,
}

impl Lease {
    /// Sends the request to the instance; it comes back with the error when nothing of it was sent.
    pub(crate) async fn send(
        &self,
        mut request: Request<Forward>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Forward>>)> {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.counted.0.authority.clone());
        *request.uri_mut() = Uri::from_parts(uri).expect("scheme, authority and path make a URI");
        self.connection.send(request).await
    }

    /// The head of the answer has come.
    pub(crate) fn answered(&self) {
        if self.measured {
            let now = Instant::now();
            self.counted.0.load.answered(now - self.started, now);
        }
    }

    /// The call broke.
    pub(crate) fn failed(&self) {
        self.counted.0.load.failed(Instant::now());
    }

    /// Where the instance listens.
    pub(crate) fn address(&self) -> &str {
        &self.counted.0.record.address
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.end();
    }
}
