//! What is durable, and the checker that watches it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mcp_proto::TaskId;

use super::checker::{Checker, Commit};
use crate::{
    conductor::{End, Item, Message, item_of_submit},
    store::{Entry, Fixed, Table, Write},
    workflow::records::Reader,
};

/// A task on record.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) fixed: Fixed,
    pub(super) end: Option<End>,
    pub(super) is_cancelled: bool,
}

/// What a batch makes durable, all of it or nothing.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) writes: Vec<(u16, Write)>,
    pub(super) submitted: Vec<(TaskId, Fixed)>,
    pub(super) cancelled: Vec<TaskId>,
    pub(super) ended: Vec<(TaskId, End)>,
}

/// The entries of all partitions.
pub(super) type Entries = BTreeMap<(u16, Table, Bytes), Bytes>;

/// The store of all partitions.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) entries: Entries,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// Tasks that have not ended.
    pub(super) unfinished: BTreeSet<TaskId>,
    /// Remembers definitions, which take a while to be checked.
    pub(super) reader: Reader,
    pub(super) checker: Checker,
}

impl Disk {
    /// Makes a batch durable.
    pub(super) fn commit(&mut self, now: u64, made: Made) {
        let Made { writes, submitted, cancelled, ended } = made;
        let starts = starts(&writes, &submitted);
        for (partition, write) in &writes {
            match write.clone() {
                Write::Put(Entry { table, key, value, .. }) => {
                    self.entries.insert((*partition, table, key), value);
                }
                Write::Delete { table, key } => {
                    self.entries.remove(&(*partition, table, key));
                }
                other => panic!("a conductor writes entries only, not {other:?}"),
            }
        }
        for (id, fixed) in submitted {
            let task = Task { fixed, end: None, is_cancelled: false };
            assert!(self.tasks.insert(id, task).is_none(), "{id} was started twice");
            self.unfinished.insert(id);
        }
        for id in cancelled {
            self.tasks.entry(id).and_modify(|task| task.is_cancelled = true);
        }
        for (id, end) in ended {
            self.tasks.entry(id).and_modify(|task| task.end = Some(end));
            self.unfinished.remove(&id);
        }
        let Self { entries, tasks, reader, checker, .. } = self;
        checker.committed(&Commit { now, writes: &writes, starts: &starts, entries, tasks }, reader);
    }

    /// The entries of a table in a partition.
    pub(super) fn table(&self, partition: u16, table: Table) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let first = (partition, table, Bytes::new());
        let is_of = move |(of, which, _): &(u16, Table, Bytes)| *of == partition && *which == table;
        self.entries.range(first..).take_while(move |(key, _)| is_of(key)).map(|((.., key), value)| (key, value))
    }
}

/// The tasks that a batch decides to start: here, or by a notice to another partition.
fn starts(writes: &[(u16, Write)], submitted: &[(TaskId, Fixed)]) -> Vec<(TaskId, Item)> {
    let here = submitted.iter().map(|(id, fixed)| (*id, Item::of(fixed).unwrap().unwrap()));
    let there = writes.iter().filter_map(|(_, write)| match write {
        Write::Put(Entry { table: Table::Notice, value, .. }) => {
            let request = Message::read(value).unwrap().submit?;
            Some((request.task_id.parse().unwrap(), item_of_submit(&request).unwrap()))
        }
        _ => None,
    });
    here.chain(there).collect()
}
