//! How the steps of a workflow fare, while somebody waits: a few lines that change on a terminal, a line for each change
//! elsewhere.

use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressStyle};
use mcp_proto::scheduler::v1::{Step, StepState, Workflow};

use crate::output::{
    print, table,
    workflow::{has_ended, mark, state, step_state},
};

/// How often the lines are drawn again.
const TICK: Duration = Duration::from_millis(100);
/// Most steps that have a line of their own on a terminal.
const LINES_MAX: usize = 8;
/// Most steps whose every change is told where there is no terminal; of larger workflows only the number that ended.
const CHANGES_STEPS_MAX: usize = 200;

/// Shows a workflow on standard error. Dropping it clears what a terminal shows.
#[derive(Debug)]
pub(super) struct Live {
    view: View,
    /// The latest state and number of ended items of each step.
    seen: HashMap<String, (StepState, u32)>,
    ended: u32,
}

#[derive(Debug)]
enum View {
    Terminal(ProgressBar),
    Lines,
}

impl Live {
    /// A view that suits where standard error goes.
    pub(super) fn new() -> Self {
        let view = if io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is right"));
            bar.enable_steady_tick(TICK);
            View::Terminal(bar)
        } else {
            View::Lines
        };
        Self { view, seen: HashMap::new(), ended: 0 }
    }

    /// Takes the latest state in.
    pub(super) fn see(&mut self, workflow: &Workflow, now: SystemTime) {
        match &self.view {
            View::Terminal(bar) => bar.set_message(lines(workflow, now).join("\n")),
            View::Lines => self.changes(workflow, now).iter().for_each(print::note),
        }
    }

    /// A line for each step that changed since the last time.
    fn changes(&mut self, workflow: &Workflow, now: SystemTime) -> Vec<String> {
        if workflow.steps.len() > CHANGES_STEPS_MAX {
            let has_more = workflow.steps_ended > self.ended;
            self.ended = workflow.steps_ended;
            return if has_more { vec![headline(workflow)] } else { Vec::new() };
        }
        let mut changed = Vec::new();
        for step in &workflow.steps {
            let latest = (step.state(), step.items_ended);
            let known = self.seen.insert(step.name.clone(), latest);
            let is_news = known.unwrap_or((StepState::Blocked, 0)) != latest;
            if is_news {
                changed.push(described(step, now));
            }
        }
        changed
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let View::Terminal(bar) = &self.view {
            bar.finish_and_clear();
        }
    }
}

/// What a terminal shows: the whole, and the steps that are at it.
fn lines(workflow: &Workflow, now: SystemTime) -> Vec<String> {
    let active: Vec<&Step> = workflow.steps.iter().filter(|step| step.state() == StepState::Active).collect();
    let mut lines = vec![headline(workflow)];
    lines.extend(active.iter().take(LINES_MAX).map(|step| format!("  {}", described(step, now))));
    if active.len() > LINES_MAX {
        lines.push(format!("  and {} more", active.len() - LINES_MAX));
    }
    lines
}

fn headline(workflow: &Workflow) -> String {
    let failed = workflow.steps.iter().filter(|step| step.state() == StepState::Failed).count();
    let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    format!("{}: {} of {} steps ended{failed}", state(workflow.state()), workflow.steps_ended, workflow.step_count)
}

/// `▶ parse ACTIVE 3/8 after 2.0s`.
fn described(step: &Step, now: SystemTime) -> String {
    let mut text = format!("{} {} {}", mark(step.state()), step.name, step_state(step.state()));
    if step.item_count > 1 {
        text = format!("{text} {}/{}", step.items_ended, step.item_count);
    }
    let (from, to) = (table::time(step.start_time), table::time(step.finish_time).unwrap_or(now));
    if let (Some(from), true) = (from, has_ended(step.state()) || step.items_ended > 0) {
        text = format!("{text} after {}", table::span(to.duration_since(from).unwrap_or_default()));
    }
    match &step.error {
        Some(error) => format!("{text}: {}", error.message),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::SystemTime};

    use mcp_proto::scheduler::v1::{Step, StepState, Workflow, WorkflowState};

    use super::{LINES_MAX, Live, View, lines};

    fn step(name: &str, state: StepState, ended: u32, count: u32) -> Step {
        Step { name: name.to_owned(), state: state.into(), items_ended: ended, item_count: count, ..Step::default() }
    }

    fn workflow(steps: Vec<Step>, ended: u32) -> Workflow {
        let step_count = u32::try_from(steps.len()).unwrap();
        Workflow { state: WorkflowState::Running.into(), steps, steps_ended: ended, step_count, ..Workflow::default() }
    }

    fn live() -> Live {
        Live { view: View::Lines, seen: HashMap::new(), ended: 0 }
    }

    #[test]
    fn each_change_is_told_once() {
        let mut live = live();
        let mut see = |steps, ended| live.changes(&workflow(steps, ended), SystemTime::UNIX_EPOCH);
        let blocked = || step("merge", StepState::Blocked, 0, 1);
        assert_eq!(see(vec![step("split", StepState::Active, 0, 1), blocked()], 0), ["▶ split ACTIVE"]);
        assert_eq!(see(vec![step("split", StepState::Active, 0, 1), blocked()], 0), [""; 0]);
        assert_eq!(see(vec![step("split", StepState::Succeeded, 1, 1), blocked()], 1), ["✓ split SUCCEEDED"]);
        let parse = |ended| vec![step("parse", StepState::Active, ended, 8)];
        assert_eq!(see(parse(0), 1), ["▶ parse ACTIVE 0/8"]);
        assert_eq!(see(parse(3), 1), ["▶ parse ACTIVE 3/8"]);
    }

    #[test]
    fn a_large_workflow_only_counts() {
        let mut live = live();
        let steps = || (0..500).map(|n| step(&format!("s{n}"), StepState::Active, 0, 1)).collect::<Vec<_>>();
        assert_eq!(live.changes(&workflow(steps(), 0), SystemTime::UNIX_EPOCH), [""; 0]);
        assert_eq!(live.changes(&workflow(steps(), 7), SystemTime::UNIX_EPOCH), ["RUNNING: 7 of 500 steps ended"]);
        let shown = lines(&workflow(steps(), 7), SystemTime::UNIX_EPOCH);
        assert_eq!((shown.len(), shown.last().map(String::as_str)), (LINES_MAX + 2, Some("  and 492 more")));
    }
}
