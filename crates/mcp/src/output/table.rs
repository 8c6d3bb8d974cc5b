//! Tables for people.

use std::time::{Duration, SystemTime};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use mcp_client::value::from_value;
use mcp_proto::{
    registry::v1::Instance,
    scheduler::v1::{Task, TaskSpec, TaskState, task_spec::Work},
};

/// Longest command or value that a table shows, in characters.
const TEXT_CHARS_MAX: usize = 120;

/// Spaces between two columns.
const COLUMN_GAP: u16 = 2;

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
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let mut row = |key: &str, value: String| {
        if !value.is_empty() {
            table.add_row([Cell::new(key), Cell::new(value)]);
        }
    };
    let spec = task.spec.clone().unwrap_or_default();
    row("task", task.id.clone());
    row("name", name(&spec));
    row("state", state_of(task));
    row("queue", format!("{}/{}", spec.namespace, spec.queue));
    row("work", work(&spec));
    row("attempt", attempt(task, &spec));
    row("exit code", task.exit_code.map(|code| code.to_string()).unwrap_or_default());
    row("progress", progress(task));
    row("created", moment(task.create_time));
    row("due", moment(task.due_time));
    row("started", moment(task.start_time));
    row("finished", moment(task.finish_time));
    row("took", between(task.start_time, time(task.finish_time).or(Some(now))));
    row("worker", task.worker_id.clone());
    row("labels", spec.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "));
    row("trace", task.trace_id.clone());
    row(
        "error",
        task.error
            .as_ref()
            .map(|error| format!("{} ({}): {}", error.name, error.code, error.message))
            .unwrap_or_default(),
    );
    let output = task.output.clone().map(|output| shortened(&from_value(output).to_string()));
    row("output", output.unwrap_or_default());
    text(table)
}

/// The instances, one per row.
pub fn instances(instances: &[Instance], now: SystemTime) -> String {
    let mut table = plain(&["SERVICE", "INSTANCE", "ADDRESS", "VERSION", "ZONE", "WEIGHT", "UP", "GRPC SERVICES"]);
    for instance in instances {
        table.add_row([
            instance.service.clone(),
            instance.instance_id.clone(),
            instance.address.clone(),
            instance.version.clone(),
            instance.zone.clone(),
            instance.weight.to_string(),
            between(instance.register_time, Some(now)),
            instance.grpc_services.join(" "),
        ]);
    }
    text(table)
}

/// A table without lines, so that `cut` and `awk` can read it too.
pub fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header);
    table
}

/// The table without space before the first column and after the last.
pub fn text(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, COLUMN_GAP));
    }
    table.trim_fmt()
}

/// A length of time in at most two units: `1h 5m`, `3.2s`, `40ms`.
pub fn span(length: Duration) -> String {
    match length.as_secs() {
        0 => format!("{}ms", length.as_millis()),
        1..60 => format!("{}.{}s", length.as_secs(), length.subsec_millis() / 100),
        seconds @ 60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        seconds @ 3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds / 60 % 60),
        seconds => format!("{}d {}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

fn time(timestamp: Option<prost_types::Timestamp>) -> Option<SystemTime> {
    timestamp.and_then(|timestamp| SystemTime::try_from(timestamp).ok())
}

fn moment(timestamp: Option<prost_types::Timestamp>) -> String {
    time(timestamp).map(|time| humantime::format_rfc3339_millis(time).to_string()).unwrap_or_default()
}

fn between(from: Option<prost_types::Timestamp>, to: Option<SystemTime>) -> String {
    match (time(from), to) {
        // Clocks of two machines may differ a little.
        (Some(from), Some(to)) => span(to.duration_since(from).unwrap_or_default()),
        _ => String::new(),
    }
}

fn name(spec: &TaskSpec) -> String {
    if !spec.name.is_empty() {
        return spec.name.clone();
    }
    match &spec.work {
        Some(Work::Process(process)) => process.argv.first().cloned().unwrap_or_default(),
        Some(Work::Handler(handler)) => handler.handler.clone(),
        None => String::new(),
    }
}

fn work(spec: &TaskSpec) -> String {
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

/// The first line, cut to what fits.
fn shortened(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.chars().count() > TEXT_CHARS_MAX || line.len() < text.trim_end().len() {
        let start: String = line.chars().take(TEXT_CHARS_MAX - 1).collect();
        return format!("{start}…");
    }
    line.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mcp_proto::scheduler::v1::{ProcessWork, Progress, Task, TaskSpec, TaskState, task_spec::Work};

    use super::{shortened, span};

    fn task() -> Task {
        let argv = ["sh", "-c", "echo a\necho b"].map(str::to_owned).to_vec();
        Task {
            id: "01".to_owned(),
            state: TaskState::Running.into(),
            attempt: 2,
            create_time: Some(prost_types::Timestamp { seconds: 100, nanos: 0 }),
            start_time: Some(prost_types::Timestamp { seconds: 130, nanos: 0 }),
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
        assert!(!text.contains("finished") && !text.contains("error"), "{text}");
    }

    #[test]
    fn times_and_texts_are_short() {
        let spans = [40, 3_210, 65_000, 3_900_000, 90_000_000].map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["40ms", "3.2s", "1m 5s", "1h 5m", "1d 1h"]);
        assert_eq!(shortened(&"x".repeat(500)).chars().count(), 120);
        assert_eq!(shortened("one line"), "one line");
    }
}
