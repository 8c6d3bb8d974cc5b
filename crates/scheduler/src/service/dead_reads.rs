//! Reading dead letters: in the order of their tasks' ids, in bounded parts.

use mcp_engine::QueueKey;
use mcp_proto::{TaskId, scheduler::v1::TaskSpec};
use prost::Message as _;

use crate::{
    shell::{Letter, letter_key, letter_prefix},
    store::{self, PartitionStore, Stored, Table},
    validate::DeadFilter,
};

/// Letters of one read of the store.
const SCAN_LEN: usize = 256;
/// Bytes of letters after which a part ends.
const BYTES_MAX: usize = 2 * 1024 * 1024;

/// Which letters to read.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The queue.
    pub(super) queue: QueueKey,
    /// Which of its letters.
    pub(super) filter: DeadFilter,
    /// After this task.
    pub(super) after: Option<TaskId>,
    /// At most so many.
    pub(super) limit: usize,
    /// Letters to look at, at most.
    pub(super) scan_max: usize,
}

/// A part of a list of letters. May be short, even empty, and yet not be the last.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// The letters.
    pub(super) letters: Vec<Letter>,
    /// Tasks that the filter names and that have no letter.
    pub(super) missing: Vec<TaskId>,
    /// After which task to go on; `None` at the end.
    pub(super) next: Option<TaskId>,
    /// Letters that were looked at.
    pub(super) scanned: usize,
    bytes: usize,
}

impl Letters {
    /// True when there is no room for more.
    fn is_full(&self, wanted: &Wanted) -> bool {
        self.letters.len() >= wanted.limit || self.scanned >= wanted.scan_max || self.bytes >= BYTES_MAX
    }

    /// Looks at one letter. False when there was no room for it.
    fn take(&mut self, wanted: &Wanted, key: &[u8], value: &bytes::Bytes) -> Result<bool, store::Error> {
        let letter = Letter::decode(key, value)?;
        if self.is_full(wanted) {
            return Ok(false);
        }
        self.scanned += 1;
        self.next = Some(letter.task.id);
        let filter = &wanted.filter;
        let is_wanted = (filter.error_name.is_empty() || filter.error_name == letter.error_name())
            && (filter.since..filter.until).contains(&letter.time());
        if is_wanted {
            self.bytes += value.len();
            self.letters.push(letter);
        }
        Ok(true)
    }
}

/// Reads a part of a queue's letters.
///
/// # Errors
/// The store cannot be read.
pub(super) fn letters(store: &dyn PartitionStore, wanted: &Wanted) -> Result<Letters, store::Error> {
    if wanted.filter.ids.is_empty() { scanned(store, wanted) } else { named(store, wanted) }
}

fn scanned(store: &dyn PartitionStore, wanted: &Wanted) -> Result<Letters, store::Error> {
    let mut found = Letters { next: wanted.after, ..Letters::default() };
    let prefix = letter_prefix(&wanted.queue);
    loop {
        let after = found.next.map(|id| letter_key(&wanted.queue, id));
        let page = store.scan(Table::DeadLetter, &prefix, after.as_deref(), SCAN_LEN)?;
        if page.is_empty() {
            found.next = None;
            return Ok(found);
        }
        for (key, value) in page {
            if !found.take(wanted, &key, &value)? {
                return Ok(found);
            }
        }
    }
}

fn named(store: &dyn PartitionStore, wanted: &Wanted) -> Result<Letters, store::Error> {
    let mut found = Letters { next: wanted.after, ..Letters::default() };
    for &id in wanted.filter.ids.iter().filter(|id| wanted.after.is_none_or(|after| **id > after)) {
        if found.is_full(wanted) {
            return Ok(found);
        }
        let key = letter_key(&wanted.queue, id);
        match store.entry(Table::DeadLetter, &key)? {
            Some(value) => _ = found.take(wanted, &key, &value)?,
            None => {
                found.scanned += 1;
                found.next = Some(id);
                found.missing.push(id);
            }
        }
    }
    found.next = None;
    Ok(found)
}

/// The whole spec of a task as it ended; `None` when it is too large for its record and was removed with the task.
///
/// # Errors
/// The store cannot be read.
pub(super) fn whole_spec(store: &dyn PartitionStore, task: &Stored) -> Result<Option<TaskSpec>, store::Error> {
    if !task.fixed.is_brief() {
        return task.fixed.decode_spec().map(Some);
    }
    let Some(bytes) = store.spec(task.id)? else { return Ok(None) };
    let corrupt =
        |error: prost::DecodeError| store::Error::Corrupt { key: task.id.to_string(), reason: error.to_string() };
    TaskSpec::decode(bytes).map(Some).map_err(corrupt)
}
