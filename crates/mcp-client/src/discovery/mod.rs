//! Which instances of which services there are, kept up to date by a watch.
//!
//! The reader's side takes no lock: [`Discovery::snapshot`] returns an immutable [`Instances`], and a change puts a
//! new one in its place. While coordination is away the last known instances stay. A snapshot that suddenly shows a
//! service without any instance, as after an outage in which every lease ended, does not wipe the service out: its
//! instances stay for [`EMPTY_SERVICE_HOLD`], in which they can register again, unless a delta removes them.

mod follow;
mod instances;
mod known;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwap;
use mcp_coord::{Coordinator, keys};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use instances::{Instances, plain_name, registered_name};
pub use known::EMPTY_SERVICE_HOLD;

/// A handle on the known instances. Clones share one watch, which ends when the last of them is dropped.
#[derive(Debug, Clone)]
pub struct Discovery {
    shared: Arc<Shared>,
    version: watch::Receiver<u64>,
    _watch: Arc<DropGuard>,
}

/// What the watch writes and the handles read.
#[derive(Debug)]
struct Shared {
    instances: ArcSwap<Instances>,
    undecodable: AtomicU64,
    /// 0 until the first snapshot came, then one more for each change.
    version: watch::Sender<u64>,
}

impl Discovery {
    /// Follows every service registered in `cluster`.
    ///
    /// It returns at once, with no instance known; [`synced`](Self::synced) tells when the first snapshot is there.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(coord: Arc<dyn Coordinator>, cluster: &str) -> Self {
        let (sender, version) = watch::channel(0);
        let shared =
            Arc::new(Shared { instances: ArcSwap::default(), undecodable: AtomicU64::new(0), version: sender });
        let stop = CancellationToken::new();
        let follow = follow::run(coord, keys::services(cluster), Arc::clone(&shared));
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(follow).await });
        Self { shared, version, _watch: Arc::new(stop.drop_guard()) }
    }

    /// The instances as known now. Lock-free; keep it for one decision, not for longer.
    pub fn snapshot(&self) -> Arc<Instances> {
        self.shared.instances.load_full()
    }

    /// Waits for the next change after the one this handle saw last. Each clone remembers its own.
    ///
    /// # Cancellation
    /// Nothing is lost: the next call returns at once if a change came in between.
    pub async fn changed(&mut self) {
        // The sender lives in `shared`, which this handle keeps.
        self.version.changed().await.expect("the sender outlives its handles");
    }

    /// Waits for the first snapshot; returns at once ever after.
    pub async fn synced(&self) {
        let mut version = self.version.clone();
        version.wait_for(|version| *version > 0).await.expect("the sender outlives its handles");
    }

    /// Records that could not be decoded since the start. Each was skipped with a warning.
    pub fn undecodable_records(&self) -> u64 {
        self.shared.undecodable.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Puts new instances in place and wakes those who wait for a change.
    fn publish(&self, instances: Instances) {
        self.instances.store(Arc::new(instances));
        self.version.send_modify(|version| *version += 1);
    }
}
