//! The world around the rules: a shell that commits in batches, a store, tasks, callers, and what goes wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
};

use dice::Dice;
use serde_json::json;

use super::{Verdict, checker::Checker, plan};
use crate::{
    Definition, Effect, ItemEnd, ItemRef, Json, Limits, Millis, Refusal, Rerun, RunId, RunRecord, RunState, Runs,
    STEP_KEY_BYTES, StepRecord, Submission, TaskId,
};

/// Rounds in which things go wrong.
const FAULTY_ROUNDS: u64 = 120;
/// Rounds within which all must have ended after that.
const CALM_ROUNDS: u64 = 400;
/// Runs that are submitted.
const RUNS: u64 = 4;

/// A task that was accepted.
#[derive(Debug, Clone)]
struct Task {
    item: ItemRef,
    is_cancelled: bool,
    end: Option<ItemEnd>,
}

/// What survives a crash.
#[derive(Debug, Clone, Default)]
struct Durable {
    runs: BTreeMap<RunId, RunRecord>,
    steps: BTreeMap<[u8; STEP_KEY_BYTES], StepRecord>,
    tasks: BTreeMap<TaskId, Task>,
    /// Ends that are to be told until that is committed.
    notices: BTreeSet<TaskId>,
    checker: Checker,
}

pub(super) struct World {
    dice: Dice,
    now: Millis,
    round: u64,
    runs: Runs,
    durable: Durable,
    next_id: u128,
    trace: Option<String>,
    /// Kinds of things that happened.
    pub(super) seen: BTreeSet<&'static str>,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> Self {
        let mut dice = Dice::new(seed);
        let limits = limits(&mut dice);
        Self {
            dice,
            now: 1_000,
            round: 0,
            runs: Runs::new(limits),
            durable: Durable::default(),
            next_id: 1,
            trace: trace.then(String::new),
            seen: BTreeSet::new(),
        }
    }

    /// Runs it to the end.
    pub(super) fn run(&mut self) -> Verdict {
        for _ in 0..RUNS {
            self.round(&mut |world, out| {
                world.submit(out);
                Ok(())
            })?;
        }
        while self.round < FAULTY_ROUNDS + CALM_ROUNDS {
            self.round(&mut |world, out| {
                world.callers(out);
                world.tell_ends(out)
            })?;
            self.run_tasks();
            if self.round > FAULTY_ROUNDS
                && self.durable.checker.unfinished().is_empty()
                && self.durable.notices.is_empty()
            {
                return self.at_rest();
            }
        }
        Err(format!("not final in the end: {:?}", self.durable.checker.unfinished()))
    }

    pub(super) fn take_trace(&mut self) -> String {
        self.trace.take().unwrap_or_default()
    }

    fn is_faulty(&self) -> bool {
        self.round < FAULTY_ROUNDS
    }

    /// One batch: news, a tick, answers to what is to be submitted, a commit; or a crash instead.
    fn round(&mut self, news: &mut dyn FnMut(&mut Self, &mut Vec<Effect>) -> Verdict) -> Verdict {
        self.round += 1;
        self.now += self.dice.range(1, 20);
        let before = self.durable.clone();
        let mut out = Vec::new();
        news(self, &mut out)?;
        self.apply(out)?;
        let mut out = Vec::new();
        self.runs.tick(self.now, &mut out);
        let cancels = self.apply(out)?;
        if self.is_faulty() && self.dice.percent(8) {
            if self.dice.percent(50) {
                self.note("crash before the commit", &());
                self.durable = before;
            } else {
                self.note("crash after the commit", &());
            }
            return self.restart();
        }
        for task in cancels {
            if let Some(task) = self.durable.tasks.get_mut(&task) {
                task.is_cancelled = true;
            }
        }
        Ok(())
    }

    /// Puts the effects of a call into the commit; gives the tasks to cancel after it.
    fn apply(&mut self, effects: Vec<Effect>) -> Verdict<Vec<TaskId>> {
        let (mut cancels, mut offered) = (Vec::new(), Vec::new());
        for effect in effects {
            self.note("effect", &effect);
            match effect {
                Effect::SaveRun(record) => {
                    self.durable.checker.run_saved(&record)?;
                    self.durable.runs.insert(record.id, reread(&*record)?);
                }
                Effect::SaveStep(record) => {
                    self.durable.checker.step_saved(&record)?;
                    self.durable.steps.insert(record.key(), reread(&*record)?);
                }
                Effect::Submit { item, .. } => {
                    self.durable.checker.offered(item)?;
                    offered.push(item);
                }
                Effect::CancelTask { task, .. } => cancels.push(task),
                Effect::Finished { view, records } => {
                    let id = view.run.id;
                    let stored = self.durable.steps.values().filter(|record| record.run == id).count();
                    self.durable.checker.run_finished(&view, &records, stored)?;
                    self.durable.runs.remove(&id);
                    for (step, item) in records {
                        self.durable.steps.remove(&StepRecord::key_of(id, step, item));
                    }
                    if self.durable.steps.values().any(|record| record.run == id) {
                        return Err("a record of a final run is left".to_owned());
                    }
                    self.seen.insert(match view.run.state {
                        RunState::Succeeded => "succeeded",
                        RunState::Failed => "failed",
                        _ => "cancelled",
                    });
                }
            }
        }
        for item in offered {
            cancels.extend(self.answer(item)?);
        }
        Ok(cancels)
    }

    fn answer(&mut self, item: ItemRef) -> Verdict<Vec<TaskId>> {
        let mut out = Vec::new();
        match self.dice.range(0, 99) {
            0..=9 if self.is_faulty() => {
                self.seen.insert("refused");
                let until = self.now + self.dice.range(0, 60);
                self.runs.refused(self.now, item, Refusal::Until(until), &mut out);
            }
            10..=11 => self.runs.refused(self.now, item, Refusal::Invalid { error: error("invalid") }, &mut out),
            _ => {
                let id = TaskId(self.id());
                let task = Task { item, is_cancelled: false, end: None };
                self.durable.tasks.insert(id, task);
                self.durable.checker.submitted(item, id)?;
                self.runs.submitted(self.now, item, id, &mut out);
            }
        }
        self.apply(out)
    }

    /// Everything that was in memory is gone.
    fn restart(&mut self) -> Verdict {
        self.seen.insert("restarted");
        let limits = limits(&mut self.dice);
        self.runs = Runs::new(limits);
        for record in self.durable.runs.values() {
            let steps = self.durable.steps.values().filter(|step| step.run == record.id).cloned();
            self.runs.restore(self.now, record.clone(), steps).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    fn submit(&mut self, out: &mut Vec<Effect>) {
        let (raw, input) = plan::invent(&mut self.dice);
        let definition = Arc::new(Definition::check(raw).expect("what is invented is right"));
        let id = RunId(self.id());
        let (extra, trace) = (Json::default(), String::new());
        let submission = Submission { id, partition: 0, definition, input, extra, trace };
        self.runs.submit(self.now, submission, out).expect("there is room");
    }

    fn callers(&mut self, out: &mut Vec<Effect>) {
        let unfinished = self.durable.checker.unfinished();
        if !self.is_faulty() {
            for run in unfinished {
                _ = self.runs.resume(self.now, run, out);
            }
            return;
        }
        if unfinished.is_empty() || self.dice.percent(70) {
            return self.maybe_rerun(out);
        }
        let run = self.dice.pick(&unfinished);
        match self.dice.range(0, 9) {
            0..=3 => {
                self.seen.insert("paused");
                _ = self.runs.pause(self.now, run, out);
            }
            4..=8 => _ = self.runs.resume(self.now, run, out),
            _ => {
                if self.runs.cancel(self.now, run, out).is_ok() {
                    self.durable.checker.cancelled(run);
                }
            }
        }
    }

    fn maybe_rerun(&mut self, out: &mut Vec<Effect>) {
        if !self.dice.percent(3) || self.durable.checker.finished().is_empty() {
            return;
        }
        let finished: Vec<_> = self.durable.checker.finished().keys().copied().collect();
        let earlier = self.durable.checker.finished()[&self.dice.pick(&finished)].clone();
        let names: Vec<_> = earlier.run.definition.steps.iter().map(|step| step.name.as_str()).collect();
        let from_step = self.dice.percent(50).then(|| self.dice.pick(&names).to_owned());
        let id = RunId(self.id());
        let rerun = Rerun { id, from_step, newer: None, extra: None, trace: String::new() };
        self.runs.rerun(self.now, &earlier, rerun, out).expect("it is final");
        self.seen.insert("rerun");
    }

    /// Tells ends in any order, again when they were told before, and some not at all this time.
    fn tell_ends(&mut self, out: &mut Vec<Effect>) -> Verdict {
        let mut told: Vec<TaskId> = self.durable.notices.iter().copied().collect();
        if self.is_faulty() {
            told.retain(|_| self.dice.percent(70));
            let ended: Vec<_> =
                self.durable.tasks.iter().filter(|(_, task)| task.end.is_some()).map(|(id, _)| *id).collect();
            if !ended.is_empty() && self.dice.percent(50) {
                told.push(self.dice.pick(&ended));
                self.seen.insert("told again");
            }
            for at in (1..told.len()).rev() {
                let other = usize::try_from(self.dice.range(0, at as u64)).unwrap();
                told.swap(at, other);
            }
        }
        for id in told {
            let task = self.durable.tasks[&id].clone();
            let Some(end) = task.end else { continue };
            // An end under an id that the item never had must not count.
            if self.is_faulty() && self.dice.percent(5) {
                let other = TaskId(u128::MAX - self.id());
                if self.runs.ended(self.now, task.item, other, ItemEnd::Cancelled, out) {
                    return Err(format!("the end of another task counted for {:?}", task.item));
                }
            }
            self.runs.ended(self.now, task.item, id, end, out);
            self.durable.notices.remove(&id);
        }
        Ok(())
    }

    /// Lets tasks end.
    fn run_tasks(&mut self) {
        let running: Vec<_> =
            self.durable.tasks.iter().filter(|(_, task)| task.end.is_none()).map(|(id, _)| *id).collect();
        for id in running {
            let chance = if self.is_faulty() { 25 } else { 60 };
            if !self.dice.percent(chance) {
                continue;
            }
            let list: Vec<u128> = (0..self.dice.range(0, 3)).map(u128::from).collect();
            let number = u64::try_from(id.0).unwrap();
            let end = match self.dice.range(0, 99) {
                0..=7 => ItemEnd::Failed { error: error("it broke") },
                8..=29 => ItemEnd::Succeeded { output: None },
                30..=50 => ItemEnd::Succeeded { output: Some(json!(list.len()).into()) },
                51..=70 => ItemEnd::Succeeded { output: Some(json!(vec![number; list.len()]).into()) },
                _ => ItemEnd::Succeeded { output: Some(json!({"by": number}).into()) },
            };
            let Some(task) = self.durable.tasks.get_mut(&id) else { continue };
            let is_cancelled = task.is_cancelled && self.dice.percent(80) || self.dice.permille(5);
            let end = if is_cancelled { ItemEnd::Cancelled } else { end };
            task.end = Some(end.clone());
            let item = task.item;
            self.durable.checker.task_ended(item, &end);
            self.durable.notices.insert(id);
            self.note("task ended", &(item, end));
        }
    }

    fn at_rest(&self) -> Verdict {
        if self.durable.runs.is_empty() && self.durable.steps.is_empty() && self.runs.is_empty() {
            return Ok(());
        }
        Err("something is left in the end".to_owned())
    }

    fn id(&mut self) -> u128 {
        self.next_id += 1;
        self.next_id
    }

    fn note(&mut self, what: &str, detail: &dyn Debug) {
        if let Some(trace) = &mut self.trace {
            trace.push_str(&format!("{} {what}: {detail:?}\n", self.now));
        }
    }
}

fn limits(dice: &mut Dice) -> Limits {
    let starts_per_tick = u32::try_from(dice.range(1, 12)).unwrap();
    let starts_per_turn = u32::try_from(dice.range(1, 6)).unwrap();
    Limits { starts_per_tick, starts_per_turn, ..Limits::default() }
}

fn error(message: &str) -> Json {
    json!({"code": 3005, "name": "HANDLER_FAILED", "message": message}).into()
}

/// A record as it comes back from a store.
fn reread<T: serde::Serialize + serde::de::DeserializeOwned>(record: &T) -> Verdict<T> {
    let bytes = serde_json::to_vec(record).map_err(|error| error.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}
