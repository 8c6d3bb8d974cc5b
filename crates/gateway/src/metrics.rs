//! What the gateway counts. Labels have a closed set of values: methods that no descriptor names count as `other`.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    KeyValue, StringValue,
    metrics::{Counter, Histogram},
};

use crate::descriptors::Snapshot;

/// Scope of the instruments.
const SCOPE: &str = "gateway";

/// Label of services and methods that no descriptor names.
const OTHER: &str = "other";

/// gRPC status codes, 0 to 16.
const CODES: usize = 17;

/// Upper bounds of the duration buckets, in seconds.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// How a call came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// gRPC, passed through.
    Grpc,
    /// HTTP/JSON, transcoded.
    Json,
    /// gRPC-Web, unwrapped.
    Web,
    /// JSON over a WebSocket, transcoded.
    Socket,
}

/// How many there are.
const PROTOCOLS: usize = 4;

impl Protocol {
    /// Its label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Json => "json",
            Self::Web => "grpc_web",
            Self::Socket => "websocket",
        }
    }
}

/// What happens to instances and to the calls that go to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpstreamEvent {
    /// A call was repeated.
    Repeated,
    /// A call was not repeated because the budget was spent.
    BudgetSpent,
    /// A second instance was asked because the first was slow.
    Hedged,
    /// A call was refused because the instances had as many as they take.
    Shed,
    /// An instance was ejected.
    Ejected,
    /// A breaker opened.
    BreakerOpened,
    /// A breaker lets probes through.
    BreakerHalfOpened,
    /// A breaker closed.
    BreakerClosed,
}

impl UpstreamEvent {
    /// Its label.
    fn name(self) -> &'static str {
        match self {
            Self::Repeated => "repeated",
            Self::BudgetSpent => "budget_spent",
            Self::Hedged => "hedged",
            Self::Shed => "shed",
            Self::Ejected => "ejected",
            Self::BreakerOpened => "breaker_opened",
            Self::BreakerHalfOpened => "breaker_half_opened",
            Self::BreakerClosed => "breaker_closed",
        }
    }
}

/// Instruments of the process; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Instruments {
    duration: Histogram<f64>,
    connect_failures: Counter<u64>,
    upstream_events: Counter<u64>,
    refused: Counter<u64>,
    /// Callers' connections that are open now.
    pub(crate) connections: Arc<Level>,
    /// Calls that are being served now, by data-plane thread: a shared counter would bounce between cores.
    pub(crate) calls: Arc<[Arc<Level>]>,
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Level(AtomicI64);

impl Level {
    /// Adds one for as long as the guard lives.
    pub(crate) fn raise(self: &Arc<Self>) -> Raised {
        self.0.fetch_add(1, Ordering::Relaxed);
        Raised(Arc::clone(self))
    }

    /// What it is now.
    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One more on a [`Level`], until dropped.
#[derive(Debug)]
pub(crate) struct Raised(Arc<Level>);

impl Drop for Raised {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Instruments {
    /// Makes the instruments for so many data-plane threads. Gateways in one process share the histogram and the
    /// counter.
    pub(crate) fn new(threads: usize) -> Self {
        let meter = mcp_chassis::metrics::meter(SCOPE);
        let instruments = Self {
            duration: meter
                .f64_histogram("mcp_gateway_call_duration_seconds")
                .with_description("Time from the head of a request to the end of its answer")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            connect_failures: meter
                .u64_counter("mcp_gateway_connect_failures")
                .with_description("Connections to instances that could not be made")
                .build(),
            upstream_events: meter
                .u64_counter("mcp_gateway_upstream_events")
                .with_description("Repeats, hedges, ejections and changes of breakers")
                .build(),
            refused: meter
                .u64_counter("mcp_gateway_refused")
                .with_description("Connections and requests that were turned away, by reason")
                .build(),
            connections: Arc::default(),
            calls: (0..threads).map(|_| Arc::default()).collect(),
        };
        let connections = Arc::downgrade(&instruments.connections);
        meter
            .i64_observable_gauge("mcp_gateway_connections")
            .with_description("Callers' connections that are open")
            .with_callback(move |observer| {
                if let Some(level) = connections.upgrade() {
                    observer.observe(level.get(), &[]);
                }
            })
            .build();
        let calls = Arc::downgrade(&instruments.calls);
        meter
            .i64_observable_gauge("mcp_gateway_calls_in_flight")
            .with_description("Calls that are being served")
            .with_callback(move |observer| {
                if let Some(levels) = calls.upgrade() {
                    observer.observe(levels.iter().map(|level| level.get()).sum(), &[]);
                }
            })
            .build();
        instruments
    }

    /// Counts an event about instances.
    pub(crate) fn upstream(&self, event: UpstreamEvent) {
        self.upstream_events.add(1, &[KeyValue::new("event", event.name())]);
    }

    /// Counts a request that was turned away, by the name of the error.
    pub(crate) fn request_refused(&self, name: &'static str) {
        self.refused.add(1, &[KeyValue::new("reason", name)]);
    }

    /// Counts a connection that was turned away because its address has too many.
    pub(crate) fn connection_refused(&self) {
        self.refused.add(1, &[KeyValue::new("reason", "CONNECTIONS_PER_IP")]);
    }

    /// Counts a connection that was cut off because of how it behaved.
    pub(crate) fn connection_cut(&self) {
        self.refused.add(1, &[KeyValue::new("reason", "RESETS")]);
    }

    /// Counts a connection that could not be made.
    pub(crate) fn connect_failed(&self) {
        self.connect_failures.add(1, &[]);
    }
}

/// Labels of one method's calls that came in by one protocol and ended with one status.
type Labels = Box<[KeyValue; 4]>;

/// A method as one data-plane thread knows it.
#[derive(Debug)]
pub(crate) struct Method {
    /// Full name of its service, or `other`.
    pub(crate) service: Arc<str>,
    /// Its name, or `other`.
    pub(crate) name: Arc<str>,
    /// True when an answer may take its time because the caller asked for that, so that its latency tells nothing.
    pub(crate) waits: bool,
    /// True when a call may be carried out more than once.
    pub(crate) safe: bool,
    /// Labels by protocol and status, made when first needed.
    labels: [[OnceCell<Labels>; CODES]; PROTOCOLS],
}

impl Method {
    fn new(service: &str, name: &str, (waits, safe): (bool, bool)) -> Self {
        let labels = std::array::from_fn(|_| std::array::from_fn(|_| OnceCell::new()));
        Self { service: service.into(), name: name.into(), waits, safe, labels }
    }

    fn labels(&self, protocol: Protocol, code: tonic::Code) -> &[KeyValue] {
        let labels = self.labels[protocol as usize][code as usize].get_or_init(|| {
            Box::new([
                KeyValue::new("rpc_service", StringValue::from(Arc::clone(&self.service))),
                KeyValue::new("rpc_method", StringValue::from(Arc::clone(&self.name))),
                KeyValue::new("protocol", protocol.name()),
                KeyValue::new("code", mcp_chassis::metrics::code_name(code)),
            ])
        });
        labels.as_slice()
    }
}

/// The known methods, for one data-plane thread. Those that are called are kept; a new snapshot begins anew.
#[derive(Debug)]
pub(crate) struct Methods {
    duration: Histogram<f64>,
    snapshot: Arc<Snapshot>,
    by_path: RefCell<HashMap<String, Rc<Method>>>,
    other: Rc<Method>,
}

impl Methods {
    /// The methods of a snapshot.
    pub(crate) fn new(instruments: &Instruments, snapshot: Arc<Snapshot>) -> Self {
        Self {
            duration: instruments.duration.clone(),
            snapshot,
            by_path: RefCell::default(),
            other: Rc::new(Method::new(OTHER, OTHER, (false, false))),
        }
    }

    /// The method at `/package.Service/Method`; the stand-in for all others when no descriptor names it.
    pub(crate) fn get(&self, path: &str) -> Rc<Method> {
        if let Some(method) = self.by_path.borrow().get(path) {
            return Rc::clone(method);
        }
        let Some((service, facts)) = self.snapshot.method(path) else {
            return Rc::clone(&self.other);
        };
        let name = facts.by_name.rpc.name();
        let method = Rc::new(Method::new(service.name(), name, (facts.waits, facts.safe)));
        self.by_path.borrow_mut().insert(path.to_owned(), Rc::clone(&method));
        method
    }

    /// Counts a call.
    pub(crate) fn record(&self, method: &Method, protocol: Protocol, code: tonic::Code, duration: Duration) {
        self.duration.record(duration.as_secs_f64(), method.labels(protocol, code));
    }
}
