//! What is durable.

use std::collections::BTreeMap;

use bytes::Bytes;
use mcp_proto::TaskId;

use crate::{
    conductor::{End, Item},
    store::{Entry, Fixed, Table, Write},
};

/// A task on record.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) fixed: Fixed,
    pub(super) end: Option<End>,
    pub(super) is_cancelled: bool,
}

/// The store of all partitions.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) entries: BTreeMap<(u16, Table, Bytes), Bytes>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
}

impl Disk {
    /// Makes records durable.
    pub(super) fn apply(&mut self, writes: Vec<(u16, Write)>) {
        for (partition, write) in writes {
            match write {
                Write::Put(Entry { table, key, value, .. }) => {
                    self.entries.insert((partition, table, key), value);
                }
                Write::Delete { table, key } => {
                    self.entries.remove(&(partition, table, key));
                }
                other => panic!("a conductor writes entries only, not {other:?}"),
            }
        }
    }

    /// A new task. Nothing is ever started under an id twice, nor for a fire time.
    pub(super) fn insert(&mut self, id: TaskId, fixed: Fixed) {
        let item = Item::of(&fixed).unwrap().unwrap();
        for (other, task) in &self.tasks {
            assert_ne!(Item::of(&task.fixed).unwrap().unwrap(), item, "{id} and {other} are for the same fire time");
        }
        let task = Task { fixed, end: None, is_cancelled: false };
        assert!(self.tasks.insert(id, task).is_none(), "{id} was started twice");
    }

    /// The entries of a table in a partition.
    pub(super) fn table(&self, partition: u16, table: Table) -> impl Iterator<Item = (&Bytes, &Bytes)> {
        let is_of = move |(of, which, _): &(u16, Table, Bytes)| *of == partition && *which == table;
        self.entries.iter().filter(move |(key, _)| is_of(key)).map(|((.., key), value)| (key, value))
    }
}
