//! Queues and their dead letters as tables.

use std::time::SystemTime;

use mcp_proto::scheduler::v1::{
    DeadLetter, GetQueueScalingResponse, Queue, QueueRules, Rate, ReplayDeadLettersResponse,
};

use super::{
    table::{Facts, between, error, from_now, labels, length, moment, plain, shortened_to, text, unless_zero},
    task,
};

/// Longest reason that a row shows, in characters.
const REASON_CHARS_MAX: usize = 80;

/// The queues, one per row.
pub fn queues(queues: &[Queue]) -> String {
    let header = ["QUEUE", "STATE", "PENDING", "RUNNING", "SCHEDULED", "RETRYING", "OLDEST", "LIMITS"];
    let mut table = plain(&header);
    for queue in queues {
        table.add_row([
            format!("{}/{}", queue.namespace, queue.queue),
            state(queue),
            queue.pending.to_string(),
            queue.running.to_string(),
            queue.scheduled.to_string(),
            queue.retrying.to_string(),
            length(queue.oldest_age),
            limits(queue.rules.as_ref()),
        ]);
    }
    text(table)
}

/// One queue, one line per thing that is known of it.
pub fn queue(queue: &Queue, now: SystemTime) -> String {
    let rules = queue.rules.clone().unwrap_or_default();
    let mut facts = Facts::new();
    facts.add("queue", format!("{}/{}", queue.namespace, queue.queue));
    facts.add("state", state(queue));
    facts.add("paused", from_now(queue.pause_time, now));
    facts.add("draining", from_now(queue.drain_time, now));
    facts.add("pending", queue.pending.to_string());
    facts.add("running", queue.running.to_string());
    facts.add("scheduled", queue.scheduled.to_string());
    facts.add("retrying", queue.retrying.to_string());
    facts.add("oldest", length(queue.oldest_age));
    facts.add("concurrency", unless_zero(rules.concurrency_max.into()));
    facts.add("concurrency per key", unless_zero(rules.key_concurrency_max.into()));
    facts.add("rate", rules.rate.as_ref().map(rate).unwrap_or_default());
    facts.add("rate per key", rules.key_rate.as_ref().map(rate).unwrap_or_default());
    facts.add("tasks at most", unless_zero(rules.tasks_max));
    let weights: Vec<(String, String)> =
        rules.weights.iter().map(|(key, weight)| (key.clone(), weight.to_string())).collect();
    facts.add("weights", labels(weights.iter().map(|(key, weight)| (key, weight))));
    facts.text()
}

/// The autoscaling signal.
pub fn scaling(signal: &GetQueueScalingResponse) -> String {
    let mut facts = Facts::new();
    facts.add("needed workers", format!("{:.0}", signal.needed_workers));
    facts.add("workers now", format!("{:.0}", signal.workers));
    facts.add("pending", format!("{:.0}", signal.queue_depth));
    facts.add("running", format!("{:.0}", signal.running));
    facts.add("oldest", format!("{:.1}s", signal.oldest_age_seconds));
    facts.add("started", format!("{:.2}/s", signal.start_rate));
    facts.add("an attempt runs", format!("{:.3}s", signal.run_seconds));
    facts.text()
}

/// The dead letters, one per row.
pub fn dead_letters(letters: &[DeadLetter], now: SystemTime) -> String {
    let mut table = plain(&["TASK", "NAME", "GIVEN UP", "AGE", "ATTEMPTS", "REASON"]);
    for letter in letters {
        let task = letter.task.clone().unwrap_or_default();
        let spec = task.spec.clone().unwrap_or_default();
        table.add_row([
            task.id.clone(),
            shortened_to(&task::name(&spec), REASON_CHARS_MAX),
            moment(letter.time),
            between(letter.time, Some(now)),
            task.attempt.to_string(),
            shortened_to(&error(task.error.as_ref()), REASON_CHARS_MAX),
        ]);
    }
    text(table)
}

/// What a replay did: each old task and its new one.
pub fn replayed(done: &ReplayDeadLettersResponse) -> String {
    let mut table = plain(&["TASK", "REPLAYED AS"]);
    for replayed in &done.replayed {
        table.add_row([replayed.task_id.clone(), replayed.new_task_id.clone()]);
    }
    let mut lines = vec![text(table)];
    lines.extend(done.errors.iter().map(|failed| format!("not replayed: {}", error(Some(failed)))));
    lines.join("\n")
}

fn state(queue: &Queue) -> String {
    match (queue.pause_time.is_some(), queue.drain_time.is_some()) {
        (false, false) => "OPEN",
        (true, false) => "PAUSED",
        (false, true) => "DRAINING",
        (true, true) => "PAUSED, DRAINING",
    }
    .to_owned()
}

/// The limits in one line, in the language of `mcp queue set`.
fn limits(rules: Option<&QueueRules>) -> String {
    let rules = rules.cloned().unwrap_or_default();
    let mut parts = Vec::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            parts.push(format!("{name} {value}"));
        }
    };
    add("concurrency", unless_zero(rules.concurrency_max.into()));
    add("key-concurrency", unless_zero(rules.key_concurrency_max.into()));
    add("rate", rules.rate.as_ref().map(rate).unwrap_or_default());
    add("key-rate", rules.key_rate.as_ref().map(rate).unwrap_or_default());
    add("tasks-max", unless_zero(rules.tasks_max));
    add("weights", unless_zero(rules.weights.len() as u64));
    parts.join(", ")
}

/// A rate as it is typed.
fn rate(rate: &Rate) -> String {
    let (count, unit) = match rate.per_second {
        per_second if per_second >= 1.0 => (per_second, "s"),
        per_second if per_second * 60.0 >= 1.0 => (per_second * 60.0, "m"),
        per_second => (per_second * 3_600.0, "h"),
    };
    // Rounded to what anybody types; 1/3 a second is 20/m and not 19.999999999999996/m.
    let count = (count * 1e6).round() / 1e6;
    let burst = if rate.burst > 1 { format!(":{}", rate.burst) } else { String::new() };
    format!("{count}/{unit}{burst}")
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mcp_proto::{
        common::v1::Error,
        scheduler::v1::{DeadLetter, Queue, QueueRules, Rate, ReplayDeadLettersResponse, Replayed, Task},
    };
    use prost_types::Timestamp;

    use super::{dead_letters, queues, rate, replayed};

    fn queue() -> Queue {
        Queue {
            namespace: "default".to_owned(),
            queue: "render".to_owned(),
            rules: Some(QueueRules {
                concurrency_max: 8,
                rate: Some(Rate { per_second: 100.0, burst: 20 }),
                weights: [("ana".to_owned(), 3)].into(),
                ..QueueRules::default()
            }),
            pause_time: Some(Timestamp { seconds: 40, nanos: 0 }),
            pending: 7,
            running: 2,
            oldest_age: Some(prost_types::Duration { seconds: 65, nanos: 0 }),
            ..Queue::default()
        }
    }

    fn trimmed(text: &str) -> String {
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_list_shows_load_and_limits() {
        let expected = "\
QUEUE           STATE   PENDING  RUNNING  SCHEDULED  RETRYING  OLDEST  LIMITS
default/render  PAUSED  7        2        0          0         1m 5s   concurrency 8, rate 100/s:20, weights 1";
        assert_eq!(trimmed(&queues(&[queue()])), expected);
    }

    #[test]
    fn one_queue_shows_its_rules_and_nothing_that_is_not_set() {
        let expected = "\
queue        default/render
state        PAUSED
paused       1m 0s ago
pending      7
running      2
scheduled    0
retrying     0
oldest       1m 5s
concurrency  8
rate         100/s:20
weights      ana=3";
        assert_eq!(trimmed(&super::queue(&queue(), SystemTime::UNIX_EPOCH + Duration::from_secs(100))), expected);
    }

    #[test]
    fn rates_look_as_they_are_typed() {
        let shown = [(100.0, 0), (0.5, 1), (1.0 / 3.0, 5), (0.01, 0), (1.5, 0)]
            .map(|(per_second, burst)| rate(&Rate { per_second, burst }));
        assert_eq!(shown, ["100/s", "30/m", "20/m:5", "36/h", "1.5/s"]);
    }

    #[test]
    fn dead_letters_and_replays_have_a_row_each() {
        let error =
            Error { code: 3002, name: "RUN_TIMEOUT".to_owned(), message: "too long".to_owned(), ..Error::default() };
        let task = Task { id: "T1".to_owned(), attempt: 3, error: Some(error.clone()), ..Task::default() };
        let letter = DeadLetter { task: Some(task), time: Some(Timestamp { seconds: 40, nanos: 0 }) };
        let text = dead_letters(&[letter], SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        assert!(
            text.contains("T1") && text.contains("1m 0s") && text.contains("RUN_TIMEOUT (3002): too long"),
            "{text}"
        );

        let pair = Replayed { task_id: "T1".to_owned(), new_task_id: "T2".to_owned() };
        let done = ReplayDeadLettersResponse { replayed: vec![pair], errors: vec![error], more: false };
        let expected = "TASK  REPLAYED AS\nT1    T2\nnot replayed: RUN_TIMEOUT (3002): too long";
        assert_eq!(trimmed(&replayed(&done)), expected);
    }
}
