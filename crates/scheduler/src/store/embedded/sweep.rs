//! Retention: removes old finished tasks, their logs, and forgotten idempotency keys, a little at a time.

use std::sync::{PoisonError, atomic::Ordering};

use fjall::OwnedWriteBatch;
use mcp_proto::TaskId;

use super::{Blob, blob_key, key_key, log_key, partition::Partition, task_key, task_of, unavailable};
use crate::store::{Error, Stored, Swept};

/// Most tasks that one sweep looks at.
const SWEEP_TASKS_MAX: usize = 1_000;
/// Most records that one sweep removes.
const SWEEP_RECORDS_MAX: usize = 10_000;
/// Tables that `open` may gain before it is compacted as a whole.
const OPEN_TABLES_GAIN_MAX: usize = 8;

impl Partition {
    pub(super) fn sweep_some(&self, now: u64, finished_before: u64) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let mut batch = self.batch(0);
        self.sweep_tasks(finished_before, &mut batch, &mut swept)?;
        self.sweep_keys(now, &mut batch, &mut swept)?;
        if !batch.is_empty() {
            // Not synced: what a crash brings back is swept again.
            self.write(batch, None)?;
        }
        Ok(swept)
    }

    fn sweep_tasks(&self, finished_before: u64, batch: &mut OwnedWriteBatch, swept: &mut Swept) -> Result<(), Error> {
        let mut at = self.sweep_at.lock().unwrap_or_else(PoisonError::into_inner);
        let from = at.map_or([0; 16], task_key);
        *at = None; // the next round begins at the oldest, unless this one stops before the end
        for (looked_at, item) in self.keyspaces.done.range(from..).enumerate() {
            let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
            let id = task_of(&key)?;
            if id.unix_ms() >= finished_before {
                return Ok(()); // submitted later, so finished later, and so is all that follows
            }
            if looked_at == SWEEP_TASKS_MAX || batch.len() >= SWEEP_RECORDS_MAX {
                *at = Some(id);
                swept.more = true;
                return Ok(());
            }
            let task = Stored::decode(id, &bytes::Bytes::from_owner(value))?;
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
        let keyspaces = &self.keyspaces;
        for item in keyspaces.logs.range(log_key(task.id, 0)..=log_key(task.id, u64::MAX)) {
            if batch.len() >= SWEEP_RECORDS_MAX {
                return Ok(false);
            }
            batch.remove(&keyspaces.logs, item.key().map_err(|error| unavailable("read", error))?);
        }
        if task.fixed.is_brief() {
            batch.remove(&keyspaces.blobs, blob_key(task.id, Blob::Spec));
        }
        if task.moving.output_apart {
            batch.remove(&keyspaces.blobs, blob_key(task.id, Blob::Output));
        }
        batch.remove(&keyspaces.done, task_key(task.id));
        Ok(true)
    }

    fn sweep_keys(&self, now: u64, batch: &mut OwnedWriteBatch, swept: &mut Swept) -> Result<(), Error> {
        let end = key_key(now.saturating_add(1), TaskId::from_u128(0));
        for item in self.keyspaces.keys.range(..end) {
            if batch.len() >= SWEEP_RECORDS_MAX {
                swept.more = true;
                return Ok(());
            }
            batch.remove(&self.keyspaces.keys, item.key().map_err(|error| unavailable("read", error))?);
            swept.keys += 1;
        }
        Ok(())
    }

    /// Drops the tombstones of `open` once enough of them were written out.
    pub(super) fn compact_open(&self) -> Result<(), Error> {
        let open = &self.keyspaces.open;
        if open.table_count() < self.open_tables.load(Ordering::Relaxed) + OPEN_TABLES_GAIN_MAX {
            return Ok(());
        }
        open.major_compact().map_err(|error| unavailable("compact", error))?;
        self.open_tables.store(open.table_count(), Ordering::Relaxed);
        Ok(())
    }
}
