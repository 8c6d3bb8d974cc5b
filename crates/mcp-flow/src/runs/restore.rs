//! From records back to runs.

use serde_json::Value;

use super::{
    ITEMS_MAX, RunRecord, RunState, Runs, StepRecord, StepState,
    ends::gather,
    run::{Run, Turn},
    work::{SlotState, Work},
};
use crate::time::Millis;
use crate::{
    definition::Fault,
    faults::{Fault as Planted, is_planted},
    json::Json,
};

/// Why a run cannot be restored. Its records stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// Its definition does not pass today's check.
    #[error("the definition of the workflow is not valid (any more): {} faults", .0.len())]
    Definition(Vec<Fault>),
    /// A record does not fit the definition.
    #[error("the record of step {step}, item {item:?} does not fit the workflow")]
    Misfit {
        /// Number of the step.
        step: u32,
        /// Number of the item.
        item: Option<u32>,
    },
    /// It is there already, or there are too many.
    #[error("the run cannot be taken in")]
    Refused(#[from] super::Refused),
    /// It is final.
    #[error("the run is final")]
    Final,
}

impl Runs {
    /// Takes a run over from its records, whose order does not matter. It goes on at the next
    /// [`tick`](super::Runs::tick): nothing that is on record is started again, and cancels that may have been lost are
    /// sent again.
    ///
    /// # Errors
    /// See [`RestoreError`]; nothing has changed then.
    pub fn restore(
        &mut self,
        now: Millis,
        record: RunRecord,
        steps: impl IntoIterator<Item = StepRecord>,
    ) -> Result<(), RestoreError> {
        if record.state.is_final() {
            return Err(RestoreError::Final);
        }
        self.admit(record.id)?;
        let definition = self.definition(&record.definition).map_err(RestoreError::Definition)?;
        let record = RunRecord { definition: definition.raw().clone(), ..record };
        let mut run = Run::new(record, definition);
        let (items, whole): (Vec<_>, Vec<_>) = steps.into_iter().partition(|record| record.item.is_some());
        for record in whole {
            run.restore_step(record)?;
        }
        for record in items {
            run.restore_item(record)?;
        }
        run.reckon();
        self.insert_restored(now, run);
        Ok(())
    }

    fn insert_restored(&mut self, now: Millis, mut run: Run) {
        if run.record.state == RunState::Ending {
            // Whatever is closed by this was on record as such, or never started: there is nothing to save.
            let mut unsaved = Vec::new();
            let (limits, timers) = (&self.limits, &mut self.timers);
            let mut turn = Turn { now, limits, out: &mut unsaved, timers, starts: 0, effort: 0 };
            run.give_up_steps(&mut turn);
            run.stop_tasks();
        }
        self.insert(run);
    }
}

impl Run {
    fn restore_step(&mut self, record: StepRecord) -> Result<(), RestoreError> {
        let StepRecord { step, progress, .. } = record;
        let count = progress.items.as_deref().map_or(1, |items| items.as_array().map_or(0, Vec::len));
        let is_fan = self.definition.steps.get(step as usize).map(|step| step.for_each.is_some());
        let run = self.steps.get_mut(step as usize).ok_or(RestoreError::Misfit { step, item: None })?;
        if count > ITEMS_MAX || progress.item_count as usize > ITEMS_MAX {
            return Err(RestoreError::Misfit { step, item: None });
        }
        run.is_saved = true;
        run.progress = progress;
        if run.progress.state != StepState::Active {
            return Ok(());
        }
        let mut work = Box::new(Work::new(count));
        if is_fan == Some(false)
            && let Some(slot) = work.slot(0)
            && !is_planted(Planted::TaskForgotten)
        {
            slot.task = run.progress.tasks.first().copied();
            slot.state = SlotState::Active;
            work.flying = 1;
        }
        run.work = Some(work);
        Ok(())
    }

    fn restore_item(&mut self, record: StepRecord) -> Result<(), RestoreError> {
        let StepRecord { step, item, progress, .. } = record;
        let misfit = RestoreError::Misfit { step, item };
        let (Some(run), Some(item)) = (self.steps.get_mut(step as usize), item) else { return Err(misfit) };
        if item as usize >= ITEMS_MAX {
            return Err(misfit);
        }
        run.items_saved = run.items_saved.max(item + 1);
        if run.progress.state.is_ended() {
            // Only the outputs are still of use.
            let count = run.progress.item_count as usize;
            let slots = &mut run.work.get_or_insert_with(|| Box::new(Work::new(count))).slots;
            let slot = slots.get_mut(item as usize).ok_or(misfit)?;
            slot.output = progress.output;
            return Ok(());
        }
        let work = run.work.as_mut().ok_or_else(|| misfit.clone())?;
        let slot = work.slots.get_mut(item as usize).ok_or(misfit)?;
        slot.task = progress.tasks.first().copied();
        if run.progress.tasks.len() < super::TASK_IDS_MAX {
            run.progress.tasks.extend(slot.task);
        }
        if progress.state == StepState::Active {
            slot.state = SlotState::Active;
            work.flying += 1;
            return Ok(());
        }
        slot.state = SlotState::Ended;
        slot.output = progress.output;
        work.ended += 1;
        work.is_cancelled |= progress.state == StepState::Cancelled;
        if let Some(error) = progress.error {
            work.error.get_or_insert(error);
        }
        Ok(())
    }

    /// Works out what follows from the records: what is open, what is due, what the outputs weigh.
    fn reckon(&mut self) {
        let definition = self.definition.clone();
        for (number, step) in (0..).zip(&definition.steps) {
            let run = &mut self.steps[number as usize];
            if run.progress.state.is_ended() {
                if let Some(work) = run.work.take() {
                    let keeps = run.progress.state == StepState::Succeeded
                        || step.failure_mode == crate::definition::FailureMode::Continue;
                    if run.progress.output.is_none() && keeps {
                        run.progress.output = gather(*work, step.for_each.is_some());
                    }
                }
                let is_empty_list = run.progress.state == StepState::Succeeded && step.for_each.is_some();
                if run.progress.output.is_none() && is_empty_list {
                    run.progress.output = Some(Value::Array(Vec::new()).into());
                }
                self.output_bytes += run.progress.output.as_ref().map_or(0, Json::weight);
                if Some(number) != definition.on_failure() {
                    self.open -= 1;
                    self.release(number);
                }
            } else if let Some(work) = &run.work {
                self.flying += work.flying as usize;
                let outputs = work.slots.iter().filter_map(|slot| slot.output.as_ref());
                self.output_bytes += outputs.map(Json::weight).sum::<usize>();
            }
        }
        self.collect_due();
        for step in 0..u32::try_from(self.steps.len()).unwrap_or(u32::MAX) {
            self.queue_work(step);
        }
    }
}
