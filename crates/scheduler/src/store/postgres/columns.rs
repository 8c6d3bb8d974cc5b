//! From writes to the columns of the tables: what of a batch is left when later writes have replaced earlier ones.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use mcp_proto::TaskId;
use prost::Message as _;
use uuid::Uuid;

use super::{Blob, ms, partition_number, uuid_of};
use crate::store::{Entry, Error, Fixed, KeyRecord, Moving, SPEC_INLINE_MAX, Stored, Table, Write, record::KeyValue};

/// A batch, by table.
#[derive(Debug, Default)]
pub(super) struct Columns {
    tasks: Vec<Task>,
    /// Where each task is in `tasks`.
    places: HashMap<(u32, TaskId), usize>,
    /// Encoded records, one after the other.
    records: Vec<u8>,
    pub(super) queues: QueueNames,
    pub(super) labels: Labels,
    pub(super) blobs: Writes<i16>,
    pub(super) keys: Writes<i64>,
    pub(super) logs: Writes<i64>,
    entries: BTreeMap<(u32, Table, Bytes), Option<(Bytes, u64)>>,
}

/// What becomes of a task.
#[derive(Debug)]
struct Task {
    partition: u32,
    id: TaskId,
    /// Its queue among the batch's.
    queue: usize,
    record: std::ops::Range<usize>,
    /// Not there before this batch.
    is_new: bool,
    /// State and time of the end, once it is finished.
    end: Option<(i16, i64)>,
}

/// Writes to a table with one number besides the id, and bytes. A later one replaces an earlier one of the same key.
#[derive(Debug)]
pub(super) struct Writes<N>(BTreeMap<(u32, TaskId, N), Bytes>);

/// Rows of such a table.
#[derive(Debug)]
pub(super) struct Rows<'a, N> {
    pub(super) partitions: Vec<i32>,
    pub(super) ids: Vec<Uuid>,
    pub(super) numbers: Vec<N>,
    pub(super) contents: Vec<&'a [u8]>,
}

/// Rows of `labels`.
#[derive(Debug, Default)]
pub(super) struct Labels {
    pub(super) partitions: Vec<i32>,
    pub(super) ids: Vec<Uuid>,
    pub(super) labels: Vec<String>,
    pub(super) contents: Vec<String>,
}

/// Rows of a table of tasks.
#[derive(Debug, Default)]
pub(super) struct TaskRows<'a> {
    pub(super) partitions: Vec<i32>,
    pub(super) queues: Vec<i32>,
    pub(super) ids: Vec<Uuid>,
    pub(super) records: Vec<&'a [u8]>,
    pub(super) states: Vec<i16>,
    pub(super) finish_ms: Vec<i64>,
}

/// The tables of tasks.
#[derive(Debug, Default)]
pub(super) struct TaskTables<'a> {
    /// To insert as unfinished.
    pub(super) new: TaskRows<'a>,
    /// To replace as unfinished.
    pub(super) changed: TaskRows<'a>,
    /// To insert as finished.
    pub(super) done: TaskRows<'a>,
    /// Of those, the ones that are there as unfinished.
    pub(super) ended: TaskRows<'a>,
}

/// Entries to put and to delete.
#[derive(Debug, Default)]
pub(super) struct EntryRows<'a> {
    pub(super) partitions: Vec<i32>,
    pub(super) tables: Vec<i16>,
    pub(super) keys: Vec<&'a [u8]>,
    pub(super) contents: Vec<&'a [u8]>,
    pub(super) expires_ms: Vec<i64>,
}

impl Columns {
    /// Takes one write of a partition.
    ///
    /// # Errors
    /// [`Error::Corrupt`]: the spec cannot be read.
    pub(super) fn put(&mut self, partition: u32, write: &Write) -> Result<(), Error> {
        match write {
            Write::Submitted { id, fixed, whole, moving, key } => {
                self.task(partition, *id, fixed, moving, true)?;
                self.labels.add(partition, *id, fixed)?;
                if let Some(whole) = whole {
                    self.blobs.add(partition, *id, Blob::Spec as i16, whole.clone());
                }
                if let Some(key) = key {
                    self.key(partition, key);
                }
            }
            Write::Updated { id, fixed, moving } => self.task(partition, *id, fixed, moving, false)?,
            Write::Finished { id, fixed, moving } => self.finish(partition, *id, fixed, moving)?,
            Write::Logs { id, chunk } => {
                let first = chunk.lines.first().map_or(0, |line| line.seq);
                self.logs.add(partition, *id, ms(first), chunk.encode_to_vec().into());
            }
            Write::Put(Entry { table, key, value, expires_ms }) => {
                self.entries.insert((partition, *table, key.clone()), Some((value.clone(), *expires_ms)));
            }
            Write::Delete { table, key } => {
                self.entries.insert((partition, *table, key.clone()), None);
            }
        }
        Ok(())
    }

    fn finish(&mut self, partition: u32, id: TaskId, fixed: &Fixed, moving: &Moving) -> Result<(), Error> {
        match &moving.output {
            Some(output) if output.len() > SPEC_INLINE_MAX => {
                self.blobs.add(partition, id, Blob::Output as i16, output.clone());
                self.task(partition, id, fixed, &moving.without_output(), false)?;
            }
            _ => self.task(partition, id, fixed, moving, false)?,
        }
        let state = i16::try_from(moving.state).unwrap_or_default();
        self.tasks[self.places[&(partition, id)]].end = Some((state, ms(moving.finish_ms)));
        Ok(())
    }

    /// Takes the latest record of a task.
    fn task(&mut self, partition: u32, id: TaskId, fixed: &Fixed, moving: &Moving, is_new: bool) -> Result<(), Error> {
        let start = self.records.len();
        Stored::encode(fixed, moving, &mut self.records);
        let record = start..self.records.len();
        if let Some(place) = self.places.get(&(partition, id)) {
            self.tasks[*place].record = record;
            return Ok(());
        }
        let queue = self.queues.place(fixed)?;
        self.places.insert((partition, id), self.tasks.len());
        self.tasks.push(Task { partition, id, queue, record, is_new, end: None });
        Ok(())
    }

    fn key(&mut self, partition: u32, key: &KeyRecord) {
        let value = KeyValue::from(key).encode_to_vec();
        self.keys.add(partition, key.task, ms(key.forget_at), value.into());
    }

    /// The rows of tasks; `numbers` are those of the batch's queues.
    pub(super) fn tasks(&self, numbers: &[i32]) -> TaskTables<'_> {
        let mut tables = TaskTables::default();
        for task in &self.tasks {
            let rows = match task {
                Task { end: Some(_), .. } => &mut tables.done,
                Task { is_new: true, .. } => &mut tables.new,
                Task { .. } => &mut tables.changed,
            };
            rows.partitions.push(partition_number(task.partition));
            rows.queues.push(numbers[task.queue]);
            rows.ids.push(uuid_of(task.id));
            rows.records.push(&self.records[task.record.clone()]);
            if let Some((state, finish_ms)) = task.end {
                rows.states.push(state);
                rows.finish_ms.push(finish_ms);
                if !task.is_new {
                    tables.ended.partitions.push(partition_number(task.partition));
                    tables.ended.ids.push(uuid_of(task.id));
                }
            }
        }
        tables
    }

    /// The entries to put, and those to delete.
    pub(super) fn entries(&self) -> (EntryRows<'_>, EntryRows<'_>) {
        let (mut puts, mut deletes) = (EntryRows::default(), EntryRows::default());
        for ((partition, table, key), content) in &self.entries {
            let rows = if content.is_some() { &mut puts } else { &mut deletes };
            rows.partitions.push(partition_number(*partition));
            rows.tables.push(*table as i16);
            rows.keys.push(key);
            if let Some((value, expires_ms)) = content {
                rows.contents.push(value);
                rows.expires_ms.push(ms(*expires_ms));
            }
        }
        (puts, deletes)
    }
}

impl<N: Copy + Ord> Writes<N> {
    fn add(&mut self, partition: u32, id: TaskId, number: N, content: Bytes) {
        self.0.insert((partition, id, number), content);
    }

    pub(super) fn rows(&self) -> Rows<'_, N> {
        Rows {
            partitions: self.0.keys().map(|(partition, ..)| partition_number(*partition)).collect(),
            ids: self.0.keys().map(|(_, id, _)| uuid_of(*id)).collect(),
            numbers: self.0.keys().map(|(.., number)| *number).collect(),
            contents: self.0.values().map(|content| &content[..]).collect(),
        }
    }
}

impl<N> Default for Writes<N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl Labels {
    fn add(&mut self, partition: u32, id: TaskId, fixed: &Fixed) -> Result<(), Error> {
        for (label, content) in fixed.marks()?.labels {
            self.partitions.push(partition_number(partition));
            self.ids.push(uuid_of(id));
            self.labels.push(label);
            self.contents.push(content);
        }
        Ok(())
    }
}

/// The queues of a batch.
#[derive(Debug, Default)]
pub(super) struct QueueNames {
    /// Namespace and queue.
    pub(super) names: Vec<(String, String)>,
    places: HashMap<(String, String), usize>,
}

impl QueueNames {
    /// The place of a task's queue in `names`.
    fn place(&mut self, fixed: &Fixed) -> Result<usize, Error> {
        let head = fixed.head()?;
        let name = (head.namespace, head.queue);
        if let Some(place) = self.places.get(&name) {
            return Ok(*place);
        }
        self.places.insert(name.clone(), self.names.len());
        self.names.push(name);
        Ok(self.names.len() - 1)
    }
}
