//! The embedded backend: everything in this process's memory, for `mcp dev` and tests.
//!
//! It has no task of its own. Leases end when their time is over and somebody looks: a call, or a watch, which wakes
//! up for the next end. With a folder, revisions grow over restarts and keys without a lease survive; a leased key
//! does not, because its holder ended with the process.

mod disk;
mod state;
mod watch;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{sync::watch as signal, time::Instant};

use self::{
    disk::Disk,
    state::{Signal, State},
};
use crate::{
    limits,
    model::{Coordinator, Error, Expected, KeyValue, LeaseId, Revision, Snapshot, WatchStream},
};

/// A [`Coordinator`] in this process. Clones share one state.
#[derive(Debug, Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    signal: signal::Sender<Signal>,
    /// Locked before `state`, never the other way round.
    disk: Option<Mutex<Disk>>,
}

impl Embedded {
    /// An empty one that leaves nothing behind.
    pub fn in_memory() -> Self {
        Self::new(State::new(0, Vec::new()), None)
    }

    /// One that keeps its revisions and the keys without a lease in `folder`, which is made when it is missing.
    /// It reads and writes a small file, so it may block for some milliseconds.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the folder cannot be read or written, or another process uses it.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let (disk, keys) = Disk::open(folder)
            .map_err(|error| Error::Unavailable { reason: format!("folder `{}`: {error}", folder.display()) })?;
        Ok(Self::new(State::new(disk.revision_floor(), keys), Some(disk)))
    }

    fn new(state: State, disk: Option<Disk>) -> Self {
        let signal = signal::Sender::new(state.signal());
        Self { shared: Arc::new(Shared { state: Mutex::new(state), signal, disk: disk.map(Mutex::new) }) }
    }

    /// Changes the state, and answers when what must last is on disk.
    async fn write<T>(&self, change: impl FnOnce(&mut State) -> Result<T, Error>) -> Result<T, Error> {
        let (value, old, version) = self.shared.with(|state, _| {
            let old = state.lasting_version();
            change(state).map(|value| (value, old, state.lasting_version()))
        })?;
        if self.shared.disk.is_none() || version == old {
            return Ok(value);
        }
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || shared.persist(version)).await {
            Ok(Ok(())) => Ok(value),
            Ok(Err(error)) => Err(Error::Unavailable { reason: format!("the file cannot be written: {error}") }),
            Err(error) => Err(Error::Unavailable { reason: format!("the file was not written: {error}") }),
        }
    }
}

impl Shared {
    /// Looks at the state as it is now, and wakes the watches when `action` or the time changed it.
    fn with<T>(&self, action: impl FnOnce(&mut State, Instant) -> T) -> T {
        let mut state = self.state();
        let now = Instant::now();
        state.expire(now);
        let value = action(&mut state, now);
        let new = state.signal();
        self.signal.send_if_modified(|old| std::mem::replace(old, new) != new);
        value
    }

    /// Makes the set of lasting keys with this number durable, together with all newer changes.
    fn persist(&self, version: u64) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
        if disk.has(version) {
            return Ok(());
        }
        let (keys, version) = self.state().lasting();
        disk.write(&keys, version)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Coordinator for Embedded {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, Error> {
        limits::check_key(key)?;
        Ok(self.shared.with(|state, _| state.get(key)))
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, Error> {
        limits::check_prefix(prefix)?;
        Ok(self.shared.with(|state, _| state.range(prefix)))
    }

    async fn put(&self, key: &str, value: Bytes, lease: Option<LeaseId>) -> Result<Revision, Error> {
        limits::check_key(key)?;
        limits::check_value(&value)?;
        self.write(|state| state.put(key, value, lease)).await
    }

    async fn delete(&self, key: &str) -> Result<bool, Error> {
        limits::check_key(key)?;
        self.write(|state| Ok(state.delete(key))).await
    }

    async fn compare_and_put(
        &self,
        key: &str,
        expected: Expected,
        value: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        limits::check_key(key)?;
        limits::check_value(&value)?;
        self.write(|state| state.compare_and_put(key, expected, value, lease)).await
    }

    async fn compare_and_delete(&self, key: &str, modified: Revision) -> Result<(), Error> {
        limits::check_key(key)?;
        self.write(|state| state.compare_and_delete(key, modified)).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        let ttl = Duration::from_secs(limits::lease_seconds(ttl)?.into());
        self.shared.with(|state, now| state.grant(ttl, now))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, Error> {
        self.shared.with(|state, now| state.keep_alive(lease, now))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.shared.with(|state, _| state.end(lease));
        Ok(())
    }

    async fn watch(&self, prefix: &str) -> Result<WatchStream, Error> {
        limits::check_prefix(prefix)?;
        Ok(watch::stream(Arc::clone(&self.shared), prefix.to_owned()))
    }
}
