//! Workflows: what their records say, and what their tasks did.

use std::collections::{BTreeMap, BTreeSet};

use mcp_flow::{FailureMode, Json, Progress, RawDefinition, RunId, RunRecord, RunState, RunView, StepState};
use mcp_proto::{TaskId, scheduler::v1::TaskState};
use serde_json::Value;

use super::{Commit, Started, end_of};
use crate::{
    conductor::Item,
    store::{Entry, StepOf, Table, Write},
    workflow::{
        Extra, flow_task_id,
        json::output,
        records::{self, Fixed, Found, Reader},
        workflow_id,
    },
};

/// A workflow as its records tell it.
#[derive(Debug)]
struct Run {
    record: RunRecord,
    steps: BTreeMap<u32, Progress>,
    tasks: BTreeMap<(u32, u32), TaskId>,
}

/// All workflows.
#[derive(Debug, Default)]
pub(super) struct Runs {
    fixed: BTreeMap<RunId, Fixed>,
    unfinished: BTreeMap<RunId, Run>,
    /// Where they stood before the commit that is checked, and within it.
    states: BTreeMap<RunId, Vec<RunState>>,
    finished: BTreeSet<RunId>,
    /// Finished within the commit that is checked.
    finishing: Vec<(u16, RunId)>,
    cancelled: BTreeSet<RunId>,
    /// Whoever was told of it counts on its end.
    owed: BTreeSet<RunId>,
    /// Which workflow a key stands for, and for which body, when somebody was told.
    keys: BTreeMap<String, (RunId, Option<String>)>,
}

impl Runs {
    /// Takes what was written. Comes back with the workflows that schedules started.
    pub(super) fn apply(&mut self, commit: &Commit<'_>, reader: &mut Reader) -> Vec<(TaskId, Item)> {
        self.states = self.unfinished.iter().map(|(id, run)| (*id, vec![run.record.state])).collect();
        let mut of_schedules = Vec::new();
        for (partition, write) in commit.writes {
            match write {
                Write::Put(entry @ Entry { table: Table::Workflow | Table::Step, .. }) => {
                    of_schedules.extend(self.take(*partition, reader.read(entry).unwrap()));
                }
                Write::Put(Entry { table: Table::WorkflowDone, key, value, .. })
                    if key.starts_with(records::BRIEFS) =>
                {
                    let id = crate::workflow::run_id(records::brief(key, value).unwrap().id());
                    assert!(self.finished.insert(id), "{id} ended twice");
                    self.finishing.push((*partition, id));
                }
                _ => {}
            }
        }
        of_schedules
    }

    fn take(&mut self, partition: u16, found: Found) -> Option<(TaskId, Item)> {
        match found {
            Found::Fixed(id, fixed, _) => {
                let fire = Extra::of(&fixed.extra).fire;
                assert!(self.fixed.insert(id, fixed).is_none(), "{id} was submitted twice");
                let fire = fire?;
                let schedule = mcp_cron::ScheduleId::new(&fire.namespace, &fire.schedule).unwrap();
                return Some((workflow_id(id), Item::Fire { schedule, fire_ms: fire.fire_ms }));
            }
            Found::Moving(id, moving) => {
                assert!(!self.finished.contains(&id), "{id} goes on after its end");
                let record = moving.record(id, partition, self.fixed[&id].clone());
                self.states.entry(id).or_default().push(record.state);
                let (steps, tasks) = Default::default();
                match self.unfinished.get_mut(&id) {
                    Some(run) => run.change(record),
                    None => drop(self.unfinished.insert(id, Run { record, steps, tasks })),
                }
            }
            Found::Step(step) => {
                let run = self.unfinished.get_mut(&step.run);
                let run = run.unwrap_or_else(|| panic!("a step of {}, which is not there", step.run));
                if step.item.is_none() {
                    let before = run.steps.insert(step.step, step.progress);
                    let had_ended = before.is_some_and(|before| before.state.is_ended());
                    assert!(!had_ended, "step {} of {} ended twice", step.step, step.run);
                }
            }
            Found::Key(key) => {
                let (run, _) = self.keys.entry(key.key.clone()).or_insert((key.run, None));
                assert_eq!(*run, key.run, "the key `{}` starts a second workflow", key.key);
            }
        }
        None
    }

    /// The workflows that are final with this commit.
    pub(super) fn finishing(&self) -> Vec<TaskId> {
        self.finishing.iter().map(|(_, id)| workflow_id(*id)).collect()
    }

    /// A task of a step starts.
    pub(super) fn check_start(&mut self, task: TaskId, step: &StepOf, commit: &Commit<'_>, started: &Started) {
        let id = RunId(u128::from_be_bytes(step.workflow));
        let run = self.unfinished.get_mut(&id).unwrap_or_else(|| panic!("{task} is for {id}, which is not there"));
        let count = run.record.definition.steps.len();
        let number = step.step as usize;
        let states = &self.states[&id];
        if number == count {
            assert!(states.contains(&RunState::Ending), "the step for failures of {id} starts: {states:?}");
            (0..count).for_each(|other| run.must_be_over(other, true, commit, started));
        } else {
            assert!(states.contains(&RunState::Running), "step {number} of {id} starts: {states:?}");
            for name in &run.record.definition.steps[number].depends_on {
                let other = run.record.definition.steps.iter().position(|step| step.name == *name).unwrap();
                run.must_be_over(other, false, commit, started);
            }
        }
        assert!(run.tasks.insert((step.step, step.item), task).is_none(), "{step:?} got a second task");
        let definition = &run.record.definition;
        let raw = definition.steps.get(number).or(definition.on_failure.as_ref()).unwrap();
        let of_step = run.tasks.range((step.step, 0)..=(step.step, u32::MAX));
        let running = of_step.filter(|(_, task)| !started.is_over(**task, commit.tasks)).count();
        let most = raw.parallel_max as usize;
        assert!(most == 0 || running <= most, "{running} items of {} run, at most {most} may", raw.name);
    }

    /// Checks those that became final with this commit.
    pub(super) fn check_final(&mut self, commit: &Commit<'_>, started: &Started) {
        for (partition, id) in std::mem::take(&mut self.finishing) {
            let run = self.unfinished.remove(&id).unwrap_or_else(|| panic!("{id} ended, and never began"));
            let [end, fixed] = records::done_keys(workflow_id(id));
            let entry = |key| &commit.entries[&(partition, Table::WorkflowDone, key)];
            let (view, _) = records::final_run(workflow_id(id), partition, entry(end), entry(fixed)).unwrap();
            run.check_end(&view, self.cancelled.contains(&id), commit, started);
        }
    }

    pub(super) fn may_be_cancelled(&mut self, run: TaskId) {
        self.cancelled.insert(RunId(run.as_u128()));
    }

    pub(super) fn acknowledged(&mut self, run: TaskId, key: &str, body: &str) {
        let id = RunId(run.as_u128());
        assert!(self.fixed.contains_key(&id), "{id} was acknowledged, and is not on record");
        self.owed.insert(id);
        if !key.is_empty() {
            let (run, known) = self.keys.entry(key.to_owned()).or_insert((id, None));
            let known = known.get_or_insert_with(|| body.to_owned());
            assert_eq!((*run, known.as_str()), (id, body), "the key `{key}` gave two workflows");
        }
    }

    pub(super) fn refused_key(&self, key: &str, body: &str) {
        let known = self.keys.get(key).and_then(|(_, known)| known.as_deref());
        assert!(known != Some(body), "the key `{key}` was refused for its own body");
    }

    pub(super) fn ids(&self) -> (Vec<TaskId>, Vec<TaskId>) {
        let finished = self.finished.iter().map(|id| workflow_id(*id)).collect();
        (self.unfinished.keys().map(|id| workflow_id(*id)).collect(), finished)
    }

    pub(super) fn at_rest(&self) {
        assert!(self.unfinished.is_empty(), "{:?} never end", self.unfinished.keys());
        for id in &self.owed {
            assert!(self.finished.contains(id), "{id} was acknowledged, and is gone");
        }
    }
}

impl Run {
    fn change(&mut self, record: RunRecord) {
        let (from, to) = (self.record.state, record.state);
        let is_legal = matches!(
            (from, to),
            (RunState::Running, RunState::Paused | RunState::Ending)
                | (RunState::Paused, RunState::Running | RunState::Ending)
                | (RunState::Ending, RunState::Ending)
        );
        assert!(is_legal, "{}: {from:?} became {to:?}", record.id);
        self.record = record;
    }

    /// What another step waits for must have ended: by its record, and with all of its tasks.
    fn must_be_over(&self, step: usize, may_be_unstarted: bool, commit: &Commit<'_>, started: &Started) {
        let number = u32::try_from(step).unwrap();
        let is_over = self.steps.get(&number).map_or(may_be_unstarted, |progress| progress.state.is_ended());
        assert!(is_over, "step {step} of {} has not ended, but one that waits for it starts", self.record.id);
        for task in self.tasks_of(number) {
            assert!(
                started.is_over(task, commit.tasks),
                "{task} of step {step} runs, but one that waits for it starts"
            );
        }
    }

    fn tasks_of(&self, step: u32) -> impl Iterator<Item = TaskId> {
        self.tasks.range((step, 0)..=(step, u32::MAX)).map(|(_, task)| *task)
    }

    fn check_end(&self, view: &RunView, may_be_cancelled: bool, commit: &Commit<'_>, started: &Started) {
        let (id, definition) = (view.run.id, &self.record.definition);
        for task in self.tasks.values() {
            assert!(started.is_over(*task, commit.tasks), "{id} is final, but {task} of it is not");
        }
        for (number, progress) in (0..).zip(&view.steps) {
            assert!(progress.state.is_ended(), "{id} is final with step {number} {:?}", progress.state);
            self.check_step(number, progress, definition, commit);
        }
        let is_fatal = |(number, progress): (usize, &Progress)| {
            let step = definition.steps.get(number);
            progress.state == StepState::Failed && step.is_some_and(|step| step.failure_mode == FailureMode::Fail)
        };
        let has_failed = view.steps.iter().enumerate().any(is_fatal);
        match view.run.state {
            RunState::Succeeded => {
                let is_cancelled = view.steps.iter().any(|step| step.state == StepState::Cancelled);
                assert!(!has_failed && !is_cancelled, "{id} succeeded: {:?}", view.steps);
            }
            RunState::Cancelled => {
                let of_schedule = Extra::of(&view.run.extra).fire.is_some();
                assert!(may_be_cancelled || of_schedule, "{id} was cancelled by nobody");
            }
            RunState::Failed => assert!(view.run.error.is_some(), "{id} failed without an error"),
            state => panic!("{id}: {state:?} is not final"),
        }
    }

    /// A step's outcome and output must be what its tasks said.
    fn check_step(&self, number: u32, progress: &Progress, definition: &RawDefinition, commit: &Commit<'_>) {
        let id = self.record.id;
        let tasks: Vec<TaskId> = self.tasks_of(number).collect();
        for task in &tasks {
            assert!(progress.tasks.contains(&flow_task_id(*task)), "step {number} of {id} does not know {task}");
        }
        if progress.state != StepState::Succeeded {
            return;
        }
        let said = |task: &TaskId| {
            let end = end_of(*task, commit.tasks).filter(|end| end.state == TaskState::Succeeded);
            let end = end.unwrap_or_else(|| panic!("step {number} of {id} succeeded, but not {task}"));
            end.output.as_deref().and_then(output).map_or(Value::Null, Json::into_value)
        };
        let outputs: Vec<Value> = tasks.iter().map(said).collect();
        assert_eq!(outputs.len(), progress.item_count as usize, "tasks of step {number} of {id}");
        let raw = definition.steps.get(number as usize).or(definition.on_failure.as_ref()).unwrap();
        let expected = match raw.for_each.is_empty() {
            true => outputs.into_iter().next().filter(|output| !output.is_null()),
            false => Some(Value::Array(outputs)),
        };
        assert_eq!(progress.output.clone().map(Json::into_value), expected, "the output of step {number} of {id}");
    }
}
