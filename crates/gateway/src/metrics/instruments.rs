//! What is counted seldom, by OpenTelemetry: it is on `/metrics` and goes out by OTLP.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Histogram, Meter},
};

use super::{
    histogram::SECONDS,
    labels::Protocol,
    page::{self, CALL_SECONDS, ROUTE_REQUESTS, UPSTREAM_REQUESTS},
    sheet::Sheet,
};

/// Scope of the instruments.
const SCOPE: &str = "gateway";

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
    /// Durations of calls for an OTLP receiver; `None` without one.
    pub(super) pushed: Option<Pushed>,
    connect_failures: Counter<u64>,
    upstream_events: Counter<u64>,
    refused: Counter<u64>,
    /// Callers' connections that are open now.
    pub(crate) connections: Arc<Level>,
    /// Calls that are being served now, by data-plane thread: a shared counter would bounce between cores.
    pub(crate) calls: Arc<[Arc<Level>]>,
    /// What each data-plane thread counts for each request.
    pub(crate) sheets: Arc<[Arc<Sheet>]>,
    /// The one of this thread, of the first where there is none.
    pub(crate) sheet: Arc<Sheet>,
}

/// Durations of calls for an OTLP receiver. Looking the labels up costs more than all other counting, so it is done only
/// where there is one.
#[derive(Debug, Clone)]
pub(super) struct Pushed(Histogram<f64>);

impl Pushed {
    /// Counts a call.
    pub(super) fn record(
        &self,
        (service, method): (&Arc<str>, &Arc<str>),
        (protocol, code): (Protocol, tonic::Code),
        duration: Duration,
    ) {
        let labels = [
            KeyValue::new("rpc_service", Arc::clone(service)),
            KeyValue::new("rpc_method", Arc::clone(method)),
            KeyValue::new("protocol", protocol.name()),
            KeyValue::new("code", mcp_chassis::metrics::code_name(code)),
        ];
        self.0.record(duration.as_secs_f64(), &labels);
    }
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
    /// Makes the instruments for so many data-plane threads. Gateways in one process share those of OpenTelemetry.
    /// `pushes`: there is an OTLP receiver.
    pub(crate) fn new(threads: usize, pushes: bool) -> Self {
        let meter = mcp_chassis::metrics::meter(SCOPE);
        let sheets: Arc<[Arc<Sheet>]> = (0..threads.max(1)).map(|_| Arc::default()).collect();
        let pushed = || {
            let histogram = meter.f64_histogram(CALL_SECONDS);
            let histogram = histogram.with_description("Time from the head of a request to the end of its answer");
            Pushed(histogram.with_boundaries(SECONDS.to_vec()).build())
        };
        let instruments = Self {
            pushed: pushes.then(pushed),
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
            sheet: Arc::clone(&sheets[0]),
            sheets,
        };
        if pushes {
            push_counts(&meter, &instruments.sheets);
        }
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

    /// The same for one data-plane thread.
    pub(crate) fn of_thread(&self, index: usize) -> Self {
        Self { sheet: Arc::clone(&self.sheets[index]), ..self.clone() }
    }

    /// Names of metrics that the sheets have instead of OpenTelemetry.
    pub(crate) const ON_SHEETS: [&str; 3] =
        [CALL_SECONDS, "mcp_gateway_requests_total", "mcp_gateway_upstream_requests_total"];

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

/// Labels of a sample, those without a value left out.
fn labels(pairs: mcp_chassis::metrics::Labels<'_>) -> Vec<KeyValue> {
    let pairs = pairs.iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(name, value)| KeyValue::new((*name).to_owned(), (*value).to_owned())).collect()
}

/// What the sheets count by route and by upstream, for an OTLP receiver.
fn push_counts(meter: &Meter, sheets: &Arc<[Arc<Sheet>]>) {
    let requests = Arc::downgrade(sheets);
    meter
        .u64_observable_counter(ROUTE_REQUESTS)
        .with_description("Requests by route and how they were answered")
        .with_callback(move |observer| {
            if let Some(sheets) = requests.upgrade() {
                page::each_request(&sheets, |pairs, count| observer.observe(count, &labels(pairs)));
            }
        })
        .build();
    let upstreams = Arc::downgrade(sheets);
    meter
        .u64_observable_counter(UPSTREAM_REQUESTS)
        .with_description("Requests to instances, by service and gRPC status")
        .with_callback(move |observer| {
            if let Some(sheets) = upstreams.upgrade() {
                page::each_upstream(&sheets, |pairs, count| observer.observe(count, &labels(pairs)));
            }
        })
        .build();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Answered, RouteTally, UpstreamTally, Verb};

    #[test]
    fn with_a_receiver_the_counts_of_the_sheets_are_pushed() {
        let instruments = Instruments::new(2, true);
        for index in 0..2 {
            let sheet = instruments.of_thread(index).sheet;
            let answered =
                Answered { protocol: Protocol::Json, verb: Verb::Get, status: 200, code: Some(tonic::Code::Ok) };
            RouteTally::new("pushed").record(&sheet, answered, Duration::ZERO, None);
            UpstreamTally::new(&sheet, "a.Pushed").record(tonic::Code::Ok, Duration::ZERO, None);
        }
        // What OpenTelemetry has is pushed; this is another reader of the same.
        let text = mcp_chassis::metrics::text();
        let pushed = |start: &str, label: &str| {
            let line = text.lines().find(|line| line.starts_with(start) && line.contains(label));
            line.is_some_and(|line| line.ends_with(" 2") && line.contains(r#"code="OK""#))
        };
        assert!(pushed("mcp_gateway_requests_total{", r#"route="pushed""#), "{text}");
        assert!(pushed("mcp_gateway_upstream_requests_total{", r#"upstream="a.Pushed""#), "{text}");
    }
}
