//! Why the steps of a workflow are where they are: for those that have no task yet, which could be asked about.

use mcp_flow::{Progress, RawStep, RunState, RunView, StepState};
use mcp_proto::{
    Error as WireError, TaskId,
    scheduler::v1::{ExplainTaskResponse, Holder, Reason},
};

use crate::shell::wire_time;

/// Steps that are told of when none is named, and holders that are named of each.
const NAMED_MAX: usize = 10;

/// Explains a step of a workflow, or those that have not ended when none is named.
///
/// # Errors
/// `INVALID_ARGUMENT`: there is no such step.
pub(super) fn explain(id: TaskId, view: &RunView, step: &str) -> Result<ExplainTaskResponse, WireError> {
    let teller = Teller { id, view };
    if !step.is_empty() {
        let found = teller.steps().position(|(raw, _)| raw.name == step);
        let number = found.ok_or_else(|| {
            WireError::invalid("step", format!("names no step: workflow `{id}` has no `{step}`"))
                .with_metadata("workflow_id", id.to_string())
        })?;
        return Ok(teller.answer(teller.of_step(number)));
    }
    let is_open = |(_, (_, progress)): &(usize, (&RawStep, &Progress))| !progress.state.is_ended();
    let mut reasons = Vec::new();
    if view.run.state == RunState::Paused {
        reasons.push(teller.paused());
    }
    for (number, _) in teller.steps().enumerate().filter(is_open).take(NAMED_MAX) {
        let of_step = teller.of_step(number).into_iter();
        reasons.extend(of_step.filter(|reason| reason.kind != "WORKFLOW_PAUSED"));
    }
    if reasons.is_empty() {
        reasons.push(teller.over());
    }
    Ok(teller.answer(reasons))
}

struct Teller<'a> {
    id: TaskId,
    view: &'a RunView,
}

impl Teller<'_> {
    /// The steps in the order of the definition, the one for failures at the end.
    fn steps(&self) -> impl Iterator<Item = (&RawStep, &Progress)> {
        let definition = &self.view.run.definition;
        definition.steps.iter().chain(&definition.on_failure).zip(&self.view.steps)
    }

    fn answer(&self, reasons: Vec<Reason>) -> ExplainTaskResponse {
        let is_final = self.view.run.state.is_final();
        ExplainTaskResponse {
            state: 0, // that of a task
            summary: reasons.first().map(|reason| reason.message.clone()).unwrap_or_default(),
            reasons,
            next_change: self.view.run.timeout_at.filter(|_| !is_final).map(wire_time),
        }
    }

    /// The reasons of one step, of which there is one at least.
    fn of_step(&self, number: usize) -> Vec<Reason> {
        let Some((raw, progress)) = self.steps().nth(number) else { return Vec::new() };
        let name = &raw.name;
        match progress.state {
            StepState::Blocked => {}
            StepState::Active => return vec![self.active(raw, progress)],
            state => return vec![ended(name, state, progress)],
        }
        if number == self.view.run.definition.steps.len() {
            let others = self.steps().take(number).filter(|(_, progress)| !progress.state.is_ended());
            let message = format!("the step `{name}` runs when the workflow fails, after all other steps");
            return vec![blocked(message, others)];
        }
        let mut reasons = Vec::new();
        let is_open = |(other, progress): &(&RawStep, &Progress)| {
            raw.depends_on.contains(&other.name) && !progress.state.is_ended()
        };
        let waits_for: Vec<&str> = self.steps().filter(is_open).map(|(other, _)| other.name.as_str()).collect();
        if !waits_for.is_empty() {
            let shown: Vec<String> = waits_for.iter().take(NAMED_MAX).map(|name| format!("`{name}`")).collect();
            let more = if waits_for.len() > NAMED_MAX { ", and others" } else { "" };
            let message = format!("the step `{name}` waits for the end of {}{more}", shown.join(", "));
            reasons.push(blocked(message, self.steps().filter(is_open)));
        }
        match self.view.run.state {
            RunState::Paused => reasons.push(self.paused()),
            _ if reasons.is_empty() => {
                let message = format!("nothing holds the step `{name}`: it is about to start");
                reasons.push(Reason { kind: "STARTING".to_owned(), message, ..Reason::default() });
            }
            _ => {}
        }
        reasons
    }

    fn paused(&self) -> Reason {
        let id = self.id;
        let message = format!("the workflow is paused: `mcp workflow resume {id}` lets it go on");
        Reason { kind: "WORKFLOW_PAUSED".to_owned(), message, ..Reason::default() }
    }

    fn over(&self) -> Reason {
        let run = &self.view.run;
        let message = match run.state {
            RunState::Succeeded => "the workflow succeeded".to_owned(),
            RunState::Cancelled => "the workflow was cancelled".to_owned(),
            RunState::Failed => format!("the workflow failed: `mcp workflow get {}` says why", self.id),
            RunState::Running | RunState::Paused | RunState::Ending => {
                "all steps have ended: the workflow is about to".to_owned()
            }
        };
        Reason { kind: "FINISHED".to_owned(), message, since: run.finished.map(wire_time), ..Reason::default() }
    }

    fn active(&self, raw: &RawStep, progress: &Progress) -> Reason {
        let tasks = &progress.tasks;
        let message = match tasks.first() {
            Some(task) => format!("the step `{}` has its tasks: `mcp explain {task}` says where one stands", raw.name),
            None => format!("the step `{}` waits for room in its queue", raw.name),
        };
        let holder =
            |task: &mcp_flow::TaskId| Holder { task_id: task.to_string(), step: raw.name.clone(), ..Holder::default() };
        Reason {
            kind: if tasks.is_empty() { "STARTING" } else { "RUNNING" }.to_owned(),
            message,
            since: progress.started.map(wire_time),
            until: None,
            holders: tasks.iter().take(NAMED_MAX).map(holder).collect(),
            holder_count: u32::try_from(tasks.len()).unwrap_or(u32::MAX),
        }
    }
}

fn blocked<'a>(message: String, by: impl Iterator<Item = (&'a RawStep, &'a Progress)>) -> Reason {
    let holder = |(raw, progress): &(&RawStep, &Progress)| Holder {
        step: raw.name.clone(),
        task_id: progress.tasks.last().map(ToString::to_string).unwrap_or_default(),
        since: progress.started.map(wire_time),
        ..Holder::default()
    };
    let all: Vec<_> = by.collect();
    let holder_count = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let holders = all.iter().take(NAMED_MAX).map(holder).collect();
    Reason { kind: "BLOCKED_BY_STEPS".to_owned(), message, holders, holder_count, ..Reason::default() }
}

fn ended(name: &str, state: StepState, progress: &Progress) -> Reason {
    let how = state.name().to_lowercase();
    let message = match &progress.error {
        Some(error) => format!("the step `{name}` is over ({how}): {}", error["message"].as_str().unwrap_or_default()),
        None => format!("the step `{name}` is over ({how})"),
    };
    Reason { kind: "FINISHED".to_owned(), message, since: progress.finished.map(wire_time), ..Reason::default() }
}
