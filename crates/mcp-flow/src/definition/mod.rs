//! Workflows that were checked: every name resolved, every expression compiled.

mod check;
mod graph;
mod nearest;
mod raw;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use self::raw::{FailureMode, Fault, RawDefinition, RawStep};
use crate::{expression::Program, json::Json, template::Template};

/// Most steps of a workflow.
pub const STEPS_MAX: usize = 10_000;
/// Most faults that a check reports.
pub const FAULTS_MAX: usize = 20;

/// A workflow that was checked. Cheap to share: runs hold it by pointer.
pub struct Definition {
    pub(crate) raw: Arc<RawDefinition>,
    /// The steps in the order they were given; the one for failures, if any, comes after the others.
    pub(crate) steps: Vec<Step>,
    pub(crate) has_on_failure: bool,
    pub(crate) output: Option<Arc<Program>>,
    /// Numbers of the steps that can be depended on.
    pub(crate) numbers: BTreeMap<Arc<str>, u32>,
}

/// A step that was checked.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: Arc<str>,
    pub(crate) task: Json,
    pub(crate) dependencies: Vec<u32>,
    pub(crate) dependents: Vec<u32>,
    pub(crate) condition: Option<Arc<Program>>,
    pub(crate) for_each: Option<Arc<Program>>,
    pub(crate) template: Template,
    /// Items that may run at a time.
    pub(crate) parallel_max: u32,
    pub(crate) failure_mode: FailureMode,
}

impl Definition {
    /// Checks a workflow: names, dependencies, expressions.
    ///
    /// # Errors
    /// What is wrong, at most [`FAULTS_MAX`] faults, the first one first.
    pub fn check(raw: RawDefinition) -> Result<Self, Vec<Fault>> {
        check::check(Arc::new(raw))
    }

    /// As it was submitted.
    #[must_use]
    pub fn raw(&self) -> &Arc<RawDefinition> {
        &self.raw
    }

    /// How many steps it has; the one for failures does not count.
    #[must_use]
    pub fn step_count(&self) -> usize {
        self.numbers.len()
    }

    /// The number of the step for failures.
    pub(crate) fn on_failure(&self) -> Option<u32> {
        self.has_on_failure.then(|| u32::try_from(self.numbers.len()).unwrap_or(u32::MAX))
    }

    /// The steps, without the one for failures, with their numbers.
    pub(crate) fn regular(&self) -> impl Iterator<Item = (u32, &Step)> {
        (0..).zip(&self.steps[..self.numbers.len()])
    }
}

impl fmt::Debug for Definition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Definition").field("name", &self.raw.name).field("steps", &self.numbers.len()).finish()
    }
}
