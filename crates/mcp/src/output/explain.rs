//! Why a task is where it is.

use std::{fmt::Write as _, time::SystemTime};

use mcp_proto::scheduler::v1::{ExplainTaskResponse, Holder, Reason, TaskState};

use super::{
    table::{Facts, between, from_now, moment},
    task,
};

/// Why writing to a `String` cannot fail.
const IN_MEMORY: &str = "a String takes all that is written to it";

/// The explanation of the task or workflow `id`: its state, then the reasons in the order in which they block.
pub fn explanation(id: &str, explained: &ExplainTaskResponse, now: SystemTime) -> String {
    let mut facts = Facts::new();
    if explained.state() == TaskState::Unspecified {
        facts.add("workflow", id);
    } else {
        facts.add("task", id);
        facts.add("state", task::state(explained.state()));
    }
    facts.add("because", &*explained.summary);
    let next = explained.next_change.map(|time| format!("{} ({})", from_now(Some(time), now), moment(Some(time))));
    facts.add("next change", next.unwrap_or_else(|| "when others change something".to_owned()));
    let mut text = facts.text();
    text.push('\n');
    for (number, reason) in (1..).zip(&explained.reasons) {
        add(&mut text, number, reason, now);
    }
    text.trim_end().to_owned()
}

fn add(text: &mut String, number: usize, reason: &Reason, now: SystemTime) {
    write!(text, "\n{number}. {}", reason.kind).expect(IN_MEMORY);
    if reason.since.is_some() {
        write!(text, ", for {}", between(reason.since, Some(now))).expect(IN_MEMORY);
    }
    if reason.until.is_some() {
        write!(text, ", over {}", from_now(reason.until, now)).expect(IN_MEMORY);
    }
    writeln!(text, "\n   {}", reason.message).expect(IN_MEMORY);
    for holder in &reason.holders {
        writeln!(text, "   - {}", described(holder, now)).expect(IN_MEMORY);
    }
    let shown = u32::try_from(reason.holders.len()).unwrap_or(u32::MAX);
    if reason.holder_count > shown {
        writeln!(text, "   - and {} more", reason.holder_count - shown).expect(IN_MEMORY);
    }
}

/// `task X on worker Y for 5s: detail`.
fn described(holder: &Holder, now: SystemTime) -> String {
    let mut parts = Vec::new();
    if !holder.step.is_empty() {
        parts.push(format!("step {}", holder.step));
    }
    if !holder.task_id.is_empty() {
        parts.push(format!("task {}", holder.task_id));
    }
    if !holder.worker_id.is_empty() {
        let on = if parts.is_empty() { "" } else { "on " };
        parts.push(format!("{on}worker {}", holder.worker_id));
    }
    if holder.since.is_some() {
        parts.push(format!("for {}", between(holder.since, Some(now))));
    }
    let who = parts.join(" ");
    if holder.detail.is_empty() { who } else { format!("{who}: {}", holder.detail) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mcp_proto::scheduler::v1::{ExplainTaskResponse, Holder, Reason, TaskState};
    use prost_types::Timestamp;

    use super::explanation;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn reasons_say_who_since_and_until() {
        let holder =
            Holder { task_id: "T1".to_owned(), worker_id: "w1".to_owned(), since: at(40), ..Holder::default() };
        let worker =
            Holder { worker_id: "w2".to_owned(), detail: "has no label `gpu`".to_owned(), ..Holder::default() };
        let explained = ExplainTaskResponse {
            state: TaskState::Pending.into(),
            summary: "the queue `default/q` runs as many tasks as it may".to_owned(),
            reasons: vec![
                Reason {
                    kind: "QUEUE_CONCURRENCY".to_owned(),
                    message: "the queue runs 5 of at most 5 tasks".to_owned(),
                    since: at(90),
                    holders: vec![holder],
                    holder_count: 5,
                    ..Reason::default()
                },
                Reason {
                    kind: "NO_MATCHING_WORKER".to_owned(),
                    message: "no worker has what the task asks for".to_owned(),
                    until: at(160),
                    holders: vec![worker],
                    holder_count: 1,
                    ..Reason::default()
                },
            ],
            next_change: at(130),
        };
        let expected = "\
task         T0
state        PENDING
because      the queue `default/q` runs as many tasks as it may
next change  in 30.0s (1970-01-01T00:02:10.000Z)

1. QUEUE_CONCURRENCY, for 10.0s
   the queue runs 5 of at most 5 tasks
   - task T1 on worker w1 for 1m 0s
   - and 4 more

2. NO_MATCHING_WORKER, over in 1m 0s
   no worker has what the task asks for
   - worker w2: has no label `gpu`";
        let text = explanation("T0", &explained, SystemTime::UNIX_EPOCH + Duration::from_secs(100));
        assert_eq!(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"), expected);
    }

    #[test]
    fn without_a_known_time_it_depends_on_others() {
        let explained =
            ExplainTaskResponse { summary: "no worker is there".to_owned(), ..ExplainTaskResponse::default() };
        let text = explanation("T0", &explained, SystemTime::UNIX_EPOCH);
        assert!(text.contains("next change  when others change something"), "{text}");
        assert!(text.starts_with("workflow     T0"), "only a task has a state: {text}");
    }
}
