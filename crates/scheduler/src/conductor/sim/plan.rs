//! Random workflows and schedules.

use dice::Dice;
use mcp_client::value::to_value;
use mcp_cron::{Overlap, RawRules, ScheduleId};
use mcp_proto::scheduler::v1::{FailureMode, HandlerWork, StepSpec, TaskSpec, WorkflowSpec, task_spec::Work};
use serde_json::json;

/// Most steps of a workflow.
const STEPS_MAX: u64 = 6;
/// Queues, whose tasks live in all partitions.
const QUEUES: u64 = 12;

/// What is known of a schedule for all of its life.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) id: ScheduleId,
    /// Milliseconds from one fire time to the next.
    pub(super) every_ms: u64,
    pub(super) overlap: Overlap,
    pub(super) has_workflow: bool,
}

impl Plan {
    /// The schedule of this number.
    pub(super) fn new(dice: &mut Dice, number: usize) -> Self {
        let has_workflow = number % 3 == 2;
        Self {
            id: ScheduleId::new("default", &format!("s{number}")).unwrap(),
            every_ms: if has_workflow { 5_000 } else { dice.pick(&[1_000, 2_000]) },
            overlap: dice.pick(&[Overlap::AllowAll, Overlap::Skip, Overlap::BufferOne, Overlap::CancelOther]),
            has_workflow,
        }
    }

    /// Its rules.
    pub(super) fn rules(&self) -> RawRules {
        RawRules { every_ms: Some(self.every_ms), overlap: self.overlap, ..RawRules::default() }
    }
}

/// A task in any of the queues.
pub(super) fn task(dice: &mut Dice, input: &str) -> TaskSpec {
    let input = Some(to_value(json!({ "text": input })));
    TaskSpec {
        queue: format!("q{}", dice.range(0, QUEUES - 1)),
        work: Some(Work::Handler(HandlerWork { handler: "h".to_owned(), input })),
        ..TaskSpec::default()
    }
}

/// A workflow of one to a few steps.
pub(super) fn workflow(dice: &mut Dice, name: &str) -> WorkflowSpec {
    let mut steps: Vec<StepSpec> = Vec::new();
    for number in 0..dice.range(1, STEPS_MAX) {
        let step = step(dice, number, &steps);
        steps.push(step);
    }
    // The order in the definition has nothing to do with the order in the graph.
    for at in (1..steps.len()).rev() {
        let other = dice.place(at + 1);
        steps.swap(at, other);
    }
    let first = steps[0].name.clone();
    WorkflowSpec {
        name: name.to_owned(),
        queue: format!("w{}", dice.range(0, QUEUES - 1)),
        input: Some(to_value(json!({"list": [1, 2, 3], "yes": true}))),
        on_failure: dice.percent(40).then(|| StepSpec {
            name: "rescue".to_owned(),
            task: Some(task(dice, &format!("${{steps.{first}.state}}"))),
            ..StepSpec::default()
        }),
        output: if dice.percent(20) { format!("steps.{first}.output") } else { String::new() },
        timeout: dice.percent(15).then_some(prost_types::Duration { seconds: 4, nanos: 0 }),
        steps,
        ..WorkflowSpec::default()
    }
}

fn step(dice: &mut Dice, number: u64, before: &[StepSpec]) -> StepSpec {
    let depends_on: Vec<String> = before.iter().filter(|_| dice.percent(40)).map(|step| step.name.clone()).collect();
    let dependency = depends_on.first().cloned();
    let condition = match (dice.range(0, 9), &dependency) {
        (0, _) => "!input.yes".to_owned(),
        (1, _) => "input.yes".to_owned(),
        (2 | 3, Some(name)) => format!("steps.{name}.state in ['SUCCEEDED', 'FAILED']"),
        _ => String::new(),
    };
    let for_each = match (dice.range(0, 9), &dependency) {
        (0 | 1, _) => "input.list".to_owned(),
        (2, Some(name)) => format!("steps.{name}.output"),
        _ => String::new(),
    };
    let text = match (&dependency, for_each.is_empty()) {
        (Some(name), true) => format!("${{steps.{name}.output}}"),
        (_, false) => "${item} at ${index}".to_owned(),
        (None, true) => "plain".to_owned(),
    };
    StepSpec {
        name: format!("s{number}"),
        task: Some(task(dice, &text)),
        depends_on,
        condition,
        for_each,
        parallel_max: u32::try_from(dice.range(0, 2)).unwrap(),
        failure_mode: if dice.percent(50) { FailureMode::Continue } else { FailureMode::Fail }.into(),
    }
}
