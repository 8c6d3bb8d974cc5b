//! Closes full memtables, on a thread of its own.
//!
//! fjall would do it by itself, but in two ways that hold up commits:
//!
//! - It asks its workers again with every commit until one of them has time, through the same bounded queue into which
//!   that worker then puts the order to write the memtable out. Under load the queue is full, and the workers wait for
//!   themselves for ever: nothing is written out any more, and memory and journal grow without end. So its own limit is
//!   never reached, and a memtable is closed from here, once.
//! - It frees a memtable that was written out, a few hundred thousand nodes, under the lock that every write needs. So
//!   memtables are held here until nobody else does, and freed under no lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use fjall::{AbstractTree as _, Keyspace};

/// Size at which a memtable is closed and written out.
const MEMTABLE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The limit that fjall is told, beyond what the journal may hold.
pub(super) const MEMTABLE_BYTES_NEVER: u64 = 1 << 40;
/// How often it looks for memtables to free while it holds some.
const FREE_EVERY: Duration = Duration::from_secs(2);

/// The thread, and what wakes it. It ends with this value.
#[derive(Debug)]
pub(super) struct Rotation {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Rotation {
    /// Starts the thread for some keyspaces. When it fails, it sets `broken` and ends.
    pub(super) fn start(keyspaces: Vec<Keyspace>, broken: Arc<AtomicBool>) -> std::io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("store-rotation".to_owned())
            .spawn(move || run(&keyspaces, &woken, &broken))?;
        Ok(Self { wake: Some(wake), thread: Some(thread) })
    }

    /// Looks, after a commit, whether a memtable is full. Never waits.
    pub(super) fn look<'a>(&self, mut keyspaces: impl Iterator<Item = &'a Keyspace>) {
        if keyspaces.any(is_full)
            && let Some(wake) = &self.wake
        {
            // It fails when the thread was woken already.
            wake.try_send(()).ok();
        }
    }
}

impl Drop for Rotation {
    fn drop(&mut self) {
        drop(self.wake.take());
        // The database stays open until the thread has ended.
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn run(keyspaces: &[Keyspace], woken: &Receiver<()>, broken: &AtomicBool) {
    let mut closed = Vec::new();
    loop {
        let look = if closed.is_empty() {
            woken.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            woken.recv_timeout(FREE_EVERY)
        };
        match look {
            Ok(()) => {
                for keyspace in keyspaces.iter().filter(|keyspace| is_full(keyspace)) {
                    closed.push(keyspace.tree.active_memtable());
                    if let Err(error) = keyspace.rotate_memtable() {
                        broken.store(true, Ordering::Release);
                        tracing::error!(error = &error as &dyn std::error::Error, "a memtable cannot be closed");
                        return;
                    }
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        closed.retain(|memtable| Arc::strong_count(memtable) > 1);
    }
}

fn is_full(keyspace: &Keyspace) -> bool {
    keyspace.tree.active_memtable().size() >= MEMTABLE_BYTES_MAX
}
