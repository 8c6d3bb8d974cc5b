//! Workflows and their steps as tables.

use std::{collections::HashMap, time::SystemTime};

use mcp_client::value::from_value;
use mcp_proto::scheduler::v1::{Step, StepSpec, StepState, Workflow, WorkflowSpec, WorkflowState};

use super::table::{Facts, between, error, labels, moment, plain, shortened, shortened_to, text, time};

/// Steps that are shown unless all are asked for.
pub const STEPS_SHOWN_MAX: usize = 100;
/// Deepest indentation of a step; those behind longer chains stand there too.
const DEPTH_SHOWN_MAX: usize = 10;
/// Longest note on a step, in characters.
const NOTE_CHARS_MAX: usize = 80;
/// Most steps that a row names as those it depends on.
const AFTER_NAMES_MAX: usize = 3;

/// A state as people read it: `RUNNING`.
pub fn state(state: WorkflowState) -> &'static str {
    state.as_str_name().trim_start_matches("WORKFLOW_STATE_")
}

/// A step's state as people read it: `ACTIVE`.
pub fn step_state(state: StepState) -> &'static str {
    state.as_str_name().trim_start_matches("STEP_STATE_")
}

/// True when nothing can change any more.
pub const fn is_final(state: WorkflowState) -> bool {
    matches!(state, WorkflowState::Succeeded | WorkflowState::Failed | WorkflowState::Cancelled)
}

/// True when the step has ended, whatever the outcome.
pub const fn has_ended(state: StepState) -> bool {
    !matches!(state, StepState::Unspecified | StepState::Blocked | StepState::Active)
}

/// The workflows, one per row.
pub fn workflows(workflows: &[Workflow], now: SystemTime) -> String {
    let mut table = plain(&["ID", "NAME", "QUEUE", "STATE", "STEPS", "AGE", "TOOK"]);
    for workflow in workflows {
        let spec = workflow.spec.clone().unwrap_or_default();
        table.add_row([
            workflow.id.clone(),
            shortened(&spec.name),
            format!("{}/{}", spec.namespace, spec.queue),
            state(workflow.state()).to_owned(),
            format!("{}/{}", workflow.steps_ended, workflow.step_count),
            between(workflow.create_time, Some(now)),
            between(workflow.create_time, time(workflow.finish_time).or(Some(now))),
        ]);
    }
    text(table)
}

/// One workflow: what is known of it, then its steps, indented by what they depend on. Without `all` at most
/// [`STEPS_SHOWN_MAX`] steps are shown, those that failed or run first of all.
pub fn workflow(workflow: &Workflow, all: bool, now: SystemTime) -> String {
    let spec = workflow.spec.clone().unwrap_or_default();
    let mut facts = Facts::new();
    facts.add("workflow", &*workflow.id);
    facts.add("name", &*spec.name);
    let state = state(workflow.state());
    facts.add("state", format!("{state}, {} of {} steps ended", workflow.steps_ended, workflow.step_count));
    facts.add("queue", format!("{}/{}", spec.namespace, spec.queue));
    facts.add("rerun of", &*workflow.rerun_of);
    facts.add("created", moment(workflow.create_time));
    facts.add("finished", moment(workflow.finish_time));
    facts.add("took", between(workflow.create_time, time(workflow.finish_time).or(Some(now))));
    facts.add("labels", labels(&spec.labels));
    facts.add("trace", &*workflow.trace_id);
    facts.add("error", error(workflow.error.as_ref()));
    let output = workflow.output.clone().map(|output| shortened(&from_value(output).to_string()));
    facts.add("output", output.unwrap_or_default());
    let mut whole = facts.text();
    if !workflow.steps.is_empty() {
        whole = format!("{whole}\n\n{}", steps(workflow, &spec, all, now));
    }
    whole
}

fn steps(workflow: &Workflow, spec: &WorkflowSpec, all: bool, now: SystemTime) -> String {
    let specs: HashMap<&str, &StepSpec> =
        spec.steps.iter().chain(&spec.on_failure).map(|step| (step.name.as_str(), step)).collect();
    let depths = depths(&spec.steps);
    let shown = shown(&workflow.steps, if all { usize::MAX } else { STEPS_SHOWN_MAX });
    let mut table = plain(&["STEP", "STATE", "ITEMS", "TOOK", "AFTER", "TASK", "NOTE"]);
    for step in &shown {
        let after = specs.get(step.name.as_str()).map(|spec| after(&spec.depends_on)).unwrap_or_default();
        let depth = depths.get(step.name.as_str()).copied().unwrap_or_default().min(DEPTH_SHOWN_MAX);
        table.add_row([
            format!("{}{} {}", "  ".repeat(depth), mark(step.state()), step.name),
            step_state(step.state()).to_owned(),
            items(step),
            between(step.start_time, time(step.finish_time).or(Some(now))),
            after,
            tasks(step),
            shortened_to(&error(step.error.as_ref()), NOTE_CHARS_MAX),
        ]);
    }
    let left = workflow.steps.len() - shown.len();
    if left == 0 { text(table) } else { format!("{}\n... and {left} more steps: --all", text(table)) }
}

/// The steps to show, in their order: all, or at most `max`, those that failed or run before the others.
fn shown(steps: &[Step], max: usize) -> Vec<&Step> {
    if steps.len() <= max {
        return steps.iter().collect();
    }
    let rank = |step: &Step| match step.state() {
        StepState::Failed => 0,
        StepState::Active => 1,
        StepState::Cancelled => 2,
        _ => 3,
    };
    let mut order: Vec<usize> = (0..steps.len()).collect();
    order.sort_by_key(|&at| (rank(&steps[at]), at));
    order.truncate(max);
    order.sort_unstable();
    order.into_iter().map(|at| &steps[at]).collect()
}

/// For each step, how many steps in a row it waits for at most.
fn depths(steps: &[StepSpec]) -> HashMap<&str, usize> {
    let by_name: HashMap<&str, &StepSpec> = steps.iter().map(|step| (step.name.as_str(), step)).collect();
    let mut waits: HashMap<&str, usize> = HashMap::new();
    let mut followers: HashMap<&str, Vec<&str>> = HashMap::new();
    for step in steps {
        let known = step.depends_on.iter().map(String::as_str).filter(|name| by_name.contains_key(name));
        let mut count = 0;
        for name in known {
            followers.entry(name).or_default().push(&step.name);
            count += 1;
        }
        waits.insert(&step.name, count);
    }
    let mut depths: HashMap<&str, usize> = HashMap::new();
    let mut ready: Vec<&str> = steps.iter().map(|step| step.name.as_str()).filter(|name| waits[name] == 0).collect();
    while let Some(name) = ready.pop() {
        let depth = *depths.entry(name).or_default();
        for follower in followers.get(name).into_iter().flatten() {
            let deepest = depths.entry(follower).or_default();
            *deepest = (*deepest).max(depth + 1);
            let left = waits.get_mut(follower).expect("every follower is a step");
            *left -= 1;
            if *left == 0 {
                ready.push(follower);
            }
        }
    }
    depths
}

fn after(names: &[String]) -> String {
    match names.len().checked_sub(AFTER_NAMES_MAX) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..AFTER_NAMES_MAX].join(", ")),
    }
}

fn items(step: &Step) -> String {
    if step.item_count > 1 { format!("{}/{}", step.items_ended, step.item_count) } else { String::new() }
}

fn tasks(step: &Step) -> String {
    match &*step.task_ids {
        [] => String::new(),
        [task] => task.clone(),
        [first, ..] => format!("{first} ..."),
    }
}

/// One sign for a step's state.
pub fn mark(state: StepState) -> char {
    match state {
        StepState::Succeeded => '✓',
        StepState::Failed => '✗',
        StepState::Active => '▶',
        StepState::Skipped => '-',
        StepState::Cancelled => '⊘',
        StepState::Reused => '↻',
        StepState::Blocked | StepState::Unspecified => '·',
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use mcp_proto::{
        common::v1::Error,
        scheduler::v1::{Step, StepSpec, StepState, Workflow, WorkflowSpec, WorkflowState},
    };
    use prost_types::Timestamp;

    use super::{STEPS_SHOWN_MAX, depths};

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn spec(name: &str, depends_on: &[&str]) -> StepSpec {
        let depends_on = depends_on.iter().map(|&name| name.to_owned()).collect();
        StepSpec { name: name.to_owned(), depends_on, ..StepSpec::default() }
    }

    fn step(name: &str, state: StepState) -> Step {
        Step { name: name.to_owned(), state: state.into(), item_count: 1, ..Step::default() }
    }

    fn example() -> Workflow {
        let split = Step {
            task_ids: vec!["T1".to_owned()],
            start_time: at(100),
            finish_time: at(102),
            ..step("split", StepState::Succeeded)
        };
        let parse = Step {
            task_ids: vec!["T2".to_owned(), "T3".to_owned()],
            item_count: 8,
            items_ended: 3,
            start_time: at(102),
            ..step("parse", StepState::Active)
        };
        let error = Error {
            code: 3011,
            name: "EXPRESSION_FAILED".to_owned(),
            message: "no `x`".to_owned(),
            ..Error::default()
        };
        let mail = Step { error: Some(error), ..step("mail", StepState::Failed) };
        Workflow {
            id: "W1".to_owned(),
            spec: Some(WorkflowSpec {
                namespace: "default".to_owned(),
                queue: "q".to_owned(),
                name: "report".to_owned(),
                steps: vec![
                    spec("split", &[]),
                    spec("parse", &["split"]),
                    spec("merge", &["parse"]),
                    spec("mail", &[]),
                ],
                ..WorkflowSpec::default()
            }),
            state: WorkflowState::Running.into(),
            create_time: at(100),
            steps: vec![split, parse, step("merge", StepState::Blocked), mail],
            step_count: 4,
            steps_ended: 2,
            trace_id: "abc".to_owned(),
            ..Workflow::default()
        }
    }

    fn shown(workflow: &Workflow, all: bool) -> String {
        let text = super::workflow(workflow, all, SystemTime::UNIX_EPOCH + Duration::from_secs(110));
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn steps_are_a_readable_tree() {
        let expected = "\
workflow  W1
name      report
state     RUNNING, 2 of 4 steps ended
queue     default/q
created   1970-01-01T00:01:40.000Z
took      10.0s
trace     abc

STEP         STATE      ITEMS  TOOK  AFTER  TASK    NOTE
✓ split      SUCCEEDED         2.0s         T1
  ▶ parse    ACTIVE     3/8    8.0s  split  T2 ...
    · merge  BLOCKED                 parse
✗ mail       FAILED                                 EXPRESSION_FAILED (3011): no `x`";
        assert_eq!(shown(&example(), false), expected);
    }

    #[test]
    fn a_large_workflow_shows_what_matters() {
        let mut workflow = example();
        workflow.steps = (0..500).map(|n| step(&format!("s{n}"), StepState::Succeeded)).collect();
        workflow.steps[499].state = StepState::Failed.into();
        workflow.steps[400].state = StepState::Active.into();
        let text = shown(&workflow, false);
        assert!(text.contains("✗ s499") && text.contains("▶ s400") && text.contains("and 400 more steps"), "{text}");
        assert_eq!(text.matches("✓").count(), STEPS_SHOWN_MAX - 2);
        assert_eq!(shown(&workflow, true).matches("✓").count(), 498);
    }

    #[test]
    fn depth_is_the_longest_way() {
        let steps = [spec("d", &["b", "c"]), spec("a", &[]), spec("b", &["a"]), spec("c", &["b", "gone"])];
        let depths = depths(&steps);
        assert_eq!(["a", "b", "c", "d"].map(|name| depths[name]), [0, 1, 2, 3]);
        let circle = [spec("a", &["b"]), spec("b", &["a"])];
        assert!(super::depths(&circle).is_empty(), "a circle ends");
    }
}
