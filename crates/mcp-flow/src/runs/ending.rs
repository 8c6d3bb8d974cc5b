//! How a run ends: by success, by a failure, by its timeout, by a caller.

use serde_json::{Map, Value};

use super::{
    Cause, Effect, RunState, StepState, Stop, errors,
    run::{Run, Timer, Turn},
    work::SlotState,
};
use crate::json::{self, Json};

impl Run {
    /// Starts nothing further but the step for failures.
    pub(super) fn enter_ending(&mut self, cause: Cause, error: Option<Json>, turn: &mut Turn<'_>) {
        self.record.state = RunState::Ending;
        self.record.cause = Some(cause);
        self.record.error = error;
        self.record.stop = match cause {
            Cause::Failed => Stop::Nothing,
            Cause::TimedOut => Stop::Steps,
            Cause::Cancelled => Stop::All,
        };
        self.save(turn);
        self.give_up_steps(turn);
        self.stop_tasks();
    }

    /// Stops more than before of a run that is ending already.
    pub(super) fn stop(&mut self, stop: Stop, turn: &mut Turn<'_>) {
        if self.record.stop >= stop {
            return;
        }
        self.record.stop = stop;
        self.save(turn);
        if let Some(step) = self.definition.on_failure().filter(|_| stop == Stop::All) {
            self.give_up_step(step, turn);
        }
        self.stop_tasks();
    }

    /// Gives up what has not started. Steps that never started need no record: the run's own says it all.
    pub(super) fn give_up_steps(&mut self, turn: &mut Turn<'_>) {
        self.due.clear();
        for step in std::mem::take(&mut self.working) {
            if let Some(work) = &mut self.steps[step as usize].work {
                work.is_queued = false;
            }
        }
        let count = u32::try_from(self.definition.step_count()).unwrap_or(u32::MAX);
        for step in 0..count {
            self.give_up_step(step, turn);
        }
        if let Some(step) = self.definition.on_failure().filter(|_| self.record.stop == Stop::All) {
            self.give_up_step(step, turn);
        }
    }

    fn give_up_step(&mut self, step: u32, turn: &mut Turn<'_>) {
        match self.state_of(step) {
            StepState::Blocked => {
                let is_failure = self.record.cause == Some(Cause::Failed);
                let progress = &mut self.steps[step as usize].progress;
                progress.state = if is_failure { StepState::Skipped } else { StepState::Cancelled };
                progress.error.clone_from(&self.record.error);
                if Some(step) != self.definition.on_failure() {
                    self.open -= 1;
                }
            }
            StepState::Active => {
                if let Some(work) = &mut self.steps[step as usize].work {
                    work.is_closed = true;
                    work.is_queued = false;
                }
                self.end_work_if_over(step, turn);
            }
            _ => {}
        }
    }

    /// Orders the tasks of stopped steps to be cancelled.
    pub(super) fn stop_tasks(&mut self) {
        self.cancels.clear();
        for (step, run) in (0..).zip(&self.steps) {
            let Some(work) = &run.work else { continue };
            if self.is_stopped(step) {
                let active = (0..).zip(&work.slots).filter(|(_, slot)| slot.state == SlotState::Active);
                self.cancels.extend(active.map(|(item, _)| (step, item)));
            }
        }
    }

    /// Ends a run whose steps have all ended well: whether it is final. It is not if its output failed.
    pub(super) fn complete(&mut self, turn: &mut Turn<'_>) -> bool {
        turn.started_one();
        let mut spent = 0;
        let output = self.gather_output(&mut spent);
        turn.effort = turn.effort.saturating_sub(spent);
        match output {
            Ok(output) => {
                self.record.output = Some(output);
                self.finish(turn);
                true
            }
            Err(reason) => {
                self.enter_ending(Cause::Failed, Some(errors::output(&reason)), turn);
                false
            }
        }
    }

    fn gather_output(&self, spent: &mut u64) -> Result<Json, String> {
        if let Some(output) = &self.definition.output {
            return output.evaluate(self, spent).map(Json::from).map_err(|error| error.to_string());
        }
        let mut outputs = Map::new();
        for (number, step) in self.definition.regular().filter(|(_, step)| step.dependents.is_empty()) {
            let output = self.steps[number as usize].progress.output.as_deref();
            *spent += output.map_or(1, |output| (json::weight(output) / 64) as u64);
            outputs.insert(step.name.to_string(), output.cloned().unwrap_or(Value::Null));
        }
        Ok(Value::Object(outputs).into())
    }

    /// Makes the run final and tells all about it.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>) {
        self.record.state = match self.record.cause {
            None => RunState::Succeeded,
            Some(Cause::Failed | Cause::TimedOut) => RunState::Failed,
            Some(Cause::Cancelled) => RunState::Cancelled,
        };
        self.record.finished = Some(turn.now);
        if let Some(at) = self.record.timeout_at {
            turn.timers.remove(&Timer { at, run: self.record.id, item: None });
        }
        // A step for failures that did not run was not needed.
        if let Some(step) = self.definition.on_failure() {
            let progress = &mut self.steps[step as usize].progress;
            if progress.state == StepState::Blocked {
                progress.state = StepState::Skipped;
            }
        }
        let mut records = Vec::new();
        for (step, run) in (0..).zip(&self.steps) {
            records.extend(run.is_saved.then_some((step, None)));
            records.extend((0..run.items_saved).map(|item| (step, Some(item))));
        }
        turn.out.push(Effect::Finished { view: Box::new(self.view()), records });
    }
}
