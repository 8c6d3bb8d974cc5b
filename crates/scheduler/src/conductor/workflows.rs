//! Workflows: which tasks their steps start, and when a run is over.
//!
//! The rules are those of `mcp-flow`; this carries out what they order. What starts, starts in
//! [`tick`](Workflows::tick), a bounded part at a time, so that a workflow of ten thousand steps never holds up the loop.
//! A task that is started, the record that says so and the end that caused it are in one commit.
//!
//! Entries of steps that are not needed any more are removed bit by bit after their run's; what is left of them after a
//! crash is found when the partition is opened, since a step without a run is no longer needed.

mod acts;
mod keys;
mod loading;
mod plans;
mod refusal;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use mcp_cron::ScheduleId;
use mcp_flow::{Effect, Limits, RawDefinition, Refused, Rerun, RunId, RunRecord, RunView, Runs, Submission};
use mcp_proto::{Code, Error as WireError, TaskId, scheduler::v1::WorkflowSpec};

use self::{
    keys::{Keys, Known},
    loading::{LoadedRun, Loading},
    plans::Plans,
    refusal::{key_conflict, rerun_refusal, start_refusal},
};
use super::{
    Item, Reply,
    batch::{Ended, Later},
    faults::{Fault, is_planted},
    stage::{NotStarted, Stage},
};
use crate::{
    clock::millis,
    config::Settings,
    error::Error,
    metrics::Conducted,
    store,
    validate::{self, NewRun},
    workflow::{
        Brief, Extra, Fire, Showing, flow_task_id,
        records::{self, Found},
        run_id, workflow_id,
    },
};

/// Things that one tick starts, stops or skips. Each may be a task to start, some ten microseconds.
const STARTS_PER_TICK: u32 = 256;
/// Those of them that one run may have before the others get their turn.
const STARTS_PER_TURN: u32 = 64;
/// Work that the expressions of one tick do: about ten milliseconds.
const EFFORT_PER_TICK: u64 = 100_000;
/// Entries of former steps that one tick removes.
const REMOVED_PER_TICK: usize = 1_000;

/// What is asked of workflows.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start one.
    Start(Box<NewRun>, Reply<StartedRun>),
    /// Do something to one; false when no unfinished one has this id.
    Control(TaskId, Control, Reply<bool>),
    /// Show an unfinished one, with the reason of its cancel.
    View(TaskId, Reply<Option<(RunView, String)>>),
}

/// What became of a submit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StartedRun {
    /// The workflow.
    pub(crate) id: TaskId,
    /// It was submitted earlier, under the same key.
    pub(crate) deduplicated: bool,
}

/// What is done to a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    /// End it, for this reason.
    Cancel(String),
    /// Start nothing further.
    Pause,
    /// Go on.
    Resume,
}

/// What of a run is at hand, also when it has just become final.
#[derive(Debug)]
struct Facts {
    partition: u16,
    extra: Arc<Extra>,
    trace: Arc<str>,
    definition: Arc<RawDefinition>,
    cancel_reason: String,
}

impl Facts {
    fn of(record: &RunRecord, cancel_reason: String) -> Self {
        Self {
            partition: record.partition,
            extra: Arc::new(Extra::of(&record.extra)),
            trace: record.trace.as_str().into(),
            definition: Arc::clone(&record.definition),
            cancel_reason,
        }
    }

    fn step_name(&self, step: u32) -> &str {
        let regular = self.definition.steps.get(step as usize);
        regular.or(self.definition.on_failure.as_ref()).map_or("", |step| step.name.as_str())
    }
}

/// The runs of the partitions that are open here.
#[derive(Debug)]
pub(super) struct Workflows {
    runs: Runs,
    facts: HashMap<RunId, Facts>,
    keys: Keys,
    /// Of what schedules start.
    plans: Plans,
    /// What was read of partitions that are being loaded.
    loading: HashMap<u16, Loading>,
    /// Entries of steps whose run is final.
    former: VecDeque<(u16, RunId, u32, Option<u32>)>,
    /// Runs to show anew after the commit.
    touched: BTreeSet<RunId>,
    /// Runs that are final with the commit.
    ended: Vec<TaskId>,
    showing: Arc<Showing>,
    retention_ms: u64,
    /// What the rules ordered and was not carried out yet.
    effects: Vec<Effect>,
    /// Since the last commit.
    pub(super) counts: Conducted,
}

impl Workflows {
    /// None yet; what is committed is shown in `showing`.
    pub(super) fn new(settings: &Settings, showing: Arc<Showing>) -> Self {
        let limits = Limits {
            runs_max: settings.workflows_max,
            starts_per_tick: STARTS_PER_TICK,
            starts_per_turn: STARTS_PER_TURN,
            effort_per_tick: EFFORT_PER_TICK,
            ..Limits::default()
        };
        Self {
            runs: Runs::new(limits),
            facts: HashMap::new(),
            keys: Keys::new(settings),
            plans: Plans::default(),
            loading: HashMap::new(),
            former: VecDeque::new(),
            touched: BTreeSet::new(),
            ended: Vec::new(),
            showing,
            retention_ms: millis(settings.retention),
            effects: Vec::new(),
            counts: Conducted::default(),
        }
    }

    /// Takes what an entry of a partition says that is being loaded.
    pub(super) fn restore(&mut self, partition: u16, found: Found) {
        if matches!(found, Found::Step(_)) && is_planted(Fault::StepsNotRestored) {
            return;
        }
        self.loading.entry(partition).or_default().take(found);
    }

    /// Takes up the runs of a partition and their steps. They go on with the next tick.
    pub(super) fn open(&mut self, partition: u16, stage: &Stage<'_>) {
        let loaded = self.loading.remove(&partition).unwrap_or_default().finish(partition);
        for key in loaded.keys {
            self.keys.restore(key, partition, stage.now());
        }
        self.former.extend(loaded.orphans.into_iter().map(|(run, step, item)| (partition, run, step, item)));
        for LoadedRun { record, definition, cancel_reason, steps } in loaded.runs {
            let (run, facts) = (record.id, Facts::of(&record, cancel_reason));
            if let Some(definition) = &definition {
                self.runs.adopt(definition);
            }
            match self.runs.restore(stage.now(), record, steps) {
                Ok(()) => {
                    self.facts.insert(run, facts);
                    self.show(run);
                }
                // It stays on record as it is.
                Err(error) => tracing::error!(workflow_id = %run, %error, "a workflow cannot go on"),
            }
        }
    }

    /// Forgets the runs of a partition.
    pub(super) fn close(&mut self, partition: u16) {
        self.loading.remove(&partition);
        self.runs.close(partition);
        self.former.retain(|(of, ..)| *of != partition);
        self.keys.close(partition);
        let (touched, showing) = (&mut self.touched, &self.showing);
        self.facts.retain(|run, facts| {
            let stays = facts.partition != partition;
            if !stays {
                touched.remove(run);
                showing.remove(workflow_id(*run));
            }
            stays
        });
    }

    /// Does what somebody asks for.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn command(
        &mut self,
        partition: u16,
        command: Command,
        stage: &mut Stage<'_>,
    ) -> Result<(), store::Error> {
        match command {
            Command::Start(new, reply) => {
                let id = stage.new_id(new.home());
                let started = self.submit(partition, id, *new, stage)?;
                stage.answer(Later::new(reply, started));
            }
            Command::Control(id, control, reply) => {
                let done = self.control(id, control, stage)?;
                stage.answer(Later::new(reply, done));
            }
            Command::View(id, reply) => stage.answer(Later::new(reply, Ok(self.view(id)))),
        }
        Ok(())
    }

    /// Starts a run for a fire time, in the schedule's partition. Its end is told with [`Stage::tell`].
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn start(
        &mut self,
        partition: u16,
        id: TaskId,
        spec: &Arc<WorkflowSpec>,
        item: &Item,
        stage: &mut Stage<'_>,
    ) -> Result<Result<(), NotStarted>, store::Error> {
        let Item::Fire { schedule, fire_ms } = item else {
            return Ok(Err(NotStarted::Invalid(WireError::new(Code::Unimplemented, "a step starts no workflow"))));
        };
        let fire = Fire {
            namespace: schedule.namespace().to_owned(),
            schedule: schedule.name().to_owned(),
            fire_ms: *fire_ms,
        };
        let plan = match self.plans.of(schedule, spec) {
            Ok(plan) => plan,
            Err(error) => return Ok(Err(NotStarted::Invalid(error))),
        };
        let new = validate::scheduled_workflow(plan, fire);
        Ok(self.submit(partition, id, new, stage)?.map(drop).map_err(|error| match error {
            Error::Overloaded { what } => NotStarted::Busy(what),
            other => NotStarted::Invalid(other.into()),
        }))
    }

    /// How many are not final.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// True for a run that is not over.
    pub(super) fn has(&self, id: TaskId) -> bool {
        self.runs.record(run_id(id)).is_some()
    }

    /// Cancels a run.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn cancel(&mut self, id: TaskId, stage: &mut Stage<'_>) -> Result<(), store::Error> {
        self.control(id, Control::Cancel(String::new()), stage).map(drop)
    }

    /// Hears that a task of a step ended. Repeats change nothing.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn ended(&mut self, ended: &Ended, stage: &mut Stage<'_>) -> Result<(), store::Error> {
        let Item::Step(step) = &ended.item else { return Ok(()) };
        let run = RunId(u128::from_be_bytes(step.workflow));
        let item = mcp_flow::ItemRef { run, step: step.step, item: step.item };
        let end = acts::item_end(&ended.end);
        self.runs.ended(stage.now(), item, flow_task_id(ended.task), end, &mut self.effects);
        self.carry_out(stage)
    }

    /// Starts and stops what is due, and removes what is not needed any more: a bounded part of it.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn tick(&mut self, stage: &mut Stage<'_>) -> Result<(), store::Error> {
        if self.runs.next_timer().is_some_and(|at| at <= stage.now()) {
            self.runs.tick(stage.now(), &mut self.effects);
            self.carry_out(stage)?;
        }
        let count = self.former.len().min(REMOVED_PER_TICK);
        for (partition, run, step, item) in self.former.drain(..count) {
            acts::write(stage, partition, records::delete_step(run, step, item));
        }
        Ok(())
    }

    /// When [`tick`](Self::tick) has something to do.
    pub(super) fn next_timer(&self) -> Option<u64> {
        if self.former.is_empty() { self.runs.next_timer() } else { Some(0) }
    }

    /// What was done is durable, so it is shown from now on. The runs that are final with it come back.
    pub(super) fn committed(&mut self) -> Vec<TaskId> {
        for run in std::mem::take(&mut self.touched) {
            self.show(run);
        }
        std::mem::take(&mut self.ended)
    }

    fn show(&self, run: RunId) {
        match (self.runs.record(run), self.facts.get(&run)) {
            (Some(record), Some(facts)) => {
                let steps_ended = self.runs.steps_ended(run).unwrap_or_default();
                self.showing.put(Brief::of(record, steps_ended, &facts.cancel_reason));
            }
            _ => self.showing.remove(workflow_id(run)),
        }
    }

    /// Starts a run under the id `id`, or finds the one submitted earlier under its key.
    fn submit(
        &mut self,
        partition: u16,
        id: TaskId,
        new: NewRun,
        stage: &mut Stage<'_>,
    ) -> Result<Result<StartedRun, Error>, store::Error> {
        let NewRun { plan, fixed, trace, body_hash, earlier } = new;
        let now = stage.now();
        match self.keys.find(&plan.extra, now) {
            Some(Known { run, body_hash: known, .. }) if body_hash != 0 => {
                let id = workflow_id(run);
                let is_same = known == body_hash;
                return Ok(if is_same { Ok(StartedRun { id, deduplicated: true }) } else { Err(key_conflict(id)) });
            }
            _ => {}
        }
        let (run, extra) = (run_id(id), plan.extra.to_json());
        let started = match earlier {
            None => {
                let (definition, input) = (plan.definition, plan.input);
                let submission = Submission { id: run, partition, definition, input, extra, trace };
                self.runs.submit(now, submission, &mut self.effects).map_err(|refused| start_refusal(&refused))
            }
            Some(earlier) => {
                let newer = Some((plan.definition, plan.input));
                let rerun = Rerun { id: run, from_step: earlier.from_step, newer, extra: Some(extra), trace };
                self.runs.rerun(now, &earlier.view, rerun, &mut self.effects).map_err(rerun_refusal)
            }
        };
        if let Err(error) = started {
            return Ok(Err(error));
        }
        if let Some(record) = self.runs.record(run) {
            self.facts.insert(run, Facts::of(record, String::new()));
        }
        acts::write(stage, partition, records::put_fixed(run, fixed));
        if let Some(key) = self.keys.add(&plan.extra, body_hash, run, partition, now)
            && !is_planted(Fault::KeyNotKept)
        {
            acts::write(stage, partition, key.write());
        }
        self.counts.submitted += 1;
        self.carry_out(stage)?;
        Ok(Ok(StartedRun { id, deduplicated: false }))
    }

    fn control(
        &mut self,
        id: TaskId,
        control: Control,
        stage: &mut Stage<'_>,
    ) -> Result<Result<bool, Error>, store::Error> {
        let (run, now) = (run_id(id), stage.now());
        let done = match control {
            Control::Cancel(reason) => {
                if let Some(facts) = self.facts.get_mut(&run)
                    && facts.cancel_reason.is_empty()
                {
                    facts.cancel_reason = reason;
                }
                self.runs.cancel(now, run, &mut self.effects)
            }
            Control::Pause => self.runs.pause(now, run, &mut self.effects),
            Control::Resume => self.runs.resume(now, run, &mut self.effects),
        };
        self.carry_out(stage)?;
        Ok(match done {
            Ok(()) => Ok(true),
            Err(Refused::Unknown) => Ok(false),
            Err(refused) => {
                let text = format!("workflow `{id}`: {refused}");
                let error = WireError::new(Code::FailedPrecondition, text);
                Err(Error::Refused(error.with_metadata("workflow_id", id.to_string())))
            }
        })
    }

    fn view(&self, id: TaskId) -> Option<(RunView, String)> {
        let view = self.runs.view(run_id(id))?;
        let reason = self.facts.get(&view.run.id).map(|facts| facts.cancel_reason.clone());
        Some((view, reason.unwrap_or_default()))
    }
}

/// What a run was started for, when a schedule started it.
fn fire_of(extra: &Extra) -> Option<Item> {
    let Fire { namespace, schedule, fire_ms } = extra.fire.as_ref()?;
    let schedule = ScheduleId::new(namespace, schedule)?;
    Some(Item::Fire { schedule, fire_ms: *fire_ms })
}
