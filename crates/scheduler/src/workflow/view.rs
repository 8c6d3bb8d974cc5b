//! A run with its steps as callers see it.

use std::collections::HashMap;

use mcp_flow::{Progress, RawDefinition, RunView, StepState};
use mcp_proto::scheduler::v1::{Step, StepState as WireStepState, TaskSpec, Workflow};

use super::{Brief, Extra, json, plan::spec_of};
use crate::clock::wire_time;

/// Steps that one which is blocked names at most.
const WAITS_FOR_MAX: usize = 20;

/// The whole workflow. `task` fills in what a task has by default.
pub(crate) fn whole(view: &RunView, cancel_reason: &str, task: impl Fn(&mut TaskSpec)) -> Workflow {
    let run = &view.run;
    let definition = &*run.definition;
    let steps = definition.steps.iter().chain(&definition.on_failure).zip(&view.steps);
    let waits_for = WaitsFor::new(definition, &view.steps);
    Workflow {
        spec: Some(spec_of(definition, &run.input, &Extra::of(&run.extra), task)),
        output: run.output.as_ref().map(json::value),
        steps: steps
            .map(|(raw, progress)| Step {
                waits_for: waits_for.of(&raw.depends_on, progress),
                ..step(&raw.name, progress)
            })
            .collect(),
        ..Brief::of(run, view.steps_ended(), cancel_reason).workflow()
    }
}

fn step(name: &str, progress: &Progress) -> Step {
    Step {
        name: name.to_owned(),
        state: wire_state(progress.state).into(),
        task_ids: progress.tasks.iter().map(ToString::to_string).collect(),
        item_count: progress.item_count,
        items_ended: progress.items_ended,
        start_time: progress.started.map(wire_time),
        finish_time: progress.finished.map(wire_time),
        output: progress.output.as_ref().map(json::value),
        error: progress.error.as_ref().map(json::to_error),
        waits_for: Vec::new(),
    }
}

fn wire_state(state: StepState) -> WireStepState {
    match state {
        StepState::Blocked => WireStepState::Blocked,
        StepState::Active => WireStepState::Active,
        StepState::Succeeded => WireStepState::Succeeded,
        StepState::Failed => WireStepState::Failed,
        StepState::Skipped => WireStepState::Skipped,
        StepState::Cancelled => WireStepState::Cancelled,
        StepState::Reused => WireStepState::Reused,
    }
}

/// The steps that have not ended, by name.
struct WaitsFor<'a>(HashMap<&'a str, bool>);

impl<'a> WaitsFor<'a> {
    fn new(definition: &'a RawDefinition, steps: &[Progress]) -> Self {
        let names = definition.steps.iter().map(|step| step.name.as_str());
        Self(names.zip(steps.iter().map(|step| step.state.is_ended())).collect())
    }

    fn of(&self, depends_on: &[String], progress: &Progress) -> Vec<String> {
        if progress.state != StepState::Blocked {
            return Vec::new();
        }
        let open = depends_on.iter().filter(|name| self.0.get(name.as_str()) == Some(&false));
        open.take(WAITS_FOR_MAX).cloned().collect()
    }
}
