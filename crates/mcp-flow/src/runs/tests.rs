//! What runs do, case by case; the simulation does the rest.

mod bounds;
mod control;
mod failures;
mod graphs;
mod order;
mod reruns;
mod restarts;

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Value, json};

use super::*;
use crate::{FailureMode, RawStep};

/// A shell that keeps records and remembers what it was told to do.
struct Desk {
    now: Millis,
    runs: Runs,
    records: BTreeMap<RunId, RunRecord>,
    steps: BTreeMap<[u8; STEP_KEY_BYTES], StepRecord>,
    /// Items that are to be submitted and were not answered, with their tasks.
    offers: VecDeque<(ItemRef, Value)>,
    /// Tasks by item.
    tasks: BTreeMap<ItemRef, TaskId>,
    cancelled: Vec<ItemRef>,
    finished: BTreeMap<RunId, RunView>,
}

const RUN: RunId = RunId(1);

fn item(step: u32, item: u32) -> ItemRef {
    ItemRef { run: RUN, step, item }
}

fn step(name: &str, depends_on: &[&str]) -> RawStep {
    RawStep {
        name: name.to_owned(),
        task: json!({"handler": {"handler": name}}).into(),
        depends_on: depends_on.iter().map(|name| (*name).to_owned()).collect(),
        ..RawStep::default()
    }
}

fn with_input(input: &str, step: RawStep) -> RawStep {
    RawStep { task: json!({"handler": {"handler": step.name, "input": input}}).into(), ..step }
}

fn each(list: &str, step: RawStep) -> RawStep {
    with_input("${item}", RawStep { for_each: list.to_owned(), ..step })
}

fn when(condition: &str, step: RawStep) -> RawStep {
    RawStep { condition: condition.to_owned(), ..step }
}

fn optional(step: RawStep) -> RawStep {
    RawStep { failure_mode: FailureMode::Continue, ..step }
}

fn of(steps: Vec<RawStep>) -> RawDefinition {
    RawDefinition { name: "test".to_owned(), steps, ..RawDefinition::default() }
}

fn broken() -> Json {
    json!({"code": 3005, "name": "HANDLER_FAILED", "message": "it broke"}).into()
}

impl Desk {
    fn new(limits: Limits) -> Self {
        Self {
            now: 1_000,
            runs: Runs::new(limits),
            records: BTreeMap::new(),
            steps: BTreeMap::new(),
            offers: VecDeque::new(),
            tasks: BTreeMap::new(),
            cancelled: Vec::new(),
            finished: BTreeMap::new(),
        }
    }

    /// A desk with one run of `raw`, started.
    fn running(raw: RawDefinition, input: Value) -> Self {
        let mut desk = Self::new(Limits::default());
        desk.submit(raw, input);
        desk.tick();
        desk
    }

    fn submit(&mut self, raw: RawDefinition, input: Value) {
        let definition = self.runs.definition(&Arc::new(raw)).unwrap();
        let (extra, trace) = (Json::default(), "trace".to_owned());
        let submission = Submission { id: RUN, partition: 3, definition, input: input.into(), extra, trace };
        let now = self.now;
        self.call(|runs, out| runs.submit(now, submission, out)).unwrap();
    }

    fn call<T>(&mut self, act: impl FnOnce(&mut Runs, &mut Vec<Effect>) -> T) -> T {
        let mut out = Vec::new();
        let done = act(&mut self.runs, &mut out);
        for effect in out {
            match effect {
                Effect::SaveRun(record) => _ = self.records.insert(record.id, *record),
                Effect::SaveStep(record) => _ = self.steps.insert(record.key(), *record),
                Effect::Submit { item, task } => self.offers.push_back((item, task.into_value())),
                Effect::CancelTask { item, .. } => self.cancelled.push(item),
                Effect::Finished { view, records } => {
                    let id = view.run.id;
                    self.records.remove(&id);
                    for (step, item) in records {
                        self.steps.remove(&StepRecord::key_of(id, step, item)).expect("it was saved");
                    }
                    assert!(self.steps.values().all(|record| record.run != id), "all records of the run are named");
                    self.finished.insert(id, *view);
                }
            }
        }
        done
    }

    /// Ticks until there is nothing to do at once, and accepts every task.
    fn tick(&mut self) {
        while self.runs.next_timer() == Some(0) {
            let now = self.now;
            self.call(|runs, out| runs.tick(now, out));
            while let Some((item, _)) = self.offers.pop_front() {
                self.accept(item);
            }
        }
    }

    /// Ticks once and leaves the offers unanswered.
    fn tick_only(&mut self) {
        let now = self.now;
        self.call(|runs, out| runs.tick(now, out));
    }

    fn accept(&mut self, item: ItemRef) {
        let (now, task) = (self.now, TaskId(1000 + self.tasks.len() as u128));
        assert!(self.tasks.insert(item, task).is_none(), "{item:?} was started twice");
        self.call(|runs, out| runs.submitted(now, item, task, out));
    }

    fn end(&mut self, item: ItemRef, end: ItemEnd) -> bool {
        let (now, task) = (self.now, self.tasks[&item]);
        let counted = self.call(|runs, out| runs.ended(now, item, task, end, out));
        self.tick();
        counted
    }

    fn succeed(&mut self, step: u32, output: Value) {
        assert!(self.end(item(step, 0), ItemEnd::Succeeded { output: Some(output.into()) }));
    }

    fn fail(&mut self, step: u32) {
        assert!(self.end(item(step, 0), ItemEnd::Failed { error: broken() }));
    }

    /// Everything in memory is lost; the records are read again.
    fn restart(&mut self) {
        self.runs = Runs::new(Limits::default());
        self.offers.clear();
        for record in self.records.values() {
            let bytes = serde_json::to_vec(record).unwrap();
            let steps = self
                .steps
                .values()
                .map(|step| serde_json::from_slice::<StepRecord>(&serde_json::to_vec(step).unwrap()).unwrap());
            self.runs.restore(self.now, serde_json::from_slice(&bytes).unwrap(), steps).unwrap();
        }
        self.tick();
    }

    /// The tasks that were started, as `step/item`.
    fn started(&self) -> Vec<String> {
        self.tasks.keys().map(|item| format!("{}/{}", item.step, item.item)).collect()
    }

    fn view(&self) -> RunView {
        self.runs.view(RUN).unwrap_or_else(|| self.finished[&RUN].clone())
    }

    fn states(&self) -> Vec<StepState> {
        self.view().steps.iter().map(|step| step.state).collect()
    }

    fn state(&self) -> RunState {
        self.view().run.state
    }

    fn output(&self) -> Value {
        self.view().run.output.expect("it has an output").into_value()
    }

    fn error(&self) -> Value {
        self.view().run.error.expect("it has an error").into_value()
    }
}
