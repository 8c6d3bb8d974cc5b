//! Workflows of a partition that is being opened, entry by entry.

use std::{collections::HashMap, sync::Arc};

use mcp_flow::{Definition, RunId, RunRecord, StepRecord};

use crate::workflow::records::{Fixed, Found, Moving, RunKey};

/// What was loaded so far.
#[derive(Debug, Default)]
pub(super) struct Loading {
    fixed: HashMap<RunId, (Fixed, Option<Arc<Definition>>)>,
    moving: HashMap<RunId, Moving>,
    steps: HashMap<RunId, Vec<StepRecord>>,
    keys: Vec<RunKey>,
}

/// What a partition holds.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The runs, the oldest first.
    pub(super) runs: Vec<LoadedRun>,
    pub(super) keys: Vec<RunKey>,
    /// Entries of steps whose run is gone.
    pub(super) orphans: Vec<(RunId, u32, Option<u32>)>,
}

/// A run on record.
#[derive(Debug)]
pub(super) struct LoadedRun {
    pub(super) record: RunRecord,
    /// Its definition, if that passes today's check.
    pub(super) definition: Option<Arc<Definition>>,
    pub(super) cancel_reason: String,
    pub(super) steps: Vec<StepRecord>,
}

impl Loading {
    /// Takes what an entry says.
    pub(super) fn take(&mut self, found: Found) {
        match found {
            Found::Fixed(run, fixed, definition) => drop(self.fixed.insert(run, (fixed, definition))),
            Found::Moving(run, moving) => drop(self.moving.insert(run, moving)),
            Found::Step(step) => self.steps.entry(step.run).or_default().push(step),
            Found::Key(key) => self.keys.push(key),
        }
    }

    /// Puts the parts together.
    pub(super) fn finish(mut self, partition: u16) -> Loaded {
        let mut runs = Vec::with_capacity(self.moving.len());
        for (run, moving) in self.moving {
            let Some((fixed, definition)) = self.fixed.remove(&run) else {
                tracing::error!(workflow_id = %run, "what was submitted is missing: the workflow cannot go on");
                self.steps.remove(&run);
                continue;
            };
            let (cancel_reason, steps) = (moving.cancel_reason.clone(), self.steps.remove(&run).unwrap_or_default());
            runs.push(LoadedRun { record: moving.record(run, partition, fixed), definition, cancel_reason, steps });
        }
        runs.sort_unstable_by_key(|run| run.record.id);
        let orphans = self.steps.into_values().flatten().map(|step| (step.run, step.step, step.item));
        Loaded { runs, orphans: orphans.collect(), keys: self.keys }
    }
}
