//! Runs of workflows: a state machine for each, and the queue of those that have something to do.
//!
//! Calls that bring news ([`Runs::ended`], [`Runs::submitted`], [`Runs::cancel`] and the like) change states and save
//! them; whatever starts because of them is started by [`Runs::tick`], a bounded number of things at a time. So a shell
//! calls them as the news comes in, then `tick` once, and commits.

mod advance;
mod effect;
mod ending;
mod ends;
mod errors;
mod ids;
mod limits;
mod record;
mod rerun;
mod restore;
mod run;
#[cfg(test)]
mod tests;
mod view;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Weak},
};

use self::{
    advance::Advanced,
    ends::Ended,
    run::{Run, Timer, Turn},
};
pub use self::{
    advance::ITEMS_MAX,
    effect::{Effect, ItemEnd, ItemRef, Refusal},
    ids::{RunId, TaskId},
    limits::Limits,
    record::{Cause, Progress, RunRecord, RunState, STEP_KEY_BYTES, StepRecord, StepState, Stop, TASK_IDS_MAX},
    rerun::{Rerun, RerunRefused},
    restore::RestoreError,
    view::{BLOCKERS_MAX, Blocked, RunView},
};
use crate::{
    definition::{Definition, RawDefinition},
    faults::{Fault, is_planted},
    json::Json,
    time::Millis,
};

/// Why a call about a run was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such run that is not final.
    #[error("no unfinished workflow has this id")]
    Unknown,
    /// There is one with this id.
    #[error("a workflow with this id is there already")]
    Exists,
    /// There are as many as there may be.
    #[error("there are {0} unfinished workflows, as many as are allowed")]
    Full(usize),
    /// It is ending, so that it can be neither paused nor resumed.
    #[error("the workflow is ending")]
    Ending,
}

/// A workflow to run.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Its id, never used before.
    pub id: RunId,
    /// The partition it lives in.
    pub partition: u16,
    /// What runs.
    pub definition: Arc<Definition>,
    /// What expressions see as `input`.
    pub input: Json,
    /// Whatever else the shell wants to have in the run's record.
    pub extra: Json,
    /// Trace id of the submit.
    pub trace: String,
}

/// All runs of a replica that are not final.
#[derive(Debug, Default)]
pub struct Runs {
    limits: Limits,
    runs: BTreeMap<RunId, Run>,
    /// Runs with something to start or stop, each once.
    ready: VecDeque<RunId>,
    timers: BTreeSet<Timer>,
    /// Definitions that runs share, by a hash of what was submitted.
    definitions: BTreeMap<u64, Weak<Definition>>,
}

impl Runs {
    /// No runs at all.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// How many runs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Starts a run.
    ///
    /// # Errors
    /// [`Refused::Exists`], [`Refused::Full`].
    pub fn submit(&mut self, now: Millis, submission: Submission, out: &mut Vec<Effect>) -> Result<(), Refused> {
        let definition = submission.definition;
        let record = RunRecord {
            id: submission.id,
            partition: submission.partition,
            definition: definition.raw().clone(),
            input: submission.input,
            extra: submission.extra,
            trace: submission.trace,
            rerun_of: None,
            created: now,
            timeout_at: definition.raw().timeout.map(|timeout| now.saturating_add(timeout)),
            finished: None,
            state: RunState::Running,
            cause: None,
            stop: Stop::Nothing,
            error: None,
            output: None,
        };
        self.admit(record.id)?;
        let mut run = Run::new(record, definition);
        run.collect_due();
        out.push(Effect::SaveRun(Box::new(run.record.clone())));
        self.insert(run);
        Ok(())
    }

    /// Tells which task an item got that was to be submitted. Repeats change nothing.
    pub fn submitted(&mut self, now: Millis, item: ItemRef, task: TaskId, out: &mut Vec<Effect>) {
        self.with(now, item.run, out, |run, turn| run.item_submitted(item.step, item.item, task, turn));
    }

    /// Tells that an item's task was not taken. Repeats change nothing.
    pub fn refused(&mut self, now: Millis, item: ItemRef, refusal: Refusal, out: &mut Vec<Effect>) {
        self.with(now, item.run, out, |run, turn| match refusal {
            Refusal::Until(at) => {
                if run.item_refused(item.step, item.item, turn) && !is_planted(Fault::RefusedForgotten) {
                    turn.timers.insert(Timer { at, run: item.run, item: Some((item.step, item.item)) });
                }
            }
            Refusal::Invalid { error } => {
                if run.item_refused(item.step, item.item, turn) {
                    run.end_item(item.step, item.item, Ended::Failed(error), turn);
                }
            }
        });
    }

    /// Tells how an item's task ended. May come late, and more than once: false if it changes nothing.
    pub fn ended(&mut self, now: Millis, item: ItemRef, task: TaskId, end: ItemEnd, out: &mut Vec<Effect>) -> bool {
        let end = match end {
            ItemEnd::Succeeded { output } => Ended::Succeeded(output),
            ItemEnd::Failed { error } => Ended::Failed(error),
            ItemEnd::Cancelled => Ended::Cancelled,
        };
        self.with(now, item.run, out, |run, turn| run.item_ended(item.step, item.item, task, end, turn))
            .unwrap_or(false)
    }

    /// Lets what runs finish and starts nothing further. Does nothing to a run that is paused already.
    ///
    /// # Errors
    /// [`Refused::Unknown`], [`Refused::Ending`].
    pub fn pause(&mut self, now: Millis, run: RunId, out: &mut Vec<Effect>) -> Result<(), Refused> {
        self.set_paused(now, run, RunState::Paused, out)
    }

    /// Lets a paused run go on. Does nothing to a run that is not paused.
    ///
    /// # Errors
    /// [`Refused::Unknown`], [`Refused::Ending`].
    pub fn resume(&mut self, now: Millis, run: RunId, out: &mut Vec<Effect>) -> Result<(), Refused> {
        self.set_paused(now, run, RunState::Running, out)
    }

    fn set_paused(&mut self, now: Millis, run: RunId, state: RunState, out: &mut Vec<Effect>) -> Result<(), Refused> {
        self.with(now, run, out, |run, turn| {
            if run.record.state == RunState::Ending {
                return Err(Refused::Ending);
            }
            if run.record.state != state {
                run.record.state = state;
                run.save(turn);
            }
            Ok(())
        })
        .unwrap_or(Err(Refused::Unknown))
    }

    /// Ends a run: no further step starts, and what runs is stopped. A run that is failing still ends as failed, but its
    /// tasks are stopped too, and its step for failures does not start.
    ///
    /// # Errors
    /// [`Refused::Unknown`].
    pub fn cancel(&mut self, now: Millis, run: RunId, out: &mut Vec<Effect>) -> Result<(), Refused> {
        self.with(now, run, out, |run, turn| match run.record.state {
            RunState::Ending => run.stop(Stop::All, turn),
            _ => run.enter_ending(Cause::Cancelled, None, turn),
        })
        .ok_or(Refused::Unknown)
    }

    /// Fires the timers that are due, then starts and stops what can be, a bounded number of things: when there is more,
    /// [`next_timer`](Self::next_timer) says so.
    pub fn tick(&mut self, now: Millis, out: &mut Vec<Effect>) {
        self.fire_timers(now, out);
        let (mut starts, mut effort) = (self.limits.starts_per_tick, self.limits.effort_per_tick);
        while starts > 0 && effort > 0 {
            let Some(id) = self.ready.pop_front() else { return };
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let share = starts.min(self.limits.starts_per_turn);
            let mut turn = Turn { now, limits: &self.limits, out, timers: &mut self.timers, starts: share, effort };
            let advanced = run.advance(&mut turn);
            starts -= share - turn.starts;
            effort = turn.effort;
            run.is_ready = advanced == Advanced::HasMore;
            match advanced {
                Advanced::Waits => {}
                Advanced::HasMore => self.ready.push_back(id),
                Advanced::IsFinal => {
                    self.runs.remove(&id);
                }
            }
        }
    }

    /// When [`tick`](Self::tick) has something to do next: 0 means at once, none means only after news.
    #[must_use]
    pub fn next_timer(&self) -> Option<Millis> {
        if self.ready.is_empty() { self.timers.first().map(|timer| timer.at) } else { Some(0) }
    }

    /// A run and its steps as they stand.
    #[must_use]
    pub fn view(&self, run: RunId) -> Option<RunView> {
        self.runs.get(&run).map(Run::view)
    }

    /// The record of a run as it stands.
    #[must_use]
    pub fn record(&self, run: RunId) -> Option<&RunRecord> {
        self.runs.get(&run).map(|run| &run.record)
    }

    /// How many steps of a run have ended, the one for failures left out.
    #[must_use]
    pub fn steps_ended(&self, run: RunId) -> Option<usize> {
        self.runs.get(&run).map(|run| run.definition.step_count() - run.open)
    }

    /// What a step that has not started waits for. None if it has, or if there is no such run or step.
    #[must_use]
    pub fn blocked(&self, run: RunId, step: u32) -> Option<Blocked> {
        self.runs.get(&run)?.blocked(step)
    }

    /// Every run, by id.
    pub fn records(&self) -> impl Iterator<Item = &RunRecord> {
        self.runs.values().map(|run| &run.record)
    }

    /// Forgets all runs of a partition, without a word: how many there were.
    pub fn close(&mut self, partition: u16) -> usize {
        let before = self.runs.len();
        self.runs.retain(|_, run| run.record.partition != partition);
        let runs = &self.runs;
        self.ready.retain(|id| runs.contains_key(id));
        self.timers.retain(|timer| runs.contains_key(&timer.run));
        before - self.runs.len()
    }

    /// A definition that runs share with others of the same content.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn definition(&mut self, raw: &Arc<RawDefinition>) -> Result<Arc<Definition>, Vec<crate::Fault>> {
        let hash = hash_of(raw);
        if let Some(known) = self.definitions.get(&hash).and_then(Weak::upgrade).filter(|known| known.raw() == raw) {
            return Ok(known);
        }
        let definition = Arc::new(Definition::check(RawDefinition::clone(raw))?);
        self.remember(hash, &definition);
        Ok(definition)
    }

    /// Takes in a definition that was checked elsewhere, so that runs with the same content share it for as long as
    /// somebody holds it.
    pub fn adopt(&mut self, definition: &Arc<Definition>) {
        self.remember(hash_of(definition.raw()), definition);
    }

    fn remember(&mut self, hash: u64, definition: &Arc<Definition>) {
        if self.definitions.len() > 2 * self.runs.len() + 16 {
            self.definitions.retain(|_, definition| definition.strong_count() > 0);
        }
        self.definitions.insert(hash, Arc::downgrade(definition));
    }

    fn admit(&self, id: RunId) -> Result<(), Refused> {
        if self.runs.contains_key(&id) {
            return Err(Refused::Exists);
        }
        if self.runs.len() >= self.limits.runs_max {
            return Err(Refused::Full(self.limits.runs_max));
        }
        Ok(())
    }

    fn insert(&mut self, mut run: Run) {
        let id = run.record.id;
        run.is_ready = true;
        self.ready.push_back(id);
        if let Some(at) = run.record.timeout_at {
            self.timers.insert(Timer { at, run: id, item: None });
        }
        self.runs.insert(id, run);
    }

    /// Does something to a run; it gets its turn at the next tick.
    fn with<T>(
        &mut self,
        now: Millis,
        id: RunId,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Run, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let run = self.runs.get_mut(&id)?;
        let mut turn = Turn { now, limits: &self.limits, out, timers: &mut self.timers, starts: 0, effort: 0 };
        let done = act(run, &mut turn);
        if !run.is_ready {
            run.is_ready = true;
            self.ready.push_back(id);
        }
        Some(done)
    }

    fn fire_timers(&mut self, now: Millis, out: &mut Vec<Effect>) {
        while let Some(timer) = self.timers.first().copied().filter(|timer| timer.at <= now) {
            self.timers.remove(&timer);
            self.with(now, timer.run, out, |run, turn| match timer.item {
                Some((step, item)) => run.offer_again(step, item),
                None => run.time_is_up(turn),
            });
        }
    }
}

fn hash_of(raw: &RawDefinition) -> u64 {
    let mut hasher = DefaultHasher::new();
    raw.hash(&mut hasher);
    hasher.finish()
}

impl Run {
    fn offer_again(&mut self, step: u32, item: u32) {
        if let Some(work) = &mut self.steps[step as usize].work {
            work.push_again(item);
            self.queue_work(step);
        }
    }

    fn time_is_up(&mut self, turn: &mut Turn<'_>) {
        if self.record.state == RunState::Ending {
            return self.stop(Stop::Steps, turn);
        }
        let timeout = self.record.definition.timeout.unwrap_or(0);
        self.enter_ending(Cause::TimedOut, Some(errors::timed_out(timeout)), turn);
    }
}
