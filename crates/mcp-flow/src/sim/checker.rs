//! What must hold, checked beside the rules and without their code: from the definitions, the tasks and the records.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Verdict;
use crate::{
    FailureMode, ItemEnd, ItemRef, Json, Progress, RawDefinition, RunId, RunRecord, RunState, RunView, StepRecord,
    StepState, TaskId,
};

/// A task as the world knows it.
#[derive(Debug, Clone)]
struct Task {
    id: TaskId,
    end: Option<ItemEnd>,
}

/// A run as its records tell it.
#[derive(Debug, Clone)]
struct Known {
    record: RunRecord,
    steps: BTreeMap<u32, Progress>,
    tasks: BTreeMap<(u32, u32), Task>,
    cancelled: bool,
}

/// All that was ever committed.
#[derive(Debug, Clone, Default)]
pub(super) struct Checker {
    runs: BTreeMap<RunId, Known>,
    finished: BTreeMap<RunId, RunView>,
    task_ids: BTreeSet<TaskId>,
}

impl Checker {
    /// A record of a run.
    pub(super) fn run_saved(&mut self, record: &RunRecord) -> Verdict {
        self.not_finished(record.id)?;
        match self.runs.get_mut(&record.id) {
            None => {
                let (steps, tasks) = (BTreeMap::new(), BTreeMap::new());
                let known = Known { record: record.clone(), steps, tasks, cancelled: false };
                self.runs.insert(record.id, known);
            }
            Some(known) => {
                let (from, to) = (known.record.state, record.state);
                let is_legal = matches!(
                    (from, to),
                    (RunState::Running, RunState::Paused | RunState::Ending)
                        | (RunState::Paused, RunState::Running | RunState::Ending)
                        | (RunState::Ending, RunState::Ending)
                );
                check(is_legal, || format!("{from:?} became {to:?}"))?;
                known.record = record.clone();
            }
        }
        Ok(())
    }

    /// A record of a step or an item.
    pub(super) fn step_saved(&mut self, record: &StepRecord) -> Verdict {
        self.not_finished(record.run)?;
        let known = self.runs.get_mut(&record.run).ok_or("a record of a run that has none")?;
        if record.item.is_none() {
            let before = known.steps.insert(record.step, record.progress.clone());
            let was_ended = before.is_some_and(|before| before.state.is_ended());
            check(!was_ended, || format!("step {} ended twice", record.step))?;
        }
        Ok(())
    }

    /// A task is to be submitted.
    pub(super) fn offered(&self, item: ItemRef) -> Verdict {
        let known = self.runs.get(&item.run).ok_or("a task for a run without a record")?;
        let is_on_failure = item.step as usize == known.record.definition.steps.len();
        match known.record.state {
            RunState::Running => check(!is_on_failure, || "the step for failures starts in a running workflow".into()),
            RunState::Ending => check(is_on_failure, || format!("step {} starts in an ending workflow", item.step)),
            state => Err(format!("a task starts while the workflow is {state:?}")),
        }
    }

    /// A task was submitted.
    pub(super) fn submitted(&mut self, item: ItemRef, id: TaskId) -> Verdict {
        self.not_finished(item.run)?;
        check(self.task_ids.insert(id), || format!("{id} is used twice"))?;
        let known = self.runs.get_mut(&item.run).ok_or("a task of a run without a record")?;
        let definition = known.record.definition.clone();
        let count = definition.steps.len();
        let step = item.step as usize;
        let before: Vec<usize> = if step == count { (0..count).collect() } else { dependencies(&definition, step) };
        for dependency in before {
            known.must_be_over(dependency, step == count)?;
        }
        let task = Task { id, end: None };
        check(known.tasks.insert((item.step, item.item), task).is_none(), || format!("{item:?} got a second task"))?;
        let raw = definition.steps.get(step).or(definition.on_failure.as_ref()).ok_or("an unknown step")?;
        let of_step = known.tasks.range((item.step, 0)..=(item.step, u32::MAX));
        let running = of_step.filter(|(_, task)| task.end.is_none()).count();
        check(raw.parallel_max == 0 || running <= raw.parallel_max as usize, || {
            format!("{running} items of {} run, at most {} may", raw.name, raw.parallel_max)
        })
    }

    /// A task ended, as the world has it; it may not have been told yet.
    pub(super) fn task_ended(&mut self, item: ItemRef, end: &ItemEnd) {
        if let Some(task) = self.runs.get_mut(&item.run).and_then(|run| run.tasks.get_mut(&(item.step, item.item))) {
            task.end.get_or_insert_with(|| end.clone());
        }
    }

    /// A cancel was taken.
    pub(super) fn cancelled(&mut self, run: RunId) {
        if let Some(known) = self.runs.get_mut(&run) {
            known.cancelled = true;
        }
    }

    /// A run is final.
    pub(super) fn run_finished(&mut self, view: &RunView, records: &[(u32, Option<u32>)], stored: usize) -> Verdict {
        let id = view.run.id;
        self.not_finished(id)?;
        let known = self.runs.remove(&id).ok_or("an unknown run finished")?;
        check(records.len() >= stored, || format!("{stored} records are left, {} are named", records.len()))?;
        known.check_end(view)?;
        self.finished.insert(id, view.clone());
        Ok(())
    }

    /// Runs that are not final.
    pub(super) fn unfinished(&self) -> Vec<RunId> {
        self.runs.keys().copied().collect()
    }

    /// What became of a run.
    pub(super) fn finished(&self) -> &BTreeMap<RunId, RunView> {
        &self.finished
    }

    fn not_finished(&self, run: RunId) -> Verdict {
        check(!self.finished.contains_key(&run), || format!("{run} goes on after its end"))
    }
}

impl Known {
    /// What a step waits for must have ended: by its record, and with all of its tasks.
    fn must_be_over(&self, step: usize, may_be_unstarted: bool) -> Verdict {
        let number = u32::try_from(step).map_err(|error| error.to_string())?;
        let is_over = match self.steps.get(&number) {
            Some(progress) => progress.state.is_ended(),
            None => may_be_unstarted,
        };
        check(is_over, || format!("step {step} has not ended, but one that waits for it starts"))?;
        let mut tasks = self.tasks.range((number, 0)..=(number, u32::MAX));
        check(tasks.all(|(_, task)| task.end.is_some()), || format!("a task of step {step} still runs"))
    }

    fn check_end(&self, view: &RunView) -> Verdict {
        let open: Vec<_> = self.tasks.iter().filter(|(_, task)| task.end.is_none()).collect();
        check(open.is_empty(), || format!("final with running tasks: {open:?}"))?;
        let definition = &self.record.definition;
        for (number, progress) in (0..).zip(&view.steps) {
            check(progress.state.is_ended(), || format!("final with step {number} {:?}", progress.state))?;
            self.check_step(number, progress, definition)?;
        }
        let is_failed = |(number, progress): (usize, &Progress)| {
            let is_fatal = definition.steps.get(number).is_some_and(|step| step.failure_mode == FailureMode::Fail);
            is_fatal && progress.state == StepState::Failed
        };
        let failed = view.steps.iter().enumerate().any(is_failed);
        match view.run.state {
            RunState::Succeeded => {
                check(!failed, || "succeeded with a failed step".into())?;
                let fine = |step: &Progress| step.state != StepState::Cancelled;
                check(view.steps.iter().all(fine), || "succeeded with a cancelled step".into())
            }
            RunState::Cancelled => check(self.cancelled, || "cancelled by nobody".into()),
            RunState::Failed => check(view.run.error.is_some(), || "failed without an error".into()),
            state => Err(format!("{state:?} is not final")),
        }
    }

    /// A step's outcome and output must be what its tasks said.
    fn check_step(&self, number: u32, progress: &Progress, definition: &RawDefinition) -> Verdict {
        let tasks: Vec<_> = self.tasks.range((number, 0)..=(number, u32::MAX)).map(|(_, task)| task).collect();
        for task in &tasks {
            check(progress.tasks.contains(&task.id), || format!("step {number} does not know {}", task.id))?;
        }
        if progress.state != StepState::Succeeded {
            return Ok(());
        }
        let outputs: Option<Vec<Value>> = tasks.iter().map(|task| output(task.end.as_ref()?)).collect();
        let outputs = outputs.ok_or_else(|| format!("step {number} succeeded, but not all of its tasks"))?;
        check(outputs.len() == progress.item_count as usize, || {
            format!("step {number} succeeded with {} of {} tasks", outputs.len(), progress.item_count)
        })?;
        let raw = definition.steps.get(number as usize).or(definition.on_failure.as_ref()).ok_or("an unknown step")?;
        let single = |outputs: Vec<Value>| outputs.into_iter().next().filter(|output| !output.is_null());
        let expected = if raw.for_each.is_empty() { single(outputs) } else { Some(Value::Array(outputs)) };
        let found = progress.output.clone().map(Json::into_value);
        check(expected == found, || format!("the output of step {number} is {found:?}, not {expected:?}"))
    }
}

fn output(end: &ItemEnd) -> Option<Value> {
    match end {
        ItemEnd::Succeeded { output } => Some(output.clone().map_or(Value::Null, Json::into_value)),
        ItemEnd::Failed { .. } | ItemEnd::Cancelled => None,
    }
}

fn dependencies(definition: &RawDefinition, step: usize) -> Vec<usize> {
    let names = &definition.steps[step].depends_on;
    let number = |name: &String| definition.steps.iter().position(|step| step.name == *name);
    names.iter().filter_map(number).collect()
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}
