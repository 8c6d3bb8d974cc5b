//! One run in memory.

use std::{
    borrow::Cow,
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::Value;

use super::{Effect, Limits, Progress, RunId, RunRecord, RunState, StepRecord, StepState, Stop, work::Work};
use crate::time::Millis;
use crate::{
    definition::{Definition, FailureMode},
    expression::{Facts, Root},
};

/// A moment at which something of a run is due: its timeout, or an item that was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    pub(super) at: Millis,
    pub(super) run: RunId,
    /// The item to offer again; none for the timeout.
    pub(super) item: Option<(u32, u32)>,
}

/// What a call may use, and where its effects go.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) now: Millis,
    pub(super) limits: &'a Limits,
    pub(super) out: &'a mut Vec<Effect>,
    pub(super) timers: &'a mut BTreeSet<Timer>,
    /// How many more things may be started or stopped.
    pub(super) starts: u32,
    /// How much more work expressions may do.
    pub(super) effort: u64,
}

impl Turn<'_> {
    pub(super) const fn is_spent(&self) -> bool {
        self.starts == 0 || self.effort == 0
    }

    pub(super) const fn started_one(&mut self) {
        self.starts = self.starts.saturating_sub(1);
    }
}

/// A step of a run.
#[derive(Debug, Default)]
pub(super) struct StepRun {
    /// How many of the steps it depends on have not ended.
    pub(super) waits: u32,
    pub(super) progress: Progress,
    /// Its items, while it is active.
    pub(super) work: Option<Box<Work>>,
    /// Which records it has: the step's own, and those of items up to this number.
    pub(super) is_saved: bool,
    pub(super) items_saved: u32,
}

/// A run that is not final.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) record: RunRecord,
    pub(super) definition: Arc<Definition>,
    pub(super) steps: Vec<StepRun>,
    /// Steps that have not ended, the one for failures left out.
    pub(super) open: usize,
    /// Items that are offered or have a task, of all steps.
    pub(super) flying: usize,
    /// What its outputs weigh.
    pub(super) output_bytes: usize,
    /// Steps whose dependencies have ended.
    pub(super) due: VecDeque<u32>,
    /// Active steps with items to offer.
    pub(super) working: VecDeque<u32>,
    /// Items whose tasks are to be cancelled.
    pub(super) cancels: VecDeque<(u32, u32)>,
    /// Whether it is in the queue of runs with something to do.
    pub(super) is_ready: bool,
    id_text: Value,
    name_text: Value,
}

impl Run {
    /// A run of which no step has started.
    pub(super) fn new(record: RunRecord, definition: Arc<Definition>) -> Self {
        let waits = |step: &crate::definition::Step| u32::try_from(step.dependencies.len()).unwrap_or(u32::MAX);
        let steps = definition.steps.iter().map(|step| StepRun { waits: waits(step), ..StepRun::default() });
        Self {
            steps: steps.collect(),
            open: definition.step_count(),
            flying: 0,
            output_bytes: 0,
            due: VecDeque::new(),
            working: VecDeque::new(),
            cancels: VecDeque::new(),
            is_ready: false,
            id_text: record.id.to_string().into(),
            name_text: record.definition.name.as_str().into(),
            definition,
            record,
        }
    }

    /// Lets every step start that waits for nothing.
    pub(super) fn collect_due(&mut self) {
        let regular = self.steps.iter().take(self.definition.step_count());
        let due = (0..).zip(regular).filter(|(_, step)| step.waits == 0 && step.progress.state == StepState::Blocked);
        self.due = due.map(|(step, _)| step).collect();
    }

    pub(super) fn state_of(&self, step: u32) -> StepState {
        self.steps[step as usize].progress.state
    }

    pub(super) fn is_on_failure(&self, step: u32) -> bool {
        self.definition.on_failure() == Some(step)
    }

    /// Whether the step's tasks are to be stopped.
    pub(super) fn is_stopped(&self, step: u32) -> bool {
        match self.record.stop {
            Stop::Nothing => false,
            Stop::Steps => !self.is_on_failure(step),
            Stop::All => true,
        }
    }

    /// Whether items of the step may start now.
    pub(super) fn may_start(&self, step: u32) -> bool {
        match self.record.state {
            RunState::Running => true,
            RunState::Paused => crate::faults::is_planted(crate::faults::Fault::PauseIgnored),
            RunState::Ending => self.is_on_failure(step) && !self.is_stopped(step),
            RunState::Succeeded | RunState::Failed | RunState::Cancelled => false,
        }
    }

    /// Whether a failure of the step is one of the workflow.
    pub(super) fn is_fatal(&self, step: u32) -> bool {
        !self.is_on_failure(step) && self.definition.steps[step as usize].failure_mode == FailureMode::Fail
    }

    /// Whether the step runs once for each item of a list.
    pub(super) fn is_fan(&self, step: u32) -> bool {
        self.definition.steps[step as usize].for_each.is_some()
    }

    pub(super) fn save(&self, turn: &mut Turn<'_>) {
        turn.out.push(Effect::SaveRun(Box::new(self.record.clone())));
    }

    pub(super) fn save_step(&mut self, step: u32, turn: &mut Turn<'_>) {
        let is_fan = self.is_fan(step);
        let run = &mut self.steps[step as usize];
        run.is_saved = true;
        let mut progress = run.progress.clone();
        // The items have their outputs; only what was taken over has nothing but this.
        if is_fan && progress.state != StepState::Reused {
            progress.output = None;
        }
        turn.out.push(Effect::SaveStep(Box::new(StepRecord { run: self.record.id, step, item: None, progress })));
    }

    pub(super) fn save_item(&mut self, step: u32, item: u32, progress: Progress, turn: &mut Turn<'_>) {
        let run = &mut self.steps[step as usize];
        run.items_saved = run.items_saved.max(item + 1);
        turn.out.push(Effect::SaveStep(Box::new(StepRecord { run: self.record.id, step, item: Some(item), progress })));
    }

    /// Puts an active step into the queue of those with items to offer, if it has any.
    pub(super) fn queue_work(&mut self, step: u32) {
        let parallel_max = self.definition.steps[step as usize].parallel_max;
        if let Some(work) = &mut self.steps[step as usize].work
            && !work.is_queued
            && work.has_more()
            && work.flying < parallel_max
        {
            work.is_queued = true;
            self.working.push_back(step);
        }
    }
}

impl Facts for Run {
    fn value(&self, root: Root) -> Option<Cow<'_, Value>> {
        let progress = |step: u32| self.steps.get(step as usize).map(|step| &step.progress);
        match root {
            Root::Input => Some(Cow::Borrowed(&self.record.input)),
            Root::WorkflowId => Some(Cow::Borrowed(&self.id_text)),
            Root::WorkflowName => Some(Cow::Borrowed(&self.name_text)),
            Root::Output(step) => progress(step)?.output.as_deref().map(Cow::Borrowed),
            Root::Error(step) => progress(step)?.error.as_deref().map(Cow::Borrowed),
            Root::State(step) => Some(Cow::Owned(Value::from(progress(step)?.state.name()))),
            Root::Item | Root::Index => None,
        }
    }
}
