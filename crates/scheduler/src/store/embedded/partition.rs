//! A handle to one partition: commits and their fence.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use bytes::Bytes;
use fjall::{OwnedWriteBatch, PersistMode};
use mcp_proto::{TaskId, scheduler::v1::LogLine};
use prost::Message as _;

use super::{Blob, Fence, Keyspaces, Newest, Shared, blob_key, key_key, log_key, task_key};
use crate::store::{
    Error, Fixed, ListQuery, Loaded, LogEnd, Moving, Page, PartitionStore, SPEC_INLINE_MAX, Stored, Swept, Write,
    record::KeyValue,
};

/// One opening of one partition.
pub(super) struct Partition {
    pub(super) shared: Arc<Shared>,
    pub(super) keyspaces: Keyspaces,
    /// Where the next sweep goes on; tasks that finished late stay behind it for another round.
    pub(super) sweep_at: Mutex<Option<TaskId>>,
    /// Tables of `open` after the last whole compaction.
    pub(super) open_tables: AtomicUsize,
    number: u32,
    fence: Arc<Fence>,
    opening: u64,
    epoch: AtomicU64,
}

impl Partition {
    pub(super) fn new(
        shared: Arc<Shared>,
        number: u32,
        fence: Arc<Fence>,
        epoch: u64,
        opening: u64,
        keyspaces: Keyspaces,
    ) -> Self {
        let (open_tables, epoch) = (AtomicUsize::new(0), AtomicU64::new(epoch));
        Self { shared, keyspaces, sweep_at: Mutex::new(None), open_tables, number, fence, opening, epoch }
    }

    /// An empty batch of writes with room for `len`.
    pub(super) fn batch(&self, len: usize) -> OwnedWriteBatch {
        OwnedWriteBatch::with_capacity(self.shared.database.clone(), len)
    }

    /// Writes a batch unless the partition was opened again.
    pub(super) fn write(&self, batch: OwnedWriteBatch, mode: Option<PersistMode>) -> Result<(), Error> {
        let newest = self.fence.lock();
        self.check(&newest)?;
        batch.durability(mode).commit().map_err(|error| self.shared.failed("commit", error))
    }

    fn check(&self, newest: &Newest) -> Result<(), Error> {
        // Openings are counted in one process, which the lock on the folder makes the only one.
        if newest.openings == self.opening {
            return Ok(());
        }
        Err(Error::Fenced { epoch: self.epoch.load(Ordering::Relaxed), newest: newest.epoch })
    }

    fn put(&self, batch: &mut OwnedWriteBatch, scratch: &mut Vec<u8>, write: &Write) {
        let Keyspaces { open, done, blobs, keys, logs } = &self.keyspaces;
        match write {
            Write::Submitted { id, fixed, whole, moving, key } => {
                batch.insert(open, task_key(*id), record(scratch, fixed, moving));
                if let Some(whole) = whole {
                    batch.insert(blobs, blob_key(*id, Blob::Spec), &whole[..]);
                }
                if let Some(key) = key {
                    let value = KeyValue {
                        namespace: key.namespace.clone(),
                        queue: key.queue.clone(),
                        key: key.key.clone(),
                        body_hash: key.body_hash,
                    };
                    batch.insert(keys, key_key(key.forget_at, key.task), value.encode_to_vec());
                }
            }
            Write::Updated { id, fixed, moving } => {
                batch.insert(open, task_key(*id), record(scratch, fixed, moving));
            }
            Write::Finished { id, fixed, moving } => {
                batch.remove(open, task_key(*id));
                let record = match &moving.output {
                    Some(output) if output.len() > SPEC_INLINE_MAX => {
                        batch.insert(blobs, blob_key(*id, Blob::Output), &output[..]);
                        let apart = Moving { output: None, output_apart: true, ..moving.clone() };
                        record(scratch, fixed, &apart)
                    }
                    _ => record(scratch, fixed, moving),
                };
                batch.insert(done, task_key(*id), record);
            }
            Write::Logs { id, chunk } => {
                let first = chunk.lines.first().map_or(0, |line| line.seq);
                batch.insert(logs, log_key(*id, first), chunk.encode_to_vec());
            }
        }
    }
}

impl PartitionStore for Partition {
    fn advance(&self, epoch: u64) -> Result<(), Error> {
        let mut newest = self.fence.lock();
        self.check(&newest)?;
        if epoch < newest.epoch {
            return Err(Error::Fenced { epoch, newest: newest.epoch });
        }
        self.shared.record_epoch(self.number, epoch)?;
        newest.epoch = epoch;
        self.epoch.store(epoch, Ordering::Relaxed);
        Ok(())
    }

    fn commit(&self, writes: &[Write]) -> Result<(), Error> {
        if writes.is_empty() {
            return Ok(());
        }
        let mut batch = self.batch(writes.len() * 2);
        let mut scratch = Vec::new();
        for write in writes {
            self.put(&mut batch, &mut scratch, write);
        }
        self.write(batch, Some(PersistMode::SyncData))
    }

    fn load(&self, now: u64, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        self.load_all(now, visit)
    }

    fn get(&self, id: TaskId) -> Result<Option<Stored>, Error> {
        self.read_task(id)
    }

    fn spec(&self, id: TaskId) -> Result<Option<Bytes>, Error> {
        self.read_spec(id)
    }

    fn list(&self, query: &ListQuery) -> Result<Page, Error> {
        self.read_page(query)
    }

    fn logs(&self, id: TaskId, after_seq: u64, lines_max: usize) -> Result<Vec<LogLine>, Error> {
        self.read_logs(id, after_seq, lines_max)
    }

    fn log_end(&self, id: TaskId) -> Result<LogEnd, Error> {
        self.read_log_end(id)
    }

    fn sweep(&self, now: u64, finished_before: u64) -> Result<Swept, Error> {
        let swept = self.sweep_some(now, finished_before)?;
        self.compact_open()?;
        Ok(swept)
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition")
            .field("number", &self.number)
            .field("opening", &self.opening)
            .finish_non_exhaustive()
    }
}

/// A task's record, built in `scratch`.
fn record(scratch: &mut Vec<u8>, fixed: &Fixed, moving: &Moving) -> fjall::Slice {
    scratch.clear();
    Stored::encode(fixed, moving, scratch);
    fjall::Slice::from(&scratch[..])
}
