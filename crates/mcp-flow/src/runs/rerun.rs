//! Running a final workflow again, from where it failed or from a step on.

use std::{collections::HashMap, sync::Arc};

use super::{
    Effect, Progress, Refused, RunId, RunRecord, RunState, RunView, Runs, StepState, Stop,
    run::{Run, Turn},
};
use crate::time::Millis;
use crate::{
    definition::{Definition, Fault},
    json::Json,
};

/// How to run a workflow again.
#[derive(Debug, Clone)]
pub struct Rerun {
    /// Id of the new run, never used before.
    pub id: RunId,
    /// Step to start from: it and all that depends on it run again. None means: whatever did not succeed.
    pub from_step: Option<String>,
    /// A newer version, with its input; the steps to take over have the same names. None means the same again.
    pub newer: Option<(Arc<Definition>, Json)>,
    /// Whatever else the shell wants to have in the run's record. None means what the earlier run has.
    pub extra: Option<Json>,
    /// Trace id of the request.
    pub trace: String,
}

/// Why a workflow cannot be run again. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RerunRefused {
    /// It is not final.
    #[error("the workflow has not ended")]
    NotFinal,
    /// There is no such step.
    #[error("there is no step `{0}`")]
    UnknownStep(String),
    /// Its definition does not pass today's check.
    #[error("the definition of the workflow is not valid (any more): {} faults", .0.len())]
    Definition(Vec<Fault>),
    /// The id is taken, or there are too many runs.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl Runs {
    /// Starts a new run that takes over from `earlier`, which is final, what need not run again: a step that succeeded, or
    /// whose condition was false, when all it depends on is taken over too.
    ///
    /// # Errors
    /// See [`RerunRefused`].
    pub fn rerun(
        &mut self,
        now: Millis,
        earlier: &RunView,
        rerun: Rerun,
        out: &mut Vec<Effect>,
    ) -> Result<(), RerunRefused> {
        if !earlier.run.state.is_final() {
            return Err(RerunRefused::NotFinal);
        }
        self.admit(rerun.id)?;
        let (definition, input) = match rerun.newer {
            Some((definition, input)) => (definition, input),
            None => {
                let definition = self.definition(&earlier.run.definition).map_err(RerunRefused::Definition)?;
                (definition, earlier.run.input.clone())
            }
        };
        let from = match &rerun.from_step {
            None => None,
            Some(name) => {
                let step = definition.numbers.get(name.as_str()).copied();
                Some(step.ok_or_else(|| RerunRefused::UnknownStep(name.clone()))?)
            }
        };
        let record = RunRecord {
            id: rerun.id,
            partition: earlier.run.partition,
            definition: definition.raw().clone(),
            input,
            extra: rerun.extra.unwrap_or_else(|| earlier.run.extra.clone()),
            trace: rerun.trace,
            rerun_of: Some(earlier.run.id),
            created: now,
            timeout_at: definition.raw().timeout.map(|timeout| now.saturating_add(timeout)),
            finished: None,
            state: RunState::Running,
            cause: None,
            stop: Stop::Nothing,
            error: None,
            output: None,
        };
        out.push(Effect::SaveRun(Box::new(record.clone())));
        let taken = take_over(&definition, earlier, from);
        let mut run = Run::new(record, definition);
        let mut turn = Turn { now, limits: &self.limits, out, timers: &mut self.timers, starts: 0, effort: 0 };
        for (step, progress) in taken {
            run.take_over(step, progress, &mut turn);
        }
        run.collect_due();
        self.insert(run);
        Ok(())
    }
}

impl Run {
    fn take_over(&mut self, step: u32, progress: Progress, turn: &mut Turn<'_>) {
        self.output_bytes += progress.output.as_ref().map_or(0, Json::weight);
        self.steps[step as usize].progress = progress;
        self.save_step(step, turn);
        self.open -= 1;
        self.release(step);
    }
}

/// The steps of `definition` that `earlier` has done already, each after those it depends on.
fn take_over(definition: &Definition, earlier: &RunView, from: Option<u32>) -> Vec<(u32, Progress)> {
    let names = earlier.run.definition.steps.iter().map(|step| step.name.as_str());
    let done: HashMap<_, _> = names.zip(earlier.run.definition.steps.iter().zip(&earlier.steps)).collect();
    let mut waits: Vec<usize> = definition.regular().map(|(_, step)| step.dependencies.len()).collect();
    let mut reachable: Vec<u32> =
        definition.regular().filter(|(_, step)| step.dependencies.is_empty()).map(|(step, _)| step).collect();
    let mut taken = Vec::new();
    while let Some(number) = reachable.pop() {
        let step = &definition.steps[number as usize];
        let Some((raw, progress)) = done.get(&*step.name) else { continue };
        let is_done = match progress.state {
            StepState::Succeeded | StepState::Reused => true,
            // What was skipped for a reason that still holds stays skipped.
            StepState::Skipped => {
                let condition = &definition.raw().steps[number as usize].condition;
                progress.finished.is_some() && !progress.passes_failure && raw.condition == *condition
            }
            _ => false,
        };
        if !is_done || Some(number) == from {
            continue;
        }
        let state = if progress.state == StepState::Skipped { StepState::Skipped } else { StepState::Reused };
        taken.push((number, Progress { state, ..(*progress).clone() }));
        for dependent in &step.dependents {
            waits[*dependent as usize] -= 1;
            if waits[*dependent as usize] == 0 {
                reachable.push(*dependent);
            }
        }
    }
    taken
}
