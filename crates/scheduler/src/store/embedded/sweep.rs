//! Retention: removes old finished tasks, their logs, forgotten idempotency keys and expired entries, a little at a
//! time.

use std::sync::PoisonError;

use fjall::OwnedWriteBatch;

use super::{
    entries::split,
    key::{self, Blob},
    partition::Partition,
    read::bytes_of,
    shared::Shared,
};
use crate::store::{Error, PartitionStore as _, Stored, Swept, error::unavailable};

/// Most tasks that one sweep looks at.
const SWEEP_TASKS_MAX: usize = 1_000;
/// Most records that one sweep removes.
const SWEEP_RECORDS_MAX: usize = 10_000;
/// Most expired entries that one sweep looks at. Few, because commits wait for it.
const SWEEP_ENTRIES_MAX: usize = 256;
/// Tables that `open` may gain before it is compacted as a whole; when it is large already, as many as it had.
const OPEN_TABLES_GAIN_MAX: usize = 8;

impl Partition {
    pub(super) fn sweep_some(&self, now: u64, finished_before: u64) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let mut batch = OwnedWriteBatch::with_capacity(self.shared.database.clone(), 0);
        self.sweep_tasks(finished_before, &mut batch, &mut swept)?;
        self.sweep_keys(now, &mut batch, &mut swept)?;
        if !batch.is_empty() {
            // Not synced: what a crash brings back is swept again.
            self.shared.fenced([self.ticket()], || self.shared.write(batch, None))?;
        }
        self.sweep_entries(now, &mut swept)?;
        Ok(swept)
    }

    fn sweep_tasks(&self, finished_before: u64, batch: &mut OwnedWriteBatch, swept: &mut Swept) -> Result<(), Error> {
        let mut at = self.sweep_at.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = key::tasks(self.number).into_inner();
        let from = at.map_or(first, |id| key::task(self.number, id));
        *at = None; // the next round begins at the oldest, unless this one stops before the end
        for (looked_at, item) in self.shared.keyspaces.done.range(from..=last).enumerate() {
            let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
            let id = key::task_of(&key)?;
            if id.unix_ms() >= finished_before {
                return Ok(()); // submitted later, so finished later, and so is all that follows
            }
            if looked_at == SWEEP_TASKS_MAX || batch.len() >= SWEEP_RECORDS_MAX {
                *at = Some(id);
                swept.more = true;
                return Ok(());
            }
            let task = Stored::decode(id, &bytes_of(value))?;
            if task.moving.finish_ms >= finished_before {
                continue;
            }
            if !self.remove_task(&task, batch)? {
                *at = Some(id);
                swept.more = true;
                return Ok(());
            }
            swept.tasks += 1;
        }
        Ok(())
    }

    /// Removes a task's logs, and with the last of them the task: `true` when it is gone.
    fn remove_task(&self, task: &Stored, batch: &mut OwnedWriteBatch) -> Result<bool, Error> {
        let keyspaces = &self.shared.keyspaces;
        let (first, last) = (key::log(self.number, task.id, 0), key::log(self.number, task.id, u64::MAX));
        for item in keyspaces.logs.range(first..=last) {
            if batch.len() >= SWEEP_RECORDS_MAX {
                return Ok(false);
            }
            batch.remove(&keyspaces.logs, item.key().map_err(|error| unavailable("read", error))?);
        }
        if task.fixed.is_brief() {
            batch.remove(&keyspaces.blobs, key::blob(self.number, task.id, Blob::Spec));
        }
        if task.moving.output_apart {
            batch.remove(&keyspaces.blobs, key::blob(self.number, task.id, Blob::Output));
        }
        batch.remove(&keyspaces.done, key::task(self.number, task.id));
        Ok(true)
    }

    fn sweep_keys(&self, now: u64, batch: &mut OwnedWriteBatch, swept: &mut Swept) -> Result<(), Error> {
        let keys = &self.shared.keyspaces.keys;
        for item in keys.range(key::forgets(self.number, 0..=now)) {
            if batch.len() >= SWEEP_RECORDS_MAX {
                swept.more = true;
                return Ok(());
            }
            batch.remove(keys, item.key().map_err(|error| unavailable("read", error))?);
            swept.keys += 1;
        }
        Ok(())
    }

    fn sweep_entries(&self, now: u64, swept: &mut Swept) -> Result<(), Error> {
        let (first, last) = (key::expiry(self.number, 0, 0, b""), key::expiry(self.number, now, u8::MAX, b""));
        let due = self.shared.keyspaces.expiries.range(first..last).take(SWEEP_ENTRIES_MAX);
        let due: Vec<_> =
            due.map(|item| item.key().map_err(|error| unavailable("read", error))).collect::<Result<_, _>>()?;
        if due.is_empty() {
            return Ok(());
        }
        swept.more |= due.len() == SWEEP_ENTRIES_MAX;
        // Under the fence, so that no commit replaces an entry between the look at it and its removal.
        self.shared.fenced([self.ticket()], || {
            let keyspaces = &self.shared.keyspaces;
            let mut batch = OwnedWriteBatch::with_capacity(self.shared.database.clone(), due.len() * 2);
            for expiry in due {
                let (expires_ms, entry) = key::expiry_of(&expiry)?;
                let found = keyspaces.entries.get(&entry).map_err(|error| unavailable("read", error))?;
                if let Some(value) = found
                    && split(&entry, bytes_of(value))?.0 == expires_ms
                {
                    batch.remove(&keyspaces.entries, entry);
                    swept.entries += 1;
                }
                batch.remove(&keyspaces.expiries, expiry);
            }
            self.shared.write(batch, None)
        })
    }
}

impl Shared {
    /// Drops the tombstones of `open` once enough of them were written out. Somebody else may be at it already.
    pub(super) fn compact_open(&self) -> Result<(), Error> {
        let Ok(mut tables) = self.open_tables.try_lock() else { return Ok(()) };
        let open = &self.keyspaces.open;
        if open.table_count() < *tables + OPEN_TABLES_GAIN_MAX.max(*tables) {
            return Ok(());
        }
        open.major_compact().map_err(|error| unavailable("compact", error))?;
        *tables = open.table_count();
        Ok(())
    }
}
