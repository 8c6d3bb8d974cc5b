//! What the scheduler measures: every name and label value.
//!
//! Names are OpenTelemetry's: in Prometheus' text `.` becomes `_`, a unit of `s` adds `_seconds`, and a counter `_total`.
//! A queue's label is `namespace/queue`; the first `QUEUE_LABELS_MAX` queues get one, the rest share `other`.

mod conducted;
mod tally;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mcp_engine::{Engine, QueueKey, QueueStats, Stats};
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, Meter},
};

pub(crate) use self::{conducted::Conducted, tally::Tally};

/// Tasks that became durable. Label `queue`.
pub const SUBMITTED: &str = "mcp.scheduler.tasks.submitted";
/// Attempts given to workers. Label `queue`.
pub const STARTED: &str = "mcp.scheduler.attempts.started";
/// Tasks that became final. Labels `queue`, `state`.
pub const FINISHED: &str = "mcp.scheduler.tasks.finished";
/// Tasks that failed for good. Label `queue`.
pub const FAILED: &str = "mcp.scheduler.tasks.failed";
/// Attempts after which another one follows. Label `queue`.
pub const RETRIED: &str = "mcp.scheduler.attempts.retried";
/// Tasks put on the list of dead letters. Label `queue`.
pub const DEAD_LETTERED: &str = "mcp.scheduler.tasks.dead_lettered";
/// How long a task was due before its attempt started. Label `queue`.
pub const WAIT: &str = "mcp.scheduler.task.wait.duration";
/// How long attempts ran, whatever their end. Label `queue`.
pub const RUN: &str = "mcp.scheduler.attempt.run.duration";
/// Tasks that are due and wait. Label `queue`.
pub const QUEUE_DEPTH: &str = "mcp.scheduler.queue.depth";
/// Tasks that are with a worker. Label `queue`.
pub const QUEUE_RUNNING: &str = "mcp.scheduler.queue.running";
/// Tasks that wait for a delay or a backoff. Label `queue`.
pub const QUEUE_DELAYED: &str = "mcp.scheduler.queue.delayed";
/// For how long the task that is first in the order of dispatch is due. Label `queue`; `other` has none.
pub const QUEUE_OLDEST_AGE: &str = "mcp.scheduler.queue.oldest_age";
/// Fire times of schedules that were decided on. Label `outcome`: `ran`, `skipped`, `missed`.
pub const FIRES: &str = "mcp.scheduler.schedule.fires";
/// Schedules.
pub const SCHEDULES: &str = "mcp.scheduler.schedules";
/// Workflows that became durable.
pub const WORKFLOWS_SUBMITTED: &str = "mcp.scheduler.workflows.submitted";
/// Workflows that became final. Label `state`: `succeeded`, `failed`, `cancelled`.
pub const WORKFLOWS_FINISHED: &str = "mcp.scheduler.workflows.finished";
/// How long workflows took from their submit to their end. Label `state`.
pub const WORKFLOW_DURATION: &str = "mcp.scheduler.workflow.duration";
/// Workflows that are not final.
pub const WORKFLOWS_RUNNING: &str = "mcp.scheduler.workflows.running";
/// Unfinished tasks. Label `state`.
pub const TASKS: &str = "mcp_scheduler_tasks";
/// Time that one commit took.
pub const COMMIT_SECONDS: &str = "mcp_scheduler_commit_seconds";
/// Records of one commit.
pub const COMMIT_RECORDS: &str = "mcp_scheduler_commit_records";
/// Requests that wait for the loop.
pub const INBOX_LEN: &str = "mcp_scheduler_inbox_requests";
/// Workers with a session or a lease.
pub const WORKERS: &str = "mcp_scheduler_workers";
/// Partitions that are open here.
pub const PARTITIONS: &str = "mcp_scheduler_partitions";
/// Free slots of all workers.
pub const SLOTS_FREE: &str = "mcp_scheduler_slots_free";

/// Queues that get a label of their own; the rest share `other`.
const QUEUE_LABELS_MAX: usize = 100;
/// The label of the rest.
const OTHER: &str = "other";
/// Bounds of the buckets of durations, in seconds.
const DURATION_BOUNDS: [f64; 16] =
    [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0];

/// The instruments of one scheduler.
#[derive(Debug)]
pub(crate) struct Metrics {
    submitted: Counter<u64>,
    started: Counter<u64>,
    finished: Counter<u64>,
    failed: Counter<u64>,
    retried: Counter<u64>,
    dead_lettered: Counter<u64>,
    wait: Histogram<f64>,
    run: Histogram<f64>,
    depth: Gauge<u64>,
    running: Gauge<u64>,
    delayed: Gauge<u64>,
    oldest_age: Gauge<f64>,
    fires: Counter<u64>,
    schedules: Gauge<u64>,
    workflows_submitted: Counter<u64>,
    workflows_finished: Counter<u64>,
    workflow_duration: Histogram<f64>,
    workflows_running: Gauge<u64>,
    tasks: Gauge<u64>,
    commit_seconds: Histogram<f64>,
    commit_records: Histogram<u64>,
    inbox_len: Gauge<u64>,
    workers: Gauge<u64>,
    slots_free: Gauge<u64>,
    partitions: Gauge<u64>,
    labels: Mutex<HashMap<QueueKey, KeyValue>>,
}

impl Metrics {
    /// The instruments, on the meter of the process.
    pub(crate) fn new() -> Arc<Self> {
        let meter = mcp_chassis::metrics::meter("mcp-scheduler");
        let count = |name, unit, text| meter.u64_counter(name).with_unit(unit).with_description(text).build();
        let gauge = |name, text| meter.u64_gauge(name).with_unit("{task}").with_description(text).build();
        Arc::new(Self {
            submitted: count(SUBMITTED, "{task}", "Tasks that became durable"),
            started: count(STARTED, "{attempt}", "Attempts given to workers"),
            finished: count(FINISHED, "{task}", "Tasks that became final"),
            failed: count(FAILED, "{task}", "Tasks that failed for good"),
            retried: count(RETRIED, "{attempt}", "Attempts after which another follows"),
            dead_lettered: count(DEAD_LETTERED, "{task}", "Tasks put on the list of dead letters"),
            wait: durations(&meter, WAIT, "How long a task was due before its attempt started"),
            run: durations(&meter, RUN, "How long attempts ran"),
            depth: gauge(QUEUE_DEPTH, "Tasks that are due and wait"),
            running: gauge(QUEUE_RUNNING, "Tasks that are with a worker"),
            delayed: gauge(QUEUE_DELAYED, "Tasks that wait for a delay or a backoff"),
            oldest_age: meter
                .f64_gauge(QUEUE_OLDEST_AGE)
                .with_unit("s")
                .with_description("For how long the first waiting task is due")
                .build(),
            fires: count(FIRES, "{fire}", "Fire times that were decided on"),
            schedules: meter.u64_gauge(SCHEDULES).with_unit("{schedule}").with_description("Schedules").build(),
            workflows_submitted: count(WORKFLOWS_SUBMITTED, "{workflow}", "Workflows that became durable"),
            workflows_finished: count(WORKFLOWS_FINISHED, "{workflow}", "Workflows that became final"),
            workflow_duration: durations(&meter, WORKFLOW_DURATION, "How long workflows took from submit to end"),
            workflows_running: meter
                .u64_gauge(WORKFLOWS_RUNNING)
                .with_unit("{workflow}")
                .with_description("Workflows that are not final")
                .build(),
            tasks: meter.u64_gauge(TASKS).with_description("Unfinished tasks").build(),
            commit_seconds: meter
                .f64_histogram(COMMIT_SECONDS)
                .with_description("Time that one commit took")
                .with_boundaries(vec![
                    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0,
                ])
                .build(),
            commit_records: meter
                .u64_histogram(COMMIT_RECORDS)
                .with_description("Records of one commit")
                .with_boundaries(vec![1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0])
                .build(),
            inbox_len: meter.u64_gauge(INBOX_LEN).with_description("Requests that wait for the loop").build(),
            workers: meter.u64_gauge(WORKERS).with_description("Workers with a session or a lease").build(),
            slots_free: meter.u64_gauge(SLOTS_FREE).with_description("Free slots of all workers").build(),
            partitions: meter.u64_gauge(PARTITIONS).with_description("Partitions that are open here").build(),
            labels: Mutex::default(),
        })
    }

    /// Counts a commit and what it made durable.
    pub(crate) fn committed(&self, tally: &mut Tally, records: usize, took: Duration) {
        if records > 0 {
            self.commit_seconds.record(took.as_secs_f64(), &[]);
            self.commit_records.record(records as u64, &[]);
        }
        for (queue, counts) in tally.drain() {
            let label = queue.map_or_else(other, |queue| self.label(&queue));
            let of_queue = std::slice::from_ref(&label);
            let add = |counter: &Counter<u64>, count| {
                if count > 0 {
                    counter.add(count, of_queue);
                }
            };
            add(&self.submitted, counts.submitted);
            add(&self.started, counts.waited.len() as u64);
            add(&self.retried, counts.retried);
            add(&self.failed, counts.failed);
            add(&self.dead_lettered, counts.dead_lettered);
            counts.waited.iter().for_each(|millis| self.wait.record(f64::from(*millis) / 1_000.0, of_queue));
            counts.ran.iter().for_each(|millis| self.run.record(f64::from(*millis) / 1_000.0, of_queue));
            for (state, count) in
                [("succeeded", counts.succeeded), ("failed", counts.failed), ("cancelled", counts.cancelled)]
            {
                if count > 0 {
                    self.finished.add(count, &[label.clone(), KeyValue::new("state", state)]);
                }
            }
        }
    }

    /// Counts what became of fire times and workflows.
    pub(crate) fn conducted(&self, counts: Conducted) {
        let Conducted { ran, skipped, missed, submitted, ended } = counts;
        for (outcome, count) in [("ran", ran), ("skipped", skipped), ("missed", missed)] {
            if count > 0 {
                self.fires.add(count, &[KeyValue::new("outcome", outcome)]);
            }
        }
        if submitted > 0 {
            self.workflows_submitted.add(submitted, &[]);
        }
        for (state, took_ms) in ended {
            let of_state = [KeyValue::new("state", state)];
            self.workflows_finished.add(1, &of_state);
            self.workflow_duration.record(Duration::from_millis(took_ms).as_secs_f64(), &of_state);
        }
    }

    /// Notes how many schedules and unfinished workflows there are here.
    pub(crate) fn holds_conducted(&self, schedules: usize, workflows: usize) {
        self.schedules.record(schedules as u64, &[]);
        self.workflows_running.record(workflows as u64, &[]);
    }

    /// Notes what the queues hold. Looks at those that have a label, so its time does not depend on how many there are.
    pub(crate) fn queues(&self, engine: &Engine, now: u64) {
        for (queue, _) in engine.queues().take(QUEUE_LABELS_MAX) {
            self.label(queue); // also of a queue that was loaded and where nothing happens
        }
        let labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = engine.stats();
        let (mut depth, mut running, mut delayed) = (all.pending, all.running, all.scheduled + all.retrying);
        for (queue, label) in &labels {
            let stats = engine.queue_stats(queue).unwrap_or_default();
            let QueueStats { waiting, scheduled, running: runs, retrying, oldest_due, .. } = stats;
            let of_queue = std::slice::from_ref(label);
            self.depth.record(waiting as u64, of_queue);
            self.running.record(runs as u64, of_queue);
            self.delayed.record((scheduled + retrying) as u64, of_queue);
            let age = Duration::from_millis(oldest_due.map_or(0, |due| now.saturating_sub(due)));
            self.oldest_age.record(age.as_secs_f64(), of_queue);
            depth = depth.saturating_sub(waiting);
            running = running.saturating_sub(runs);
            delayed = delayed.saturating_sub(scheduled + retrying);
        }
        if labels.len() >= QUEUE_LABELS_MAX {
            let of_others = [other()];
            self.depth.record(depth as u64, &of_others);
            self.running.record(running as u64, &of_others);
            self.delayed.record(delayed as u64, &of_others);
        }
    }

    /// Notes how many partitions are open here.
    pub(crate) fn partitions(&self, open: usize) {
        self.partitions.record(open as u64, &[]);
    }

    /// Notes how much the loop holds.
    pub(crate) fn holds(&self, stats: &Stats, inbox_len: usize) {
        let states = [
            ("pending", stats.pending),
            ("scheduled", stats.scheduled),
            ("running", stats.running),
            ("retrying", stats.retrying),
        ];
        for (state, count) in states {
            self.tasks.record(count as u64, &[KeyValue::new("state", state)]);
        }
        self.inbox_len.record(inbox_len as u64, &[]);
        self.workers.record(stats.workers as u64, &[]);
        self.slots_free.record(stats.free_slots, &[]);
    }

    fn label(&self, queue: &QueueKey) -> KeyValue {
        let mut labels = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(label) = labels.get(queue) {
            return label.clone();
        }
        if labels.len() >= QUEUE_LABELS_MAX {
            return other();
        }
        let label = KeyValue::new("queue", format!("{}/{}", queue.namespace, queue.queue));
        labels.insert(queue.clone(), label.clone());
        label
    }
}

/// The label of the queues that have none.
fn other() -> KeyValue {
    KeyValue::new("queue", OTHER)
}

fn durations(meter: &Meter, name: &'static str, text: &'static str) -> Histogram<f64> {
    let histogram = meter.f64_histogram(name).with_unit("s").with_description(text);
    histogram.with_boundaries(DURATION_BOUNDS.to_vec()).build()
}
