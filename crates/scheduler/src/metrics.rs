//! What the scheduler measures: every name and label value. To the names of counters the exporter adds `_total`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mcp_engine::{QueueKey, Stats};
use mcp_proto::scheduler::v1::TaskState;
use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram},
};

/// Tasks that became durable. Label `queue`.
pub const SUBMITTED: &str = "mcp_scheduler_tasks_submitted";
/// Attempts given to workers. Label `queue`.
pub const STARTED: &str = "mcp_scheduler_attempts_started";
/// Tasks that became final. Labels `queue`, `state`.
pub const FINISHED: &str = "mcp_scheduler_tasks_finished";
/// Attempts after which another one follows. Label `queue`.
pub const RETRIED: &str = "mcp_scheduler_attempts_retried";
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
/// Queues that one batch counts apart.
const TALLY_QUEUES_MAX: usize = 256;

/// The instruments of one scheduler.
#[derive(Debug)]
pub(crate) struct Metrics {
    submitted: Counter<u64>,
    started: Counter<u64>,
    finished: Counter<u64>,
    retried: Counter<u64>,
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
        Arc::new(Self {
            submitted: meter.u64_counter(SUBMITTED).with_description("Tasks that became durable").build(),
            started: meter.u64_counter(STARTED).with_description("Attempts given to workers").build(),
            finished: meter.u64_counter(FINISHED).with_description("Tasks that became final").build(),
            retried: meter.u64_counter(RETRIED).with_description("Attempts after which another follows").build(),
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
        for (queue, counts) in tally.queues.drain(..) {
            let label = self.label(&queue);
            let of_queue = std::slice::from_ref(&label);
            let add = |counter: &Counter<u64>, count| {
                if count > 0 {
                    counter.add(count, of_queue);
                }
            };
            add(&self.submitted, counts.submitted);
            add(&self.started, counts.started);
            add(&self.retried, counts.retried);
            for (state, count) in
                [("succeeded", counts.succeeded), ("failed", counts.failed), ("cancelled", counts.cancelled)]
            {
                if count > 0 {
                    self.finished.add(count, &[label.clone(), KeyValue::new("state", state)]);
                }
            }
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
            return KeyValue::new("queue", OTHER);
        }
        let label = KeyValue::new("queue", format!("{}/{}", queue.namespace, queue.queue));
        labels.insert(queue.clone(), label.clone());
        label
    }
}

/// Counts of one batch, by queue.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    queues: Vec<(QueueKey, Counts)>,
}

/// Counts of one queue.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Tasks submitted.
    pub(crate) submitted: u64,
    /// Attempts started.
    pub(crate) started: u64,
    /// Attempts after which another one follows.
    pub(crate) retried: u64,
    succeeded: u64,
    failed: u64,
    cancelled: u64,
}

impl Counts {
    /// Counts a final task.
    pub(crate) fn finished(&mut self, state: TaskState) {
        match state {
            TaskState::Succeeded => self.succeeded += 1,
            TaskState::Cancelled => self.cancelled += 1,
            _ => self.failed += 1,
        }
    }
}

impl Tally {
    /// The counts of a queue. In a batch over very many queues, the later ones are counted with the last.
    pub(crate) fn of(&mut self, queue: &QueueKey) -> &mut Counts {
        let same = |other: &QueueKey| Arc::ptr_eq(&other.queue, &queue.queue) || other == queue;
        let at = match self.queues.iter().rposition(|(other, _)| same(other)) {
            Some(at) => at,
            None if self.queues.len() < TALLY_QUEUES_MAX => {
                self.queues.push((queue.clone(), Counts::default()));
                self.queues.len() - 1
            }
            None => self.queues.len() - 1,
        };
        &mut self.queues[at].1
    }
}
