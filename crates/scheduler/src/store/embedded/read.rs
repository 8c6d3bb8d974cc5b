//! Reads: one task, all unfinished ones, pages.

use std::ops::Bound;

use bytes::Bytes;
use fjall::{Iter, Readable as _};
use mcp_proto::TaskId;
use prost::Message as _;

use super::{
    key::{self, Blob},
    partition::Partition,
};
use crate::store::{
    Error, ListQuery, Loaded, Moving, Page, Stored, ToRun,
    error::{corrupt, unavailable},
    record::KeyValue,
};

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

    /// What a worker needs to run an unfinished task.
    pub(super) fn read_to_run(&self, id: TaskId) -> Result<Option<ToRun>, Error> {
        let found = self.shared.keyspaces.open.get(key::task(self.number, id));
        let Some(record) = found.map_err(|error| unavailable("read", error))? else { return Ok(None) };
        let (fixed, _) = Stored::split(id, &bytes_of(record))?;
        let spec = if fixed.is_brief() { self.blob(id, Blob::Spec)? } else { Some(fixed.spec()) };
        Ok(spec.map(|spec| ToRun { fixed, spec }))
    }

    pub(super) fn load_tasks(&self, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        for item in self.shared.keyspaces.open.range(key::tasks(self.number)) {
            let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
            visit(Loaded::Unfinished(Box::new(Stored::decode(key::task_of(&key)?, &bytes_of(value))?)));
        }
        Ok(())
    }

    pub(super) fn load_keys(&self, now: u64, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        let wanted = key::forgets(self.number, now.saturating_add(1)..=u64::MAX);
        for item in self.shared.keyspaces.keys.range(wanted) {
            let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
            let (forget_at, task) = key::forget_of(&key)?;
            let value = KeyValue::decode(&value[..]).map_err(|error| corrupt(&format!("{key:02x?}"), &error))?;
            visit(Loaded::Key(value.record(task, forget_at)));
        }
        Ok(())
    }

    pub(super) fn read_page(&self, query: &ListQuery) -> Result<Page, Error> {
        // One snapshot for both, so that a task that ends meanwhile is seen once.
        let snapshot = self.shared.database.snapshot();
        let (first, last) = key::tasks(self.number).into_inner();
        let end = query.before.map_or(Bound::Included(last), |before| Bound::Excluded(key::task(self.number, before)));
        let range = (Bound::Included(first), end);
        let walk = |wanted: bool, keyspace| Walk { items: wanted.then(|| snapshot.range(keyspace, range)), head: None };
        let mut open = walk(query.states.has_final(false), &self.shared.keyspaces.open);
        let mut done = walk(query.states.has_final(true), &self.shared.keyspaces.done);

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
        let key = key::task(self.number, id);
        let found = self.shared.keyspaces.open.get(key).map_err(|error| unavailable("read", error))?;
        let found = match found {
            Some(found) => Some(found),
            None => self.shared.keyspaces.done.get(key).map_err(|error| unavailable("read", error))?,
        };
        Ok(found.map(bytes_of))
    }

    fn blob(&self, id: TaskId, blob: Blob) -> Result<Option<Bytes>, Error> {
        let found = self
            .shared
            .keyspaces
            .blobs
            .get(key::blob(self.number, id, blob))
            .map_err(|error| unavailable("read", error))?;
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
            self.head = Some((key::task_of(&key)?, bytes_of(value)));
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
    if !query.takes(&fixed)? {
        return Ok(None);
    }
    let moving = Moving::decode(moving).map_err(|error| corrupt(&id.to_string(), &error))?;
    Ok(query.states.has(moving.state()).then_some(Stored { id, fixed, moving }))
}

/// The value without a copy.
pub(super) fn bytes_of(value: fjall::Slice) -> Bytes {
    Bytes::from_owner(value)
}
