//! The worker's metrics.

use mcp_client::worker::ProcessOutcome;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, UpDownCounter},
};

/// Programs that run now.
const RUNNING: &str = "mcp_worker_processes_running";
/// Programs that ended; the exporter adds `_total`.
const ENDED: &str = "mcp_worker_processes_ended";
/// Label of [`ENDED`]: `OK`, or the name of an error of the catalogue.
const OUTCOME: &str = "outcome";
/// The outcome of a program that did its work.
const OUTCOME_OK: &str = "OK";

#[derive(Debug)]
pub(super) struct Metrics {
    running: UpDownCounter<i64>,
    ended: Counter<u64>,
}

/// Counts a program as running while it lives.
pub(super) struct Running<'a>(&'a Metrics);

impl Metrics {
    pub(super) fn new() -> Self {
        let meter = mcp_chassis::metrics::meter("worker");
        Self {
            running: meter.i64_up_down_counter(RUNNING).with_description("Programs that run now").build(),
            ended: meter.u64_counter(ENDED).with_description("Programs that ended, by outcome").build(),
        }
    }

    pub(super) fn running(&self) -> Running<'_> {
        self.running.add(1, &[]);
        Running(self)
    }

    pub(super) fn count(&self, outcome: &ProcessOutcome) {
        let name = outcome.result.as_ref().map_or_else(|error| error.code().name(), |_| OUTCOME_OK);
        self.ended.add(1, &[KeyValue::new(OUTCOME, name)]);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.add(-1, &[]);
    }
}
