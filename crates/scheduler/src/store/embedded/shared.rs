//! One open database: its keyspaces, its fences, and the commit.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch, PersistMode};

use super::{
    batch::Batch,
    key,
    rotation::{MEMTABLE_BYTES_NEVER, Rotation},
};
use crate::store::{
    Error, Ticket, Write,
    error::{corrupt, unavailable},
};

/// Values in `blobs` and `entries` from this size on are kept out of compaction.
const BLOB_SEPARATION_MIN: u32 = 4 * 1024;
/// Layout of the keys. A database with another one is refused.
const LAYOUT: u8 = 2;

/// One open database.
pub(super) struct Shared {
    pub(super) database: Database,
    pub(super) keyspaces: Keyspaces,
    /// Tables of `open` after the last whole compaction.
    pub(super) open_tables: Mutex<usize>,
    meta: Keyspace,
    /// Who may write to which partition. Held locked during a commit, so that an opening waits for it.
    fences: Mutex<HashMap<u32, Newest>>,
    /// A write failed: what is on disk is known only after opening it again.
    broken: Arc<AtomicBool>,
    rotation: Rotation,
}

/// The latest opening of a partition.
#[derive(Debug, Clone, Copy)]
struct Newest {
    epoch: u64,
    /// `None` until this process opened it.
    opening: Option<u64>,
}

impl Shared {
    pub(super) fn open(database: Database) -> Result<Self, Error> {
        let meta = database
            .keyspace("meta", KeyspaceCreateOptions::default)
            .map_err(|error| unavailable("open its records", error))?;
        let keyspaces = Keyspaces::open(&database).map_err(|error| unavailable("open its keyspaces", error))?;
        let broken = Arc::new(AtomicBool::new(false));
        let all = keyspaces.all().into_iter().cloned().collect();
        let rotation =
            Rotation::start(all, Arc::clone(&broken)).map_err(|error| unavailable("start its thread", error))?;
        let shared = Self {
            database,
            keyspaces,
            open_tables: Mutex::new(0),
            meta,
            fences: Mutex::new(HashMap::new()),
            broken,
            rotation,
        };
        shared.check_layout()?;
        Ok(shared)
    }

    /// Refuses a database whose keys are made in another way; marks a new one.
    fn check_layout(&self) -> Result<(), Error> {
        let found = self.meta.get("layout").map_err(|error| self.failed("read its layout", error))?;
        match found.as_deref() {
            Some([LAYOUT]) => Ok(()),
            None if self.meta.is_empty().map_err(|error| self.failed("read its layout", error))? => {
                let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
                batch.insert(&self.meta, "layout", [LAYOUT]);
                batch.commit().map_err(|error| self.failed("record its layout", error))
            }
            _ => Err(corrupt(
                "layout",
                &format!("the folder was made by another version; this one reads layout {LAYOUT}"),
            )),
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// Lets `opening` write to a partition, and nobody else from now on.
    pub(super) fn admit(&self, partition: u32, epoch: u64, opening: u64) -> Result<(), Error> {
        let mut fences = self.fences();
        let newest = self.newest(&mut fences, partition)?;
        if epoch < newest.epoch {
            return Err(Error::Fenced { partition, epoch, newest: newest.epoch });
        }
        self.record_epoch(partition, epoch)?;
        fences.insert(partition, Newest { epoch, opening: Some(opening) });
        Ok(())
    }

    /// Moves the latest opening to a newer epoch.
    pub(super) fn advance(&self, ticket: Ticket, epoch: u64) -> Result<(), Error> {
        let partition = ticket.partition;
        let mut fences = self.fences();
        let newest = self.check(&mut fences, ticket)?;
        if epoch < newest.epoch {
            return Err(Error::Fenced { partition, epoch, newest: newest.epoch });
        }
        self.record_epoch(partition, epoch)?;
        fences.insert(partition, Newest { epoch, ..newest });
        Ok(())
    }

    pub(super) fn newest_epoch(&self, partition: u32) -> Result<u64, Error> {
        self.newest(&mut self.fences(), partition).map(|newest| newest.epoch)
    }

    /// Makes the batches of several partitions durable, unless one of them was opened again.
    pub(super) fn commit(&self, parts: &[(Ticket, &[Write])]) -> Result<(), Error> {
        let writes = parts.iter().map(|(_, writes)| writes.len()).sum::<usize>();
        if writes == 0 {
            return Ok(());
        }
        let mut batch = Batch::new(self, writes);
        for (ticket, writes) in parts {
            for write in *writes {
                batch.put(ticket.partition, write);
            }
        }
        let batch = batch.finish();
        self.fenced(parts.iter().map(|(ticket, _)| *ticket), || self.write(batch, Some(PersistMode::SyncData)))
    }

    /// Calls `write` unless a partition was opened again; none is opened while it runs.
    pub(super) fn fenced<T>(
        &self,
        tickets: impl IntoIterator<Item = Ticket>,
        write: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut fences = self.fences();
        for ticket in tickets {
            self.check(&mut fences, ticket)?;
        }
        write()
    }

    /// Writes a batch whose fence was checked.
    pub(super) fn write(&self, batch: OwnedWriteBatch, mode: Option<PersistMode>) -> Result<(), Error> {
        batch.durability(mode).commit().map_err(|error| self.failed("commit", error))?;
        self.rotation.look(self.keyspaces.all().into_iter());
        Ok(())
    }

    fn check(&self, fences: &mut HashMap<u32, Newest>, ticket: Ticket) -> Result<Newest, Error> {
        let newest = self.newest(fences, ticket.partition)?;
        // Openings are counted in one process, which the lock on the folder makes the only one.
        if newest.opening == Some(ticket.opening) {
            return Ok(newest);
        }
        Err(Error::Fenced { partition: ticket.partition, epoch: ticket.epoch, newest: newest.epoch })
    }

    /// The fence of a partition; at first its epoch is the one on record.
    fn newest(&self, fences: &mut HashMap<u32, Newest>, partition: u32) -> Result<Newest, Error> {
        if let Some(newest) = fences.get(&partition) {
            return Ok(*newest);
        }
        let key = key::epoch(partition);
        let stored = self.meta.get(&key).map_err(|error| self.failed("read an epoch", error))?;
        let epoch = stored.map(|bytes| <[u8; 8]>::try_from(&bytes[..])).transpose();
        let epoch = epoch.map_err(|_| corrupt(&key, &"not an epoch"))?.map_or(0, u64::from_le_bytes);
        let newest = Newest { epoch, opening: None };
        fences.insert(partition, newest);
        Ok(newest)
    }

    fn fences(&self) -> MutexGuard<'_, HashMap<u32, Newest>> {
        self.fences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record_epoch(&self, partition: u32, epoch: u64) -> Result<(), Error> {
        let mut batch = self.database.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&self.meta, key::epoch(partition), epoch.to_le_bytes());
        batch.commit().map_err(|error| self.failed("record an epoch", error))
    }

    /// Marks the database as failed, and wraps the error.
    pub(super) fn failed(&self, what: &'static str, error: fjall::Error) -> Error {
        self.broken.store(true, Ordering::Release);
        unavailable(what, error)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// What is kept, by kind.
pub(super) struct Keyspaces {
    pub(super) open: Keyspace,
    pub(super) done: Keyspace,
    pub(super) blobs: Keyspace,
    pub(super) keys: Keyspace,
    pub(super) logs: Keyspace,
    pub(super) entries: Keyspace,
    pub(super) expiries: Keyspace,
}

impl Keyspaces {
    fn all(&self) -> [&Keyspace; 7] {
        let Self { open, done, blobs, keys, logs, entries, expiries } = self;
        [open, done, blobs, keys, logs, entries, expiries]
    }

    fn open(database: &Database) -> fjall::Result<Self> {
        let hot = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES_NEVER);
        let separated =
            || hot().with_kv_separation(Some(KvSeparationOptions::default().separation_threshold(BLOB_SEPARATION_MIN)));
        Ok(Self {
            open: database.keyspace("open", hot)?,
            done: database.keyspace("done", hot)?,
            blobs: database.keyspace("blobs", separated)?,
            keys: database.keyspace("keys", hot)?,
            logs: database.keyspace("logs", hot)?,
            entries: database.keyspace("entries", separated)?,
            expiries: database.keyspace("expiries", hot)?,
        })
    }
}
