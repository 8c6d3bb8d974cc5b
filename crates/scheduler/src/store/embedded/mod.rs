//! The embedded backend: one fjall database in a folder, for one machine.
//!
//! Five keyspaces for each partition, so that the hot path is two upserts (and one tombstone) for each task, and so
//! that recovery reads unfinished tasks only:
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `open` | task id | record of an unfinished task |
//! | `done` | task id | record of a finished task |
//! | `blobs` | task id, kind | spec or output too large for the record |
//! | `keys` | forget-at, task id | idempotency key |
//! | `logs` | task id, first line | chunk of log lines |
//!
//! Ids sort by submit time, so all keyspaces are written nearly in key order and compaction has little to do. The
//! exception is `open`: its tombstones would be moved down to the last level and stay there, so the sweep compacts it
//! as a whole once it has grown by some tables; what is really in it is small.
//!
//! The database is locked by the process that has it open; openings are counted inside it, so an older handle is fenced.

mod logs;
mod partition;
mod read;
mod sweep;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use mcp_proto::TaskId;

use self::partition::Partition;
use super::{Error, PartitionStore, Store};

/// Journal on disk after which memtables are written out. Bounds the time a start needs to replay it.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Threads that flush and compact.
const COMPACTION_THREADS: usize = 2;
/// Memtable of the keyspaces on the hot path.
const MEMTABLE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Values in `blobs` from this size on are kept out of compaction.
const BLOB_SEPARATION_MIN: u32 = 4 * 1024;

/// The fjall store in a folder. Cheap to clone handles come from [`Store::open`].
#[derive(Debug)]
pub struct EmbeddedStore {
    folder: PathBuf,
    cache_bytes: u64,
    shared: Mutex<Option<Arc<Shared>>>,
}

impl EmbeddedStore {
    /// A store in `folder`, which is made when it is missing. Nothing is opened yet. `cache_bytes` bounds the block
    /// cache.
    pub fn new(folder: &Path, cache_bytes: u64) -> Self {
        Self { folder: folder.to_owned(), cache_bytes, shared: Mutex::new(None) }
    }

    /// The database, opened again when it failed.
    fn shared(&self) -> Result<Arc<Shared>, Error> {
        let mut slot = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = slot.as_ref().filter(|shared| !shared.broken.load(Ordering::Acquire)) {
            return Ok(Arc::clone(shared));
        }
        // A failed database refuses everything. It can be opened again once the last handle to it is gone.
        *slot = None;
        std::fs::create_dir_all(&self.folder).map_err(|error| unavailable("make its folder", error))?;
        let database = Database::builder(&self.folder)
            .cache_size(self.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(COMPACTION_THREADS)
            .manual_journal_persist(true)
            .open()
            .map_err(|error| unavailable("open", error))?;
        let meta = database
            .keyspace("meta", KeyspaceCreateOptions::default)
            .map_err(|error| unavailable("open its records", error))?;
        let shared =
            Arc::new(Shared { database, meta, fences: Mutex::new(HashMap::new()), broken: AtomicBool::new(false) });
        *slot = Some(Arc::clone(&shared));
        Ok(shared)
    }
}

impl Store for EmbeddedStore {
    fn open(&self, partition: u32, epoch: u64) -> Result<Arc<dyn PartitionStore>, Error> {
        let shared = self.shared()?;
        let fence = shared.fence(partition)?;
        let opening = {
            let mut newest = fence.lock();
            if epoch < newest.epoch {
                return Err(Error::Fenced { epoch, newest: newest.epoch });
            }
            shared.record_epoch(partition, epoch)?;
            newest.epoch = epoch;
            newest.openings += 1;
            newest.openings
        };
        let keyspaces = Keyspaces::open(&shared.database, partition).map_err(|error| shared.failed("open", error))?;
        Ok(Arc::new(Partition::new(shared, partition, fence, epoch, opening, keyspaces)))
    }
}

/// One open database.
struct Shared {
    database: Database,
    meta: Keyspace,
    fences: Mutex<HashMap<u32, Arc<Fence>>>,
    /// A write failed: what is on disk is known only after opening it again.
    broken: AtomicBool,
}

impl Shared {
    /// The fence of a partition; at first its epoch is the one on record.
    fn fence(&self, partition: u32) -> Result<Arc<Fence>, Error> {
        let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fence) = fences.get(&partition) {
            return Ok(Arc::clone(fence));
        }
        let stored = self.meta.get(epoch_key(partition)).map_err(|error| self.failed("read its epoch", error))?;
        let epoch = match stored {
            None => 0,
            Some(bytes) => u64::from_le_bytes(
                bytes
                    .as_ref()
                    .try_into()
                    .map_err(|_| Error::Corrupt { key: epoch_key(partition), reason: "not an epoch".to_owned() })?,
            ),
        };
        let fence = Arc::new(Fence(Mutex::new(Newest { epoch, openings: 0 })));
        fences.insert(partition, Arc::clone(&fence));
        Ok(fence)
    }

    fn record_epoch(&self, partition: u32, epoch: u64) -> Result<(), Error> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, epoch_key(partition), epoch.to_le_bytes());
        batch.commit().map_err(|error| self.failed("record the epoch", error))
    }

    /// Marks the database as failed, and wraps the error.
    fn failed(&self, what: &'static str, error: fjall::Error) -> Error {
        self.broken.store(true, Ordering::Release);
        unavailable(what, error)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// Who may write to a partition. Held locked during a commit, so that an opening waits for it.
#[derive(Debug)]
struct Fence(Mutex<Newest>);

impl Fence {
    fn lock(&self) -> std::sync::MutexGuard<'_, Newest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Newest {
    epoch: u64,
    openings: u64,
}

/// The keyspaces of a partition.
struct Keyspaces {
    open: Keyspace,
    done: Keyspace,
    blobs: Keyspace,
    keys: Keyspace,
    logs: Keyspace,
}

impl Keyspaces {
    fn open(database: &Database, partition: u32) -> fjall::Result<Self> {
        let hot = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_MAX);
        let separated =
            || hot().with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(BLOB_SEPARATION_MIN)));
        let name = |kind: &str| format!("p{partition}-{kind}");
        Ok(Self {
            open: database.keyspace(&name("open"), hot)?,
            done: database.keyspace(&name("done"), hot)?,
            blobs: database.keyspace(&name("blobs"), separated)?,
            keys: database.keyspace(&name("keys"), hot)?,
            logs: database.keyspace(&name("logs"), hot)?,
        })
    }
}

/// What is stored apart from a task's record.
#[derive(Debug, Clone, Copy)]
enum Blob {
    Spec = 0,
    Output = 1,
}

fn epoch_key(partition: u32) -> String {
    format!("epoch-{partition}")
}

fn task_key(id: TaskId) -> [u8; 16] {
    id.as_u128().to_be_bytes()
}

/// The id at the beginning of a key.
fn task_of(key: &[u8]) -> Result<TaskId, Error> {
    let bytes = key.get(..16).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    bytes
        .map(|bytes| TaskId::from_u128(u128::from_be_bytes(bytes)))
        .ok_or_else(|| Error::Corrupt { key: format!("{key:02x?}"), reason: "shorter than a task id".to_owned() })
}

fn blob_key(id: TaskId, blob: Blob) -> [u8; 17] {
    let mut key = [0; 17];
    key[..16].copy_from_slice(&task_key(id));
    key[16] = blob as u8;
    key
}

fn log_key(id: TaskId, first_seq: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&task_key(id));
    key[16..].copy_from_slice(&first_seq.to_be_bytes());
    key
}

fn key_key(forget_at: u64, id: TaskId) -> [u8; 24] {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&forget_at.to_be_bytes());
    key[8..].copy_from_slice(&task_key(id));
    key
}

fn unavailable(what: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Unavailable { what, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::EmbeddedStore;
    use crate::store::Store;

    /// Opens the store in one folder, which lives as long as the function.
    fn stores() -> impl FnMut() -> Arc<dyn Store> {
        let folder = tempfile::tempdir().unwrap();
        move || Arc::new(EmbeddedStore::new(folder.path(), 8 * 1024 * 1024))
    }

    crate::store_conformance!(conformance, super::stores());
}
