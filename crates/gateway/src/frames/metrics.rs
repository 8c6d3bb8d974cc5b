//! What is counted about sessions besides their calls.

use std::sync::Arc;

use opentelemetry::{KeyValue, metrics::Counter};

use crate::metrics::Level;

/// Scope of the instruments.
const SCOPE: &str = "gateway";

/// Instruments of the process.
#[derive(Debug)]
pub(crate) struct Instruments {
    /// Sessions that have a connection now.
    pub(crate) sessions: Arc<Level>,
    broken: Counter<u64>,
    unresponsive: Counter<u64>,
    events_dropped: Counter<u64>,
}

impl Instruments {
    /// Makes them. Gateways in one process share the counters.
    pub(crate) fn new() -> Self {
        let meter = mcp_chassis::metrics::meter(SCOPE);
        let instruments = Self {
            sessions: Arc::default(),
            broken: meter
                .u64_counter("mcp_gateway_frames_broken")
                .with_description("Bytes on the wire frame that were no frame, by what was wrong")
                .build(),
            events_dropped: meter
                .u64_counter("mcp_gateway_frame_events_dropped")
                .with_description("Events that were dropped because their subscriber was slow")
                .build(),
            unresponsive: meter
                .u64_counter("mcp_gateway_frame_sessions_unresponsive")
                .with_description("Sessions that were closed because their client was silent or took no answers")
                .build(),
        };
        let sessions = Arc::downgrade(&instruments.sessions);
        meter
            .i64_observable_gauge("mcp_gateway_frame_sessions")
            .with_description("Sessions of the wire frame that have a connection")
            .with_callback(move |observer| {
                if let Some(level) = sessions.upgrade() {
                    observer.observe(level.get(), &[]);
                }
            })
            .build();
        instruments
    }

    /// Counts what was no frame.
    pub(crate) fn broken(&self, reason: &'static str) {
        self.broken.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// Counts events that a slow subscriber missed.
    pub(crate) fn events_dropped(&self, count: u64) {
        self.events_dropped.add(count, &[]);
    }

    /// Counts a client that does not live.
    pub(crate) fn unresponsive(&self) {
        self.unresponsive.add(1, &[]);
    }
}
