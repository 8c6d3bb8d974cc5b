//! What must hold, checked after every commit and without the code that decides: from what was written, which tasks
//! started, and how they ended.
//!
//! - A workflow ends once, and as its steps did; a step starts only after those it depends on have ended, each of its
//!   items has one task, and nothing starts while it is paused ([`runs`]).
//! - Every fire time has one outcome, none runs twice, what a ledger says is what happened, and the overlap policy holds
//!   ([`ledger`]).
//! - A task is for one item, whoever asks for it to be started, and however often.

mod ledger;
mod runs;

use std::collections::{BTreeMap, BTreeSet};

use mcp_proto::TaskId;

use self::{ledger::Ledgers, runs::Runs};
use super::{
    disk::{Entries, Task},
    plan::Plan,
};
use crate::{
    conductor::{End, Item},
    store::{Table, Write},
    workflow::records::Reader,
};

/// What became durable together.
pub(super) struct Commit<'a> {
    pub(super) now: u64,
    pub(super) writes: &'a [(u16, Write)],
    /// Tasks that were decided on in it, or were asked for by another partition.
    pub(super) starts: &'a [(TaskId, Item)],
    /// All entries, these ones included.
    pub(super) entries: &'a Entries,
    /// All tasks.
    pub(super) tasks: &'a BTreeMap<TaskId, Task>,
}

/// What is known of tasks and workflows that were started for something.
#[derive(Debug, Default)]
struct Started {
    /// The latest for each item.
    by_item: BTreeMap<String, TaskId>,
    items: BTreeMap<TaskId, Item>,
    /// Those that the owner of their queue refused for good.
    refused: BTreeSet<TaskId>,
    /// Workflows that are final.
    final_runs: BTreeSet<TaskId>,
}

/// All that was ever committed.
#[derive(Debug, Default)]
pub(super) struct Checker {
    started: Started,
    runs: Runs,
    ledgers: Ledgers,
}

impl Checker {
    /// A schedule that will be there.
    pub(super) fn expect(&mut self, plan: &Plan) {
        self.ledgers.expect(plan);
    }

    /// Checks a commit.
    pub(super) fn committed(&mut self, commit: &Commit<'_>, reader: &mut Reader) {
        self.started.note_refusals(commit);
        let mut new = self.runs.apply(commit, reader);
        for run in self.runs.finishing() {
            self.started.final_runs.insert(run);
        }
        new.extend(commit.starts.iter().cloned());
        new.retain(|(task, item)| self.started.add(*task, item));
        for (task, item) in &new {
            if let Item::Step(step) = item {
                self.runs.check_start(*task, step, commit, &self.started);
            }
        }
        self.runs.check_final(commit, &self.started);
        self.ledgers.committed(commit, &new, &self.started);
    }

    /// Somebody may cancel this workflow.
    pub(super) fn may_be_cancelled(&mut self, run: TaskId) {
        self.runs.may_be_cancelled(run);
    }

    /// A caller was told that this workflow was started, under this key if it has one.
    pub(super) fn acknowledged(&mut self, run: TaskId, key: &str, body: &str) {
        self.runs.acknowledged(run, key, body);
    }

    /// A caller was told that the key belongs to another body.
    pub(super) fn refused_key(&self, key: &str, body: &str) {
        self.runs.refused_key(key, body);
    }

    /// Workflows that are not final, and those that are.
    pub(super) fn runs(&self) -> (Vec<TaskId>, Vec<TaskId>) {
        self.runs.ids()
    }

    /// How many workflows ended as what, and how many fires were backfilled.
    pub(super) fn tally(&self) -> (usize, usize) {
        (self.runs.ids().1.len(), self.ledgers.backfilled)
    }

    /// What must hold when nothing happens any more.
    pub(super) fn at_rest(&self, entries: &Entries, tasks: &BTreeMap<TaskId, Task>) {
        self.runs.at_rest();
        self.ledgers.at_rest();
        for (partition, table, key) in entries.keys() {
            let is_left = match table {
                Table::Notice | Table::Step => true,
                Table::Workflow => !key.starts_with(b"idempotency"),
                _ => false,
            };
            assert!(!is_left, "{table:?} {key:?} is left in partition {partition}");
        }
        for (task, item) in &self.started.items {
            assert!(self.started.is_over(*task, tasks), "{task} for {item:?} is not over");
        }
    }
}

impl Started {
    /// Notes a task or a workflow for an item; false when it is known already, as one that another partition was asked to
    /// start.
    fn add(&mut self, task: TaskId, item: &Item) -> bool {
        if let Some(known) = self.items.get(&task) {
            assert_eq!(known, item, "{task} is for two items");
            return false;
        }
        let earlier = self.by_item.insert(name_of(item), task);
        let is_second = earlier.is_some_and(|earlier| !self.refused.contains(&earlier));
        assert!(!is_second, "{task} is started for {item:?}, beside {earlier:?}");
        self.items.insert(task, item.clone());
        true
    }

    /// A task to start elsewhere that is given up before it started was refused.
    fn note_refusals(&mut self, commit: &Commit<'_>) {
        for (_, write) in commit.writes {
            if let Write::Delete { table: Table::Notice, key } = write
                && let Some((&0, id)) = key.split_last()
            {
                let task = TaskId::from_u128(u128::from_be_bytes(id.try_into().unwrap()));
                if !commit.tasks.contains_key(&task) {
                    self.refused.insert(task);
                }
            }
        }
    }

    fn is_over(&self, task: TaskId, tasks: &BTreeMap<TaskId, Task>) -> bool {
        let has_ended = tasks.get(&task).is_some_and(|task| task.end.is_some());
        has_ended || self.refused.contains(&task) || self.final_runs.contains(&task)
    }
}

fn name_of(item: &Item) -> String {
    match item {
        Item::Fire { schedule, fire_ms } => format!("{schedule:?} {fire_ms}"),
        Item::Step(step) => format!("{:x?} {} {}", step.workflow, step.step, step.item),
    }
}

/// How a task ended, if it has.
fn end_of(task: TaskId, tasks: &BTreeMap<TaskId, Task>) -> Option<&End> {
    tasks.get(&task)?.end.as_ref()
}
