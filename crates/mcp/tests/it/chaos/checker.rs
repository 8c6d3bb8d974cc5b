//! Reads the history and says what is wrong with it. It knows the promises, not the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mcp_proto::scheduler::v1::TaskState;

use super::{
    history::{End, Execution, History},
    limits,
};

/// Faults of one kind that are shown.
const SHOWN_MAX: usize = 10;

/// What came out.
pub(super) struct Report {
    /// Broken promises.
    pub(super) faults: Vec<String>,
    /// Numbers for people.
    pub(super) figures: String,
}

/// Checks it all.
pub(super) fn check(history: &History, ends: &BTreeMap<String, End>) -> Report {
    let (acknowledged, executions) = (history.acknowledged(), history.executions());
    let owed: BTreeSet<&str> = acknowledged.iter().map(|submit| submit.task.as_str()).collect();
    let mut faults = Vec::new();
    if acknowledged.is_empty() || executions.is_empty() {
        faults.push("nothing happened: the check would prove nothing".to_owned());
    }
    if owed.len() != acknowledged.len() {
        faults.push("an id was given to two submits".to_owned());
    }

    let lost = owed
        .iter()
        .filter(|task| !ends.contains_key(**task))
        .map(|task| format!("{task} was acknowledged and is gone"));
    add(&mut faults, lost);
    let ran: BTreeSet<&str> = executions
        .iter()
        .filter(|execution| execution.end.is_some())
        .map(|execution| execution.task.as_str())
        .collect();
    let idle = owed
        .iter()
        .filter(|task| ends.get(**task).is_some_and(|end| end.state == TaskState::Succeeded) && !ran.contains(*task));
    add(&mut faults, idle.map(|task| format!("{task} succeeded and never ran to its end")));
    let failed = ends.iter().filter(|(_, end)| !matches!(end.state, TaskState::Succeeded | TaskState::Failed));
    add(&mut faults, failed.map(|(task, end)| format!("{task} is {:?}, which nobody asked for", end.state)));
    add(&mut faults, final_twice(history, ends));
    add(&mut faults, tokens(&executions));
    add(&mut faults, limits::exceeded(&executions, &history.troubles()));

    let mut waits: Vec<Duration> = acknowledged.iter().map(|submit| submit.took).collect();
    waits.sort_unstable();
    let at = |part: usize| waits.get(waits.len() * part / 100).or(waits.last()).copied().unwrap_or_default();
    let failed = ends.values().filter(|end| end.state == TaskState::Failed).count();
    let figures = format!(
        "{} acknowledged, {} final, {failed} of them failed, {} executions; submit to acknowledgement p50 {:?}, p99 {:?}, longest {:?}",
        owed.len(),
        ends.len(),
        executions.len(),
        at(50),
        at(99),
        waits.last().copied().unwrap_or_default(),
    );
    Report { faults, figures }
}

fn add(faults: &mut Vec<String>, found: impl IntoIterator<Item = String>) {
    faults.extend(found.into_iter().take(SHOWN_MAX));
}

/// Watchers may be told twice, when they come back, but only of the end that is on record.
fn final_twice(history: &History, ends: &BTreeMap<String, End>) -> Vec<String> {
    let told = history.told();
    let differ = told.iter().filter_map(|(task, seen)| {
        let other = seen.iter().find(|told| ends.get(task).is_some_and(|end| end != *told))?;
        Some(format!("{task} was said to have ended as {other:?} and is on record as {:?}", ends[task]))
    });
    differ.collect()
}

/// No token is used twice, not even for another attempt of the same task.
fn tokens(executions: &[Execution]) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let mut faults = Vec::new();
    for execution in executions {
        if let Some(earlier) = seen.insert((&execution.task, &execution.token), execution) {
            faults.push(format!("one token was used twice: {earlier:?}, {execution:?}"));
        }
    }
    faults
}
