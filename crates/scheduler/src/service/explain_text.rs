//! The engine's reasons in words.

use mcp_engine::{LabelRule, Mismatch, Operator, Reason, Saturation, WorkKind, WorkerId};
use mcp_proto::scheduler::v1::{self, TaskSpec};

use crate::{
    shell::{Explained, wire_id, wire_time},
    store::Stored,
};

/// Tells the reasons of one task.
pub(super) struct Teller<'a> {
    /// What the loop says.
    pub(super) explained: &'a Explained,
    /// What is on record.
    pub(super) stored: &'a Stored,
    /// What was submitted, or its brief.
    pub(super) spec: &'a TaskSpec,
}

/// When a reason began and ends, milliseconds since 1970.
#[derive(Default)]
struct Times {
    since: Option<u64>,
    until: Option<u64>,
}

impl Times {
    fn since(since: u64) -> Self {
        Self { since: Some(since), until: None }
    }

    fn until(until: u64) -> Self {
        Self { since: None, until: Some(until) }
    }
}

/// Who is in the way, as far as they are named, and how many they are.
#[derive(Default)]
struct Holders(Vec<v1::Holder>, usize);

impl Teller<'_> {
    /// A reason for the wire.
    pub(super) fn reason(&self, reason: &Reason) -> v1::Reason {
        let queue = &self.spec.queue;
        let (kind, message, times, holders) = match reason {
            Reason::Delayed { until } => {
                let since = Some(self.stored.id.unix_ms());
                let message = format!("its delay ends in {}", self.left(*until));
                ("DELAYED", message, Times { since, until: Some(*until) }, Holders::default())
            }
            Reason::BackingOff { until, failed, max_attempts } => self.backing_off(*until, *failed, *max_attempts),
            Reason::Grace { until } => {
                let message = format!(
                    "its queue has a new owner: for {} more, a worker that still runs the task may say so",
                    self.left(*until)
                );
                ("TAKE_OVER_GRACE", message, Times::until(*until), Holders::default())
            }
            Reason::QueuePaused { since } => {
                let message = format!("the queue `{queue}` is paused: `mcp queue resume {queue}` lets it go on");
                ("QUEUE_PAUSED", message, Times::since(*since), Holders::default())
            }
            Reason::QueueConcurrency(saturation) => {
                let message = format!("the queue `{queue}` runs {}", of_limit(saturation));
                ("QUEUE_CONCURRENCY", message, Times::since(saturation.since), self.holders(saturation))
            }
            Reason::KeyConcurrency { key, saturation } => {
                let message = format!("the key `{key}` of the queue `{queue}` runs {}", of_limit(saturation));
                ("KEY_CONCURRENCY", message, Times::since(saturation.since), self.holders(saturation))
            }
            Reason::QueueRate { next_token } => {
                let left = self.left(*next_token);
                let message = format!("the rate of the queue `{queue}` lets the next task start in {left}");
                ("QUEUE_RATE", message, Times::until(*next_token), Holders::default())
            }
            Reason::KeyRate { key, next_token } => {
                let left = self.left(*next_token);
                let message = format!("the rate of the key `{key}` lets its next task start in {left}");
                ("KEY_RATE", message, Times::until(*next_token), Holders::default())
            }
            Reason::NoWorkers | Reason::NoWorkerMatches { .. } | Reason::WorkersBusy { .. } => self.workers(reason),
            Reason::MakingRoom { worker } => {
                let message = "a worker stops a task of a lower priority to make room for it".to_owned();
                ("WORKERS_BUSY", message, Times::default(), Holders(vec![self.worker(*worker)], 1))
            }
            Reason::Behind { tasks, more } => {
                let message = format!("{} of the same key come first", counted(*tasks, *more, "task"));
                ("BEHIND_OTHERS", message, Times::default(), Holders(Vec::new(), *tasks))
            }
            Reason::FairShare { keys, more } => {
                let message = format!("it is the turn of {}", counted(*keys, *more, "other key"));
                ("FAIR_SHARE", message, Times::default(), Holders(Vec::new(), *keys))
            }
            Reason::Ready => {
                ("STARTING", "nothing holds it: it is about to start".to_owned(), Times::default(), Holders::default())
            }
            Reason::Running { worker, since, deadline } => {
                let message = format!("it runs on worker `{}`", self.name(*worker));
                let times = Times { since: Some(*since), until: Some(*deadline) };
                ("RUNNING", message, times, Holders(vec![self.worker(*worker)], 1))
            }
            Reason::Cancelling { worker } => self.cancelling(*worker),
        };
        v1::Reason {
            kind: kind.to_owned(),
            message,
            since: times.since.map(wire_time),
            until: times.until.map(wire_time),
            holders: holders.0,
            holder_count: u32::try_from(holders.1).unwrap_or(u32::MAX),
        }
    }

    fn backing_off(&self, until: u64, failed: u32, max_attempts: u32) -> (&'static str, String, Times, Holders) {
        let latest = self.stored.moving.failures.last();
        let error = self.stored.moving.error.as_ref();
        let why = error.map(|error| format!(" with {}", error.name)).unwrap_or_default();
        let left = self.left(until);
        let message = format!("attempt {failed} of {max_attempts} failed{why}: the next one is due in {left}");
        let times = Times { since: latest.map(|failed| failed.end_ms), until: Some(until) };
        ("BACKING_OFF", message, times, Holders::default())
    }

    fn workers(&self, reason: &Reason) -> (&'static str, String, Times, Holders) {
        let queue = &self.spec.queue;
        match reason {
            Reason::NoWorkerMatches { workers, mismatches, since } => {
                let none = format!("none of the {} that are there can run it", counted(*workers, false, "worker"));
                let told = |(mismatch, workers): &(Mismatch, usize)| {
                    let detail = format!("{}: {}", counted(*workers, false, "worker"), self.mismatch(mismatch));
                    v1::Holder { detail, ..v1::Holder::default() }
                };
                let holders: Vec<_> = mismatches.iter().map(told).collect();
                let first = holders.first().map(|holder| format!(" ({})", holder.detail)).unwrap_or_default();
                let message = format!("{none}{first}: start one that can");
                ("NO_MATCHING_WORKER", message, Times::since(*since), Holders(holders, *workers))
            }
            Reason::WorkersBusy { workers, some, without_room } => {
                let room = match without_room {
                    0 => String::new(),
                    _ => format!(", and {without_room} that have one lack the cpu or memory it asks for"),
                };
                let count = counted(*workers, false, "worker");
                let message = format!("no slot is free at the {count} that can run it{room}");
                let some = some.iter().map(|worker| self.worker(*worker)).collect();
                ("WORKERS_BUSY", message, Times::default(), Holders(some, *workers))
            }
            _ => {
                let message = format!("no worker is connected: start one that serves the queue `{queue}`");
                ("NO_WORKER", message, Times::default(), Holders::default())
            }
        }
    }

    fn cancelling(&self, worker: Option<WorkerId>) -> (&'static str, String, Times, Holders) {
        let (message, holders) = match worker {
            Some(worker) => {
                let name = self.name(worker);
                let message = format!("a cancel was accepted, and worker `{name}` is stopping it");
                (message, Holders(vec![self.worker(worker)], 1))
            }
            None => {
                let message = "a cancel was accepted: it ends when its worker reports it, or the grace is over";
                (message.to_owned(), Holders::default())
            }
        };
        ("CANCELLING", message, Times::default(), holders)
    }

    fn holders(&self, saturation: &Saturation) -> Holders {
        let holder = |holder: &mcp_engine::Holder| v1::Holder {
            task_id: wire_id(holder.task).to_string(),
            since: Some(wire_time(holder.since)),
            ..self.worker(holder.worker)
        };
        let some = saturation.holders.iter().map(holder).collect();
        Holders(some, saturation.running + saturation.perhaps_running)
    }

    fn worker(&self, worker: WorkerId) -> v1::Holder {
        v1::Holder { worker_id: self.name(worker).to_owned(), ..v1::Holder::default() }
    }

    fn name(&self, worker: WorkerId) -> &str {
        self.explained.workers.get(&worker).map_or("", |name| &**name)
    }

    fn left(&self, until: u64) -> String {
        span(until.saturating_sub(self.explained.now))
    }

    fn mismatch(&self, mismatch: &Mismatch) -> String {
        match mismatch {
            Mismatch::Namespace => format!("not for the namespace `{}`", self.spec.namespace),
            Mismatch::Queue => format!("not for the queue `{}`", self.spec.queue),
            Mismatch::Kind(WorkKind::Process) => "runs no programs".to_owned(),
            Mismatch::Kind(WorkKind::Handler(name)) => format!("has no handler `{name}`"),
            Mismatch::Label(rule) => format!("its labels are not `{}`", label_rule(rule)),
            Mismatch::Taint(taint) => format!("has the taint `{}={}`", taint.key, taint.value),
            Mismatch::Resources => "has less cpu or memory in all than it asks for".to_owned(),
        }
    }
}

fn of_limit(saturation: &Saturation) -> String {
    let Saturation { limit, running, perhaps_running, .. } = saturation;
    match perhaps_running {
        0 => format!("{running} of {limit} tasks that may run at a time"),
        held => format!("{running} of {limit} tasks that may run at a time, and {held} may still run elsewhere"),
    }
}

fn label_rule(rule: &LabelRule) -> String {
    let values = rule.values.join(", ");
    let key = &rule.key;
    match rule.operator {
        Operator::In => format!("{key} in ({values})"),
        Operator::NotIn => format!("{key} not in ({values})"),
        Operator::Exists => format!("{key} exists"),
        Operator::DoesNotExist => format!("{key} does not exist"),
        Operator::Gt => format!("{key} > {values}"),
        Operator::Lt => format!("{key} < {values}"),
    }
}

fn counted(count: usize, more: bool, noun: &str) -> String {
    let (over, plural) = (if more { "more than " } else { "" }, if count == 1 { "" } else { "s" });
    format!("{over}{count} {noun}{plural}")
}

/// A time for people.
fn span(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{} s", millis.div_ceil(1_000)),
        120_000..7_200_000 => format!("{} min", millis.div_ceil(60_000)),
        _ => format!("{} h", millis.div_ceil(3_600_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_are_for_people() {
        let spans = [0, 999, 1_001, 119_999, 120_000, 7_200_001].map(span);
        assert_eq!(spans, ["0 ms", "999 ms", "2 s", "120 s", "2 min", "3 h"]);
        assert_eq!(counted(1, false, "task"), "1 task");
        assert_eq!(counted(10_000, true, "other key"), "more than 10000 other keys");
    }
}
