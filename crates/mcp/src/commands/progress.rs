//! The progress line of a wait.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use mcp_proto::scheduler::v1::{Progress, Task, TaskEvent, TaskState};

use crate::output::task;

/// How often the line is drawn again.
const TICK: Duration = Duration::from_millis(100);

/// A line on standard error, when that is a terminal: how the tasks fare. Dropping it clears the line.
#[derive(Debug)]
pub(super) struct ProgressLine {
    bar: ProgressBar,
    tasks: BTreeMap<String, Seen>,
}

/// The latest that is known of a task.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    state: TaskState,
    attempt: u32,
    progress: Option<Progress>,
}

impl ProgressLine {
    /// A line for these tasks.
    pub(super) fn new(ids: &[String]) -> Self {
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("the template is right");
        bar.set_style(style);
        bar.enable_steady_tick(TICK);
        Self { bar, tasks: ids.iter().map(|id| (id.clone(), Seen::default())).collect() }
    }

    /// Takes an event in.
    pub(super) fn event(&mut self, event: &TaskEvent) {
        let seen = Seen { state: event.state(), attempt: event.attempt, progress: event.progress.clone() };
        self.see(&event.task_id, seen);
    }

    /// Takes a task in.
    pub(super) fn task(&mut self, task: &Task) {
        self.see(&task.id, Seen { state: task.state(), attempt: task.attempt, progress: task.progress.clone() });
    }

    fn see(&mut self, id: &str, seen: Seen) {
        // A late event does not take a final state back.
        if let Some(known) = self.tasks.get_mut(id).filter(|known| !known.state.is_final()) {
            *known = seen;
            self.bar.set_message(text(&self.tasks));
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line on standard error, when that is a terminal: how many of something are done. Dropping it clears the line.
#[derive(Debug)]
pub(super) struct CountLine {
    bar: ProgressBar,
}

impl CountLine {
    /// A line that counts `what`.
    pub(super) fn new(what: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        let template = format!("{{spinner}} {{pos}} {what} {{elapsed}}");
        bar.set_style(ProgressStyle::with_template(&template).expect("the template is right"));
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// This many are done.
    pub(super) fn count(&self, done: usize) {
        self.bar.set_position(done as u64);
    }
}

impl Drop for CountLine {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn text(tasks: &BTreeMap<String, Seen>) -> String {
    if let (1, Some((id, seen))) = (tasks.len(), tasks.first_key_value()) {
        let mut text = format!("{id} {}", task::state(seen.state));
        if seen.attempt > 0 {
            text = format!("{text}, attempt {}", seen.attempt);
        }
        if let Some(progress) = &seen.progress {
            text = format!("{text}, {:.0} % {}", progress.fraction * 100.0, progress.message);
        }
        return text.trim_end().to_owned();
    }
    let count = |wanted: fn(TaskState) -> bool| tasks.values().filter(|seen| wanted(seen.state)).count();
    format!(
        "{} of {} final, {} running",
        count(TaskState::is_final),
        tasks.len(),
        count(|state| state == TaskState::Running)
    )
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::{Progress, TaskEvent, TaskState};

    use super::{ProgressLine, text};

    fn event(id: &str, state: TaskState) -> TaskEvent {
        TaskEvent { task_id: id.to_owned(), state: state.into(), attempt: 1, ..TaskEvent::default() }
    }

    #[test]
    fn one_task_is_shown_with_its_progress() {
        let mut line = ProgressLine::new(&["a".to_owned()]);
        let progress = Some(Progress { fraction: 0.4, message: "reading".to_owned() });
        line.event(&TaskEvent { progress, ..event("a", TaskState::Running) });
        assert_eq!(text(&line.tasks), "a RUNNING, attempt 1, 40 % reading");
    }

    #[test]
    fn many_tasks_are_counted_and_strangers_are_not() {
        let mut line = ProgressLine::new(&["a".to_owned(), "b".to_owned()]);
        for (id, state) in [("a", TaskState::Succeeded), ("a", TaskState::Running), ("b", TaskState::Running)] {
            line.event(&event(id, state));
        }
        line.event(&event("stranger", TaskState::Running));
        assert_eq!(text(&line.tasks), "1 of 2 final, 1 running");
    }
}
