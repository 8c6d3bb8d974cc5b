//! The embedded backend: one fjall database in a folder, for one machine.
//!
//! Seven keyspaces, so that the hot path is two upserts (and one tombstone) for each task, and so that recovery reads
//! unfinished tasks only. Every key begins with its partition:
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `open` | task id | record of an unfinished task |
//! | `done` | task id | record of a finished task |
//! | `blobs` | task id, kind | spec or output too large for the record |
//! | `keys` | forget-at, task id | idempotency key |
//! | `logs` | task id, first line | chunk of log lines |
//! | `entries` | table, key | expiry, value |
//! | `expiries` | expiry, table, key | nothing |
//!
//! The partitions share the keyspaces, because each keyspace has memtables of its own.
//!
//! Ids sort by submit time, so within a partition all keyspaces are written nearly in key order. `open` is special: its
//! tombstones would be moved down to the last level and stay there, so the sweep compacts it as a whole once it has
//! grown by some tables; what is really in it is small.
//!
//! Replacing or deleting an entry leaves its expiry behind, so that a write reads nothing. The sweep removes an entry
//! only when its own expiry has come.
//!
//! The database is locked by the process that has it open; openings are counted inside it, so an older handle is fenced.

mod batch;
mod entries;
mod key;
mod logs;
mod partition;
mod read;
mod rotation;
mod shared;
mod sweep;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use fjall::Database;

use self::{partition::Partition, shared::Shared};
use super::{Error, Part, PartitionStore, Store, error::unavailable};

/// Journal on disk after which memtables are written out. Bounds the time a start needs to replay it, and what all
/// memtables hold together.
const JOURNAL_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Threads that flush and compact.
const COMPACTION_THREADS: usize = 2;

/// The fjall store in a folder. Cheap to clone handles come from [`Store::open`].
#[derive(Debug)]
pub struct EmbeddedStore {
    folder: PathBuf,
    cache_bytes: u64,
    shared: Mutex<Option<Arc<Shared>>>,
    /// Goes on over a reopening of the database, so that no handle from before passes a fence.
    openings: AtomicU64,
}

impl EmbeddedStore {
    /// A store in `folder`, which is made when it is missing. Nothing is opened yet. `cache_bytes` bounds the block
    /// cache.
    pub fn new(folder: &Path, cache_bytes: u64) -> Self {
        Self { folder: folder.to_owned(), cache_bytes, shared: Mutex::new(None), openings: AtomicU64::new(0) }
    }

    /// The database, opened again when it failed.
    fn shared(&self) -> Result<Arc<Shared>, Error> {
        let mut slot = self.slot();
        if let Some(shared) = slot.as_ref().filter(|shared| !shared.is_broken()) {
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
        let shared = Arc::new(Shared::open(database)?);
        *slot = Some(Arc::clone(&shared));
        Ok(shared)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Shared>>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for EmbeddedStore {
    fn open(&self, partition: u32, epoch: u64) -> Result<Arc<dyn PartitionStore>, Error> {
        let shared = self.shared()?;
        let opening = self.openings.fetch_add(1, Ordering::Relaxed);
        shared.admit(partition, epoch, opening)?;
        Ok(Arc::new(Partition::new(shared, partition, epoch, opening)))
    }

    fn commit(&self, parts: &[Part<'_>]) -> Result<(), Error> {
        if parts.iter().all(|part| part.writes.is_empty()) {
            return Ok(());
        }
        let shared = self.slot().clone();
        let shared = shared.ok_or_else(|| unavailable("commit", "the database is not open"))?;
        let parts: Vec<_> = parts.iter().map(|part| (part.partition.ticket(), part.writes)).collect();
        shared.commit(&parts)
    }

    fn newest_epoch(&self, partition: u32) -> Result<u64, Error> {
        self.shared()?.newest_epoch(partition)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::Arc,
        thread,
        time::{Duration, Instant},
    };

    use bytes::Bytes;

    use super::EmbeddedStore;
    use crate::store::{Entry, Store, Table, Write};

    /// Opens the store in one folder, which lives as long as the function.
    fn stores() -> impl FnMut() -> Arc<dyn Store> {
        let folder = tempfile::tempdir().unwrap();
        move || Arc::new(EmbeddedStore::new(folder.path(), 8 * 1024 * 1024))
    }

    crate::store_conformance!(conformance, super::stores());

    /// More than fills some memtables, while nobody waits for them to be written out.
    #[test]
    fn full_memtables_are_written_out_and_the_database_can_be_opened_again() {
        const COMMITS: u32 = 220;
        let folder = tempfile::tempdir().unwrap();
        let value = Bytes::from(vec![7; 500_000]);
        let keys = |n: u32| Bytes::copy_from_slice(&n.to_be_bytes());
        {
            let store = EmbeddedStore::new(folder.path(), 8 * 1024 * 1024);
            let partition = store.open(0, 1).unwrap();
            for n in 0..COMMITS {
                let entry = Entry { table: Table::Fire, key: keys(n), value: value.clone(), expires_ms: 0 };
                partition.commit(&[Write::Put(entry)]).unwrap();
            }
            let entries = store.slot().clone().unwrap().keyspaces.entries.clone();
            let deadline = Instant::now() + Duration::from_secs(60);
            while entries.table_count() == 0 {
                assert!(Instant::now() < deadline, "nothing was written out");
                thread::yield_now();
            }
        }
        let store = EmbeddedStore::new(folder.path(), 8 * 1024 * 1024);
        let partition = store.open(0, 2).unwrap();
        for n in [0, COMMITS / 2, COMMITS - 1] {
            assert_eq!(partition.entry(Table::Fire, &keys(n)).unwrap().as_ref(), Some(&value), "{n}");
        }
    }
}
