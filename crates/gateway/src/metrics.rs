//! What the gateway counts. Labels have a closed set of values: methods that no descriptor names count as `other`.

use std::{
    cell::OnceCell,
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
use prost_reflect::{DescriptorPool, Kind, MethodDescriptor};

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
}

impl Protocol {
    /// Its label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Json => "json",
        }
    }
}

/// Instruments of the process; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Instruments {
    duration: Histogram<f64>,
    connect_failures: Counter<u64>,
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

    /// Counts a connection that could not be made.
    pub(crate) fn connect_failed(&self) {
        self.connect_failures.add(1, &[]);
    }
}

/// A method as one data-plane thread knows it.
#[derive(Debug)]
pub(crate) struct Method {
    /// Full name of its service, or `other`.
    pub(crate) service: Arc<str>,
    /// Its name, or `other`.
    pub(crate) name: Arc<str>,
    /// True when an answer may take its time because the caller asked for that, so that its latency tells nothing.
    pub(crate) waits: bool,
    /// Labels by protocol and status, made when first needed.
    labels: [[OnceCell<[KeyValue; 4]>; CODES]; 2],
}

impl Method {
    fn new(service: &str, name: &str, waits: bool) -> Self {
        let labels = std::array::from_fn(|_| std::array::from_fn(|_| OnceCell::new()));
        Self { service: service.into(), name: name.into(), waits, labels }
    }

    fn labels(&self, protocol: Protocol, code: tonic::Code) -> &[KeyValue] {
        self.labels[protocol as usize][code as usize].get_or_init(|| {
            [
                KeyValue::new("rpc_service", StringValue::from(Arc::clone(&self.service))),
                KeyValue::new("rpc_method", StringValue::from(Arc::clone(&self.name))),
                KeyValue::new("protocol", protocol.name()),
                KeyValue::new("code", mcp_chassis::metrics::code_name(code)),
            ]
        })
    }
}

/// The known methods, for one data-plane thread.
#[derive(Debug)]
pub(crate) struct Methods {
    duration: Histogram<f64>,
    by_path: HashMap<String, Rc<Method>>,
    other: Rc<Method>,
}

impl Methods {
    /// The methods of a pool.
    pub(crate) fn new(instruments: &Instruments, pool: &DescriptorPool) -> Self {
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let by_path = methods.map(|method| {
            let service = method.parent_service().full_name();
            let path = format!("/{service}/{}", method.name());
            (path, Rc::new(Method::new(service, method.name(), waits(&method))))
        });
        Self {
            duration: instruments.duration.clone(),
            by_path: by_path.collect(),
            other: Rc::new(Method::new(OTHER, OTHER, false)),
        }
    }

    /// The method at `/package.Service/Method`; the stand-in for all others when it is not known.
    pub(crate) fn get(&self, path: &str) -> Rc<Method> {
        Rc::clone(self.by_path.get(path).unwrap_or(&self.other))
    }

    /// Counts a call.
    pub(crate) fn record(&self, method: &Method, protocol: Protocol, code: tonic::Code, duration: Duration) {
        self.duration.record(duration.as_secs_f64(), method.labels(protocol, code));
    }
}

/// True for a stream, and for a request that says in a field `timeout` how long it waits.
fn waits(method: &MethodDescriptor) -> bool {
    let is_duration =
        |kind: Kind| matches!(kind, Kind::Message(kind) if kind.full_name() == "google.protobuf.Duration");
    method.is_server_streaming()
        || method.input().get_field_by_name("timeout").is_some_and(|field| is_duration(field.kind()))
}
