//! What follows when an item or a step ends.

use serde_json::Value;

use super::{
    Cause, Progress, RunState, StepState, TaskId, errors,
    record::TASK_IDS_MAX,
    run::{Run, Turn},
    work::{Slot, SlotState, Work},
};
use crate::{
    definition::FailureMode,
    faults::{Fault, is_planted},
    json::Json,
};

/// How an item ended, as it counts here.
#[derive(Debug)]
pub(super) enum Ended {
    Succeeded(Option<Json>),
    Failed(Json),
    Cancelled,
}

impl Run {
    /// Takes the id of the task that an item got. False if the item has it already, or has ended.
    pub(super) fn item_submitted(&mut self, step: u32, item: u32, task: TaskId, turn: &mut Turn<'_>) -> bool {
        let is_stopped = self.is_stopped(step);
        let Some(run) = self.steps.get_mut(step as usize) else { return false };
        let Some(slot) = run.work.as_mut().and_then(|work| work.slot(item)) else { return false };
        if slot.state != SlotState::Offered {
            return false;
        }
        slot.state = SlotState::Active;
        slot.task = Some(task);
        if is_stopped {
            self.cancels.push_back((step, item));
        }
        self.note_task(step, task);
        if self.is_fan(step) {
            let progress = Progress { tasks: vec![task], started: Some(turn.now), ..of_state(StepState::Active) };
            self.save_item(step, item, progress, turn);
        } else {
            self.save_step(step, turn);
        }
        true
    }

    fn note_task(&mut self, step: u32, task: TaskId) {
        let tasks = &mut self.steps[step as usize].progress.tasks;
        if tasks.len() < TASK_IDS_MAX {
            tasks.push(task);
        }
    }

    /// Puts an offered item back until it may be offered again. False if it is not offered.
    pub(super) fn item_refused(&mut self, step: u32, item: u32, turn: &mut Turn<'_>) -> bool {
        let Some(work) = self.steps.get_mut(step as usize).and_then(|step| step.work.as_mut()) else { return false };
        let Some(slot) = work.slot(item).filter(|slot| slot.state == SlotState::Offered) else { return false };
        slot.state = SlotState::Waiting;
        work.flying -= 1;
        self.flying -= 1;
        if work.is_closed {
            self.end_work_if_over(step, turn);
            return false;
        }
        // Its place is free for another one.
        self.queue_work(step);
        true
    }

    /// Counts the end of an item. False if it does not count: the item has ended before, or its task is another one.
    pub(super) fn item_ended(&mut self, step: u32, item: u32, task: TaskId, end: Ended, turn: &mut Turn<'_>) -> bool {
        let Some(work) = self.steps.get_mut(step as usize).and_then(|step| step.work.as_mut()) else { return false };
        let Some(slot) = work.slot(item) else { return false };
        let counts = match slot.state {
            SlotState::Active => slot.task == Some(task) || is_planted(Fault::OtherTaskCounts),
            // The end overtook the answer that the task was taken.
            SlotState::Offered => true,
            SlotState::Waiting => false,
            SlotState::Ended => is_planted(Fault::RepeatedEndCounts),
        };
        if !counts {
            return false;
        }
        if slot.task.is_none() {
            slot.task = Some(task);
            self.note_task(step, task);
        }
        self.end_item(step, item, end, turn);
        true
    }

    /// Ends an item, and all that ends with it.
    pub(super) fn end_item(&mut self, step: u32, item: u32, end: Ended, turn: &mut Turn<'_>) {
        let end = self.judge(step, end, turn);
        let Some(work) = &mut self.steps[step as usize].work else { return };
        let Some(slot) = work.slots.get_mut(item as usize) else { return };
        if matches!(slot.state, SlotState::Offered | SlotState::Active) {
            work.flying -= 1;
            self.flying -= 1;
        }
        slot.state = SlotState::Ended;
        work.ended += 1;
        let tasks = slot.task.into_iter().collect();
        let mut progress = Progress { tasks, finished: Some(turn.now), ..Progress::default() };
        let mut fatal = None;
        match end {
            Ended::Succeeded(output) => {
                progress.state = StepState::Succeeded;
                slot.output.clone_from(&output);
                progress.output = output;
            }
            Ended::Failed(error) => {
                progress.state = StepState::Failed;
                work.error.get_or_insert_with(|| error.clone());
                fatal = Some(error.clone());
                progress.error = Some(error);
            }
            Ended::Cancelled => {
                progress.state = StepState::Cancelled;
                work.is_cancelled = true;
            }
        }
        if self.is_fan(step) && !is_planted(Fault::ItemEndNotSaved) {
            self.save_item(step, item, progress, turn);
        }
        if let Some(error) = fatal.filter(|_| self.is_fatal(step)) {
            self.fail(step, &error, turn);
        }
        self.end_work_if_over(step, turn);
        self.queue_work(step);
    }

    /// What an end means for the step: outputs have a bound, and nobody else may cancel.
    fn judge(&mut self, step: u32, end: Ended, turn: &Turn<'_>) -> Ended {
        let name = &self.definition.steps[step as usize].name;
        match end {
            Ended::Succeeded(Some(output)) => {
                let bytes = self.output_bytes.saturating_add(output.weight());
                if bytes > turn.limits.output_bytes_max {
                    return Ended::Failed(errors::outputs_too_large(name, turn.limits.output_bytes_max));
                }
                self.output_bytes = bytes;
                Ended::Succeeded(Some(output))
            }
            Ended::Cancelled if !self.is_stopped(step) => Ended::Failed(errors::task_cancelled(name)),
            other => other,
        }
    }

    /// Ends a step when all of its items have.
    pub(super) fn end_work_if_over(&mut self, step: u32, turn: &mut Turn<'_>) {
        let is_fan = self.is_fan(step);
        let keeps_outputs = self.definition.steps[step as usize].failure_mode == FailureMode::Continue;
        let run = &mut self.steps[step as usize];
        let Some(work) = run.work.take_if(|work| work.is_over()) else { return };
        let mut work = *work;
        run.progress.items_ended = work.ended;
        run.progress.error = work.error.take();
        let state = if run.progress.error.is_some() {
            StepState::Failed
        } else if work.is_cancelled || (work.ended as usize) < work.slots.len() {
            StepState::Cancelled
        } else {
            StepState::Succeeded
        };
        if state == StepState::Succeeded || (state == StepState::Failed && keeps_outputs && is_fan) {
            run.progress.output = gather(work, is_fan);
        }
        self.end_step(step, state, turn);
    }

    /// Ends a step and lets those start that waited for nothing else.
    pub(super) fn end_step(&mut self, step: u32, state: StepState, turn: &mut Turn<'_>) {
        let run = &mut self.steps[step as usize];
        run.progress.state = state;
        run.progress.finished = Some(turn.now);
        run.progress.items = None;
        run.work = None;
        let error = run.progress.error.clone();
        self.save_step(step, turn);
        if self.is_on_failure(step) {
            return;
        }
        self.open -= 1;
        self.release(step);
        if state == StepState::Failed && self.is_fatal(step) {
            self.fail(step, &error.unwrap_or_default(), turn);
        }
    }

    /// Counts a step that has ended for those that depend on it.
    pub(super) fn release(&mut self, step: u32) {
        let may_start = matches!(self.record.state, RunState::Running | RunState::Paused);
        let definition = self.definition.clone();
        for dependent in &definition.steps[step as usize].dependents {
            let run = &mut self.steps[*dependent as usize];
            run.waits = if is_planted(Fault::OneDependencyIsEnough) { 0 } else { run.waits.saturating_sub(1) };
            if may_start && run.waits == 0 && run.progress.state == StepState::Blocked {
                self.due.push_back(*dependent);
            }
        }
    }

    fn fail(&mut self, step: u32, error: &Json, turn: &mut Turn<'_>) {
        if matches!(self.record.state, RunState::Running | RunState::Paused) {
            let error = errors::of_step(error, &self.definition.steps[step as usize].name);
            self.enter_ending(Cause::Failed, Some(error), turn);
        }
    }
}

pub(super) fn of_state(state: StepState) -> Progress {
    Progress { state, ..Progress::default() }
}

/// The output of a step: of its one item, or the list of its items' outputs.
pub(super) fn gather(work: Work, is_fan: bool) -> Option<Json> {
    let outputs = work.slots.into_iter().map(|Slot { output, .. }| output);
    if !is_fan {
        return outputs.flatten().next();
    }
    let list = outputs.map(|output| output.map_or(Value::Null, Json::into_value));
    Some(Json::from(Value::Array(list.collect())))
}
