//! Reads: one task, all unfinished ones, pages.

use bytes::Bytes;
use fjall::{Iter, Readable as _};
use mcp_proto::TaskId;
use prost::Message as _;

use super::{Blob, blob_key, key_key, partition::Partition, task_key, task_of, unavailable};
use crate::store::{
    Error, KeyRecord, ListQuery, Loaded, Moving, Page, Stored,
    record::{KeyValue, corrupt},
};

/// Greater than every task's key.
const AFTER_ALL_TASKS: [u8; 16] = [u8::MAX; 16];

impl Partition {
    /// The record of a task. Unfinished is looked at first: a task that ends in between is found under finished.
    pub(super) fn read_task(&self, id: TaskId) -> Result<Option<Stored>, Error> {
        let Some(bytes) = self.record(id)? else { return Ok(None) };
        let mut task = Stored::decode(id, &bytes)?;
        if task.moving.output_apart {
            task.moving.output = self.blob(id, Blob::Output)?;
            task.moving.output_apart = false;
        }
        Ok(Some(task))
    }

    /// The whole spec of a task.
    pub(super) fn read_spec(&self, id: TaskId) -> Result<Option<Bytes>, Error> {
        let Some(bytes) = self.record(id)? else { return Ok(None) };
        let (fixed, _) = Stored::split(id, &bytes)?;
        if fixed.is_brief() { self.blob(id, Blob::Spec) } else { Ok(Some(fixed.spec())) }
    }

    pub(super) fn load_all(&self, now: u64, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        for item in self.keyspaces.open.iter() {
            let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
            visit(Loaded::Unfinished(Box::new(Stored::decode(task_of(&key)?, &bytes_of(value))?)));
        }
        let first = key_key(now.saturating_add(1), TaskId::from_u128(0));
        for item in self.keyspaces.keys.range(first..) {
            let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
            visit(Loaded::Key(decode_key(&key, &value)?));
        }
        Ok(())
    }

    pub(super) fn read_page(&self, query: &ListQuery) -> Result<Page, Error> {
        // One snapshot for both, so that a task that ends meanwhile is seen once.
        let snapshot = self.shared.database.snapshot();
        let end = query.before.map_or(AFTER_ALL_TASKS, task_key);
        let walk = |wanted: bool, keyspace| Walk { items: wanted.then(|| snapshot.range(keyspace, ..end)), head: None };
        let mut open = walk(query.states.has_final(false), &self.keyspaces.open);
        let mut done = walk(query.states.has_final(true), &self.keyspaces.done);

        let mut page = Page::default();
        for _ in 0..query.scan_max {
            let next = match (open.peek()?, done.peek()?) {
                (Some(a), Some(b)) if a < b => done.take(),
                (Some(_), _) => open.take(),
                (None, _) => done.take(),
            };
            let Some((id, bytes)) = next else {
                page.next = None;
                return Ok(page);
            };
            page.next = Some(id);
            page.scanned += 1;
            if let Some(task) = matching(query, id, &bytes)? {
                page.tasks.push(task);
                if page.tasks.len() == query.limit {
                    break;
                }
            }
        }
        Ok(page)
    }

    fn record(&self, id: TaskId) -> Result<Option<Bytes>, Error> {
        let key = task_key(id);
        let found = self.keyspaces.open.get(key).map_err(|error| unavailable("read", error))?;
        let found = match found {
            Some(found) => Some(found),
            None => self.keyspaces.done.get(key).map_err(|error| unavailable("read", error))?,
        };
        Ok(found.map(bytes_of))
    }

    fn blob(&self, id: TaskId, blob: Blob) -> Result<Option<Bytes>, Error> {
        let found = self.keyspaces.blobs.get(blob_key(id, blob)).map_err(|error| unavailable("read", error))?;
        found.map(bytes_of).map(Some).ok_or_else(|| corrupt(&id.to_string(), &format!("its {blob:?} is missing")))
    }
}

/// A walk through one keyspace, backwards, one record ahead.
struct Walk {
    items: Option<Iter>,
    head: Option<(TaskId, Bytes)>,
}

impl Walk {
    fn peek(&mut self) -> Result<Option<TaskId>, Error> {
        if self.head.is_none()
            && let Some(item) = self.items.as_mut().and_then(DoubleEndedIterator::next_back)
        {
            let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
            self.head = Some((task_of(&key)?, bytes_of(value)));
        }
        Ok(self.head.as_ref().map(|(id, _)| *id))
    }

    fn take(&mut self) -> Option<(TaskId, Bytes)> {
        self.head.take()
    }
}

/// The task, if the query wants it. Decodes as little as it can.
fn matching(query: &ListQuery, id: TaskId, bytes: &Bytes) -> Result<Option<Stored>, Error> {
    let (fixed, moving) = Stored::split(id, bytes)?;
    if query.namespace.is_some() || query.queue.is_some() {
        let head = fixed.head()?;
        let differs = |wanted: &Option<String>, has: &str| wanted.as_ref().is_some_and(|wanted| wanted != has);
        if differs(&query.namespace, &head.namespace) || differs(&query.queue, &head.queue) {
            return Ok(None);
        }
    }
    let moving = Moving::decode(moving).map_err(|error| corrupt(&id.to_string(), &error))?;
    Ok(query.states.has(moving.state()).then_some(Stored { id, fixed, moving }))
}

fn decode_key(key: &[u8], value: &[u8]) -> Result<KeyRecord, Error> {
    let name = || format!("{key:02x?}");
    let (forget_at, id) = key.split_at_checked(8).ok_or_else(|| corrupt(&name(), &"cut off"))?;
    let forget_at = u64::from_be_bytes(forget_at.try_into().map_err(|_| corrupt(&name(), &"cut off"))?);
    let value = KeyValue::decode(value).map_err(|error| corrupt(&name(), &error))?;
    Ok(KeyRecord {
        task: task_of(id)?,
        namespace: value.namespace,
        queue: value.queue,
        key: value.key,
        body_hash: value.body_hash,
        forget_at,
    })
}

/// The value without a copy.
fn bytes_of(value: fjall::Slice) -> Bytes {
    Bytes::from_owner(value)
}
