//! Runs as people see them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Progress, RunRecord, run::Run};

/// A run and its steps: what is shown of an unfinished run, and what is kept of a final one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    /// The run.
    pub run: RunRecord,
    /// Its steps in the order of the definition; the step for failures comes last, if there is one.
    pub steps: Vec<Progress>,
}

impl RunView {
    /// How many steps have ended, the one for failures left out.
    #[must_use]
    pub fn steps_ended(&self) -> usize {
        let regular = self.steps.iter().take(self.run.definition.steps.len());
        regular.filter(|step| step.state.is_ended()).count()
    }
}

/// What a step that is blocked waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// These steps, which have not ended. At most [`BLOCKERS_MAX`] of them.
    ByDependencies(Vec<Arc<str>>),
    /// The run is paused.
    ByPause,
    /// Nothing: it starts as soon as its turn comes.
    ByTurn,
    /// Every other step: it is the step for failures.
    ByFailure,
}

/// Most steps that [`Blocked`] names.
pub const BLOCKERS_MAX: usize = 20;

impl Run {
    pub(super) fn view(&self) -> RunView {
        let steps = self.steps.iter().map(|step| {
            let items_ended = step.work.as_ref().map_or(step.progress.items_ended, |work| work.ended);
            Progress { items_ended, items: None, ..step.progress.clone() }
        });
        RunView { run: self.record.clone(), steps: steps.collect() }
    }

    pub(super) fn blocked(&self, step: u32) -> Option<Blocked> {
        let run = self.steps.get(step as usize)?;
        if run.progress.state != super::StepState::Blocked {
            return None;
        }
        if Some(step) == self.definition.on_failure() {
            return Some(Blocked::ByFailure);
        }
        if run.waits == 0 {
            let is_paused = self.record.state == super::RunState::Paused;
            return Some(if is_paused { Blocked::ByPause } else { Blocked::ByTurn });
        }
        let dependencies = self.definition.steps[step as usize].dependencies.iter();
        let open = dependencies.filter(|step| !self.steps[**step as usize].progress.state.is_ended());
        let names = open.map(|step| self.definition.steps[*step as usize].name.clone());
        Some(Blocked::ByDependencies(names.take(BLOCKERS_MAX).collect()))
    }
}
