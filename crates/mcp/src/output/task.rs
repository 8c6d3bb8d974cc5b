//! Tasks as tables.

use std::time::SystemTime;

use mcp_client::value::from_value;
use mcp_proto::scheduler::v1::{Delivery, LabelOperator, Placement, Task, TaskSpec, TaskState, task_spec::Work};

use super::table::{Facts, between, error, labels, moment, plain, second, shortened, text, time};

/// A state as people read it: `RUNNING`.
pub fn state(state: TaskState) -> &'static str {
    state.as_str_name().trim_start_matches("TASK_STATE_")
}

/// The tasks, one per row. `now` gives the ages.
pub fn tasks(tasks: &[Task], now: SystemTime) -> String {
    let mut table = plain(&["ID", "NAME", "QUEUE", "STATE", "ATTEMPT", "AGE", "TOOK"]);
    for task in tasks {
        let spec = task.spec.clone().unwrap_or_default();
        table.add_row([
            task.id.clone(),
            shortened(&name(&spec)),
            format!("{}/{}", spec.namespace, spec.queue),
            state(task.state()).to_owned(),
            task.attempt.to_string(),
            between(task.create_time, Some(now)),
            between(task.start_time, time(task.finish_time).or(Some(now))),
        ]);
    }
    text(table)
}

/// One task, one line per thing that is known of it.
pub fn task(task: &Task, now: SystemTime) -> String {
    let mut facts = Facts::new();
    let spec = task.spec.clone().unwrap_or_default();
    facts.add("task", &*task.id);
    facts.add("name", name(&spec));
    facts.add("state", state_of(task));
    facts.add("queue", format!("{}/{}", spec.namespace, spec.queue));
    facts.add("work", work(&spec));
    rules(&mut facts, &spec);
    origin(&mut facts, task);
    facts.add("attempt", attempt(task, &spec));
    facts.add("exit code", task.exit_code.map(|code| code.to_string()).unwrap_or_default());
    facts.add("progress", progress(task));
    facts.add("created", moment(task.create_time));
    facts.add("due", moment(task.due_time));
    facts.add("started", moment(task.start_time));
    facts.add("finished", moment(task.finish_time));
    facts.add("took", between(task.start_time, time(task.finish_time).or(Some(now))));
    facts.add("worker", &*task.worker_id);
    facts.add("labels", labels(&spec.labels));
    facts.add("trace", &*task.trace_id);
    facts.add("error", error(task.error.as_ref()));
    for failure in &task.failures {
        let took = between(failure.start_time, time(failure.end_time));
        let why = shortened(&error(failure.error.as_ref()));
        facts.add(&format!("attempt {}", failure.attempt), format!("{why} (on {}, {took})", failure.worker_id));
    }
    let output = task.output.clone().map(|output| shortened(&from_value(output).to_string()));
    facts.add("output", output.unwrap_or_default());
    facts.text()
}

/// What was asked for beyond the usual.
fn rules(facts: &mut Facts, spec: &TaskSpec) {
    facts.add("key", &*spec.key);
    facts.add("unique key", &*spec.unique_key);
    if spec.delivery() == Delivery::AtMostOnce {
        facts.add("delivery", "at most once");
    }
    facts.add("placement", spec.placement.as_ref().map(placement).unwrap_or_default());
}

/// Where the task comes from, and what became of it later.
fn origin(facts: &mut Facts, task: &Task) {
    if !task.workflow_id.is_empty() {
        facts.add("workflow", format!("{}, step {}", task.workflow_id, task.step));
    }
    if !task.schedule.is_empty() {
        facts.add("schedule", format!("{}, for {}", task.schedule, second(task.fire_time)));
    }
    facts.add("replay of", &*task.replay_of);
    facts.add("replayed as", &*task.replayed_as);
}

/// A placement in the language of the flags.
fn placement(placement: &Placement) -> String {
    let mut parts: Vec<String> = placement
        .rules
        .iter()
        .map(|rule| {
            let (key, values) = (&rule.key, rule.values.join(", "));
            match rule.operator() {
                LabelOperator::In => format!("{key} in ({values})"),
                LabelOperator::NotIn => format!("{key} notin ({values})"),
                LabelOperator::Exists => format!("{key} exists"),
                LabelOperator::DoesNotExist => format!("!{key}"),
                LabelOperator::Gt => format!("{key} > {values}"),
                LabelOperator::Lt => format!("{key} < {values}"),
                LabelOperator::Unspecified => key.clone(),
            }
        })
        .collect();
    parts.extend(placement.tolerations.iter().map(|toleration| match &toleration.value {
        Some(value) => format!("tolerates {}={value}", toleration.key),
        None => format!("tolerates {}", toleration.key),
    }));
    if placement.cpu_millis > 0 {
        parts.push(format!("cpu {}m", placement.cpu_millis));
    }
    if placement.memory_bytes > 0 {
        parts.push(format!("memory {} MiB", placement.memory_bytes.div_ceil(1 << 20)));
    }
    let strategy = placement.strategy().as_str_name().trim_start_matches("PLACEMENT_STRATEGY_");
    if strategy != "UNSPECIFIED" {
        parts.push(strategy.to_lowercase().replace('_', "-"));
    }
    if placement.preempt {
        parts.push("preempts".to_owned());
    }
    parts.join(", ")
}

/// The name people gave, or the handler's or the program's.
pub(super) fn name(spec: &TaskSpec) -> String {
    if !spec.name.is_empty() {
        return spec.name.clone();
    }
    match &spec.work {
        Some(Work::Process(process)) => process.argv.first().cloned().unwrap_or_default(),
        Some(Work::Handler(handler)) => handler.handler.clone(),
        None => String::new(),
    }
}

/// What is run, in one line.
pub(super) fn work(spec: &TaskSpec) -> String {
    match &spec.work {
        Some(Work::Process(process)) => shortened(&process.argv.join(" ")),
        Some(Work::Handler(handler)) => format!("handler {}", handler.handler),
        None => String::new(),
    }
}

fn state_of(task: &Task) -> String {
    let cancelling = task.cancel_requested && !task.state().is_final();
    format!("{}{}", state(task.state()), if cancelling { " (cancel requested)" } else { "" })
}

fn attempt(task: &Task, spec: &TaskSpec) -> String {
    match &spec.retry {
        Some(retry) if retry.max_attempts > 0 => format!("{} of {}", task.attempt, retry.max_attempts),
        _ => task.attempt.to_string(),
    }
}

fn progress(task: &Task) -> String {
    task.progress
        .as_ref()
        .map(|progress| format!("{:.0} % {}", progress.fraction * 100.0, progress.message))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mcp_proto::{
        common::v1::Error,
        scheduler::v1::{
            AttemptFailure, Delivery, LabelOperator, LabelRule, Placement, ProcessWork, Progress, Task, TaskSpec,
            TaskState, Toleration, task_spec::Work,
        },
    };
    use prost_types::Timestamp;

    fn task() -> Task {
        let argv = ["sh", "-c", "echo a\necho b"].map(str::to_owned).to_vec();
        Task {
            id: "01".to_owned(),
            state: TaskState::Running.into(),
            attempt: 2,
            create_time: Some(Timestamp { seconds: 100, nanos: 0 }),
            start_time: Some(Timestamp { seconds: 130, nanos: 0 }),
            cancel_requested: true,
            progress: Some(Progress { fraction: 0.25, message: "reading".to_owned() }),
            spec: Some(TaskSpec {
                namespace: "default".to_owned(),
                queue: "q".to_owned(),
                work: Some(Work::Process(ProcessWork { argv, ..ProcessWork::default() })),
                ..TaskSpec::default()
            }),
            ..Task::default()
        }
    }

    #[test]
    fn a_list_shows_the_age_and_the_time_taken() {
        let text = super::tasks(&[task()], SystemTime::UNIX_EPOCH + Duration::from_secs(190));
        let cells: Vec<&str> = text.lines().last().unwrap().split_whitespace().collect();
        assert_eq!(cells, ["01", "sh", "default/q", "RUNNING", "2", "1m", "30s", "1m", "0s"], "{text}");
    }

    #[test]
    fn one_task_shows_what_is_known_and_nothing_else() {
        let text = super::task(&task(), SystemTime::UNIX_EPOCH + Duration::from_secs(190));
        assert!(text.contains("RUNNING (cancel requested)") && text.contains("25 % reading"), "{text}");
        assert!(text.contains("sh -c echo a…") && text.contains("1970-01-01T00:01:40.000Z"), "{text}");
        for unknown in ["finished", "error", "placement", "delivery", "workflow", "schedule", "replay"] {
            assert!(!text.contains(unknown), "{unknown}: {text}");
        }
    }

    #[test]
    fn rules_origin_and_earlier_failures_are_shown() {
        let rule = |key: &str, operator: LabelOperator, values: &[&str]| LabelRule {
            key: key.to_owned(),
            operator: operator.into(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        };
        let placement = Placement {
            rules: vec![rule("zone", LabelOperator::In, &["a", "b"]), rule("spot", LabelOperator::DoesNotExist, &[])],
            tolerations: vec![Toleration { key: "gpu".to_owned(), value: None }],
            cpu_millis: 500,
            memory_bytes: 512 << 20,
            preempt: true,
            ..Placement::default()
        };
        let mut task = task();
        let spec = task.spec.as_mut().unwrap();
        (spec.key, spec.placement) = ("ana".to_owned(), Some(placement));
        spec.delivery = Delivery::AtMostOnce.into();
        (task.workflow_id, task.step) = ("wf".to_owned(), "parse".to_owned());
        (task.schedule, task.fire_time) = ("nightly".to_owned(), Some(Timestamp { seconds: 60, nanos: 0 }));
        task.failures = vec![AttemptFailure {
            attempt: 1,
            error: Some(Error {
                code: 3001,
                name: "EXIT_NON_ZERO".to_owned(),
                message: "no".to_owned(),
                ..Error::default()
            }),
            worker_id: "w1".to_owned(),
            start_time: Some(Timestamp { seconds: 110, nanos: 0 }),
            end_time: Some(Timestamp { seconds: 115, nanos: 0 }),
        }];
        let text = super::task(&task, SystemTime::UNIX_EPOCH + Duration::from_secs(190));
        for line in [
            "key        ana",
            "delivery   at most once",
            "placement  zone in (a, b), !spot, tolerates gpu, cpu 500m, memory 512 MiB, preempts",
            "workflow   wf, step parse",
            "schedule   nightly, for 1970-01-01T00:01:00Z",
            "attempt 1  EXIT_NON_ZERO (3001): no (on w1, 5.0s)",
        ] {
            assert!(text.lines().any(|found| found.trim_end() == line), "`{line}` is not in:\n{text}");
        }
    }
}
