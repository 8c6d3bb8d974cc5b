//! Reads the history and says what is wrong with it. It knows the promises, not the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use mcp_proto::scheduler::v1::TaskState;

use super::{
    history::{Execution, History, Trouble},
    load::{LIMIT, LIMITED},
};

/// Faults of one kind that are shown.
const SHOWN_MAX: usize = 10;

/// `/proc/uptime` counts in hundredths of a second, so two times may be this far from the truth together.
const CLOCK_ERROR_MS: u64 = 20;

/// What came out.
pub(super) struct Report {
    /// Broken promises.
    pub(super) faults: Vec<String>,
    /// Numbers for people.
    pub(super) figures: String,
}

/// Checks it all.
pub(super) fn check(history: &History, ends: &BTreeMap<String, TaskState>) -> Report {
    let (acknowledged, executions) = (history.acknowledged(), history.executions());
    let owed: BTreeSet<&str> = acknowledged.iter().map(|submit| submit.task.as_str()).collect();
    let mut faults = Vec::new();
    if acknowledged.is_empty() || executions.is_empty() {
        faults.push("nothing happened: the check would prove nothing".to_owned());
    }
    if owed.len() != acknowledged.len() {
        faults.push("an id was given to two submits".to_owned());
    }

    let lost = owed.iter().filter(|task| !ends.contains_key(**task)).map(|task| format!("{task} was acknowledged and is gone"));
    add(&mut faults, lost);
    let ran: BTreeSet<&str> = executions.iter().map(|execution| execution.task.as_str()).collect();
    let idle = ends.iter().filter(|(task, state)| **state == TaskState::Succeeded && !ran.contains(task.as_str()));
    add(&mut faults, idle.map(|(task, _)| format!("{task} succeeded and never ran")));
    let failed = ends.iter().filter(|(_, state)| !matches!(state, TaskState::Succeeded | TaskState::Failed));
    add(&mut faults, failed.map(|(task, state)| format!("{task} is {state:?}, which nobody asked for")));
    add(&mut faults, final_twice(history, ends));
    add(&mut faults, tokens(&executions));
    add(&mut faults, over_the_limit(&executions, &history.troubles()));

    let mut waits: Vec<Duration> = acknowledged.iter().map(|submit| submit.took).collect();
    waits.sort_unstable();
    let at = |part: usize| waits.get(waits.len() * part / 100).or(waits.last()).copied().unwrap_or_default();
    let failed = ends.values().filter(|state| **state == TaskState::Failed).count();
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

/// Watchers may be told twice, when they come back, but never two different ends.
fn final_twice(history: &History, ends: &BTreeMap<String, TaskState>) -> Vec<String> {
    let told = history.told();
    let differ = told.iter().filter_map(|(task, seen)| {
        let other = seen.iter().find(|(state, _)| ends.get(task).is_some_and(|end| end != state))?;
        Some(format!("{task} was said to be {:?} and is {:?}", other.0, ends[task]))
    });
    differ.collect()
}

/// No token runs twice, and those of a task grow in the order in which its attempts begin.
fn tokens(executions: &[Execution]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut of_task: BTreeMap<&str, Vec<(u64, (u64, u64))>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for execution in executions {
        if !seen.insert((&execution.task, &execution.token)) {
            faults.push(format!("{} ran twice under {}", execution.task, execution.token));
        }
        let (epoch, sequence) = execution.token.split_once('.').expect("a token is `epoch.sequence`");
        let token = (epoch.parse().expect("a number"), sequence.parse().expect("a number"));
        of_task.entry(&execution.task).or_default().push((execution.start, token));
    }
    for (task, mut attempts) in of_task {
        attempts.sort_unstable();
        // An attempt may be sent out, be held up on its way, and start after a later one: then both overlap in time, and
        // whatever they write to tells them apart. More than the clock's error apart, it must not happen without a fault.
        let wrong = attempts.windows(2).find(|pair| pair[0].1 == pair[1].1);
        if let Some(pair) = wrong {
            faults.push(format!("{task} has one token twice: {pair:?}"));
        }
    }
    faults
}

/// The limited queue never ran more at a time than it may. What a worker in trouble runs may be given to another one
/// once its lease is over, so it counts until the trouble began.
fn over_the_limit(executions: &[Execution], troubles: &[Trouble]) -> Vec<String> {
    let mut changes: Vec<(u64, i32, &str)> = Vec::new();
    for execution in executions.iter().filter(|execution| execution.queue == LIMITED) {
        let trouble = troubles
            .iter()
            .filter(|trouble| trouble.worker == execution.worker && trouble.from >= execution.start)
            .map(|trouble| trouble.from)
            .min();
        let end = [execution.end, trouble].into_iter().flatten().min();
        let Some(end) = end else { continue };
        if end > execution.start + CLOCK_ERROR_MS {
            changes.push((execution.start + CLOCK_ERROR_MS, 1, &execution.task));
            changes.push((end, -1, &execution.task));
        }
    }
    changes.sort_unstable();
    let (mut running, mut faults) = (0, Vec::new());
    for (time, change, task) in changes {
        running += change;
        if running > i32::try_from(LIMIT).expect("it is small") {
            faults.push(format!("{running} run in `{LIMITED}` at {time}, {task} among them"));
        }
    }
    faults
}
