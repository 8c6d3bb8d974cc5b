//! Owning partitions: each is one key in the coordination store, held by one replica.
//!
//! A partition has a seat here (`seat`): a task that claims the key when it is this replica's turn, opens the partition in
//! the loop under the claim's epoch, and hands it over when another replica is preferred for it. Whose turn it is follows
//! from the view of the cluster (`turn`): the live members, ranked by rendezvous hashing.
//!
//! # When coordination is away
//!
//! Without renewals nobody can be sure to be the owner. Stopping then would break the promise that running work goes
//! on, and it is not needed for safety: the store refuses the commits of whoever was superseded. So after a lost
//! ownership a partition goes on under the epoch it has, while the key is claimed again in the background:
//!
//! - claimed again, and nobody opened the partition in between: it moves to the new epoch. No attempt is lost, and no
//!   session breaks. The engine goes on counting tokens under its own epoch; they still only grow, and the next owner's
//!   epoch is greater than both.
//! - somebody else opened it: the next commit is refused, the loop ends, and what is still owned is loaded into a new
//!   one. Workers open new sessions and claim their attempts.
//! - somebody else is seen to own the key: the partition closes and waits for its turn.
//!
//! # Epochs
//!
//! An epoch is the revision at which the key was claimed, or one more than the newest epoch that the store has seen,
//! whichever is greater. So it grows with every opening, also when etcd lost its history and counts from the beginning.

mod count;
mod host;
mod seat;
mod sweep;
mod turn;

use std::{sync::Arc, time::Duration};

use mcp_chassis::server::Readiness;
use mcp_coord::Coordinator;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use host::Host;
pub(crate) use turn::Sharing;

use self::seat::{Desk, Seat};
use crate::{
    cluster::{self, View},
    routing::Routes,
    shell::Parts,
    store::Store,
};

/// Partitions that are loaded at a time.
const LOADS_MAX: usize = 2;
/// How often the store is asked whether it answers, before this replica offers itself as an owner.
const STORE_PROBE_EVERY: Duration = Duration::from_millis(500);

/// What keeps partitions.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// Where calls find what is open.
    pub(crate) routes: Arc<Routes>,
    /// Where tasks are kept.
    pub(crate) store: Arc<dyn Store>,
    /// Whether other replicas keep them there too.
    pub(crate) sharing: Sharing,
    /// What the loop is made of.
    pub(crate) parts: Parts,
    /// Runs the loop.
    pub(crate) host: Host,
    /// Where ownership is claimed.
    pub(crate) coord: Arc<dyn Coordinator>,
    /// Name of the cluster.
    pub(crate) cluster: String,
    /// How long an ownership outlives this process.
    pub(crate) lease_ttl: Duration,
    /// Where the view of the cluster is published.
    pub(crate) views: watch::Sender<Arc<View>>,
    /// Set once this replica can take partitions; alone with its store, once all of them are open.
    pub(crate) readiness: Readiness,
    /// Ends it.
    pub(crate) stop: CancellationToken,
}

impl Keeper {
    /// Keeps partitions until the service stops; then hands them over one by one, or closes them when there is nobody, and
    /// ends the loop.
    ///
    /// # Errors
    /// The cluster has another number of partitions. Nothing was touched then.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let partitions = self.parts.settings.partitions;
        let agreed = count::agree(&*self.coord, &self.cluster, partitions);
        match self.stop.run_until_cancelled(agreed).await {
            Some(agreed) => agreed?,
            None => return Ok(()),
        }
        let (tasks, background) = (TaskTracker::new(), CancellationToken::new());
        let views = self.views.clone();
        let follow =
            cluster::follow(Arc::clone(&self.coord), self.cluster.clone(), crate::SERVICE, self.lease_ttl, views);
        tasks.spawn(background.clone().run_until_cancelled_owned(follow));
        let sweep = sweep::run(Arc::clone(&self.routes), self.parts.clone());
        tasks.spawn(background.clone().run_until_cancelled_owned(sweep));
        let hosting = tasks.spawn(self.host.clone().run(self.parts.clone(), Arc::clone(&self.store)));

        let desk = Arc::new(Desk {
            routes: Arc::clone(&self.routes),
            store: Arc::clone(&self.store),
            sharing: self.sharing,
            clock: self.parts.clock,
            host: self.host.clone(),
            hub: Arc::clone(&self.parts.hub),
            coord: Arc::clone(&self.coord),
            cluster: self.cluster.clone(),
            lease_ttl: self.lease_ttl,
            loads: Semaphore::new(LOADS_MAX),
            hand_overs: Arc::new(Semaphore::new(1)),
            stop: self.stop.clone(),
            tasks: tasks.clone(),
        });
        let seats = TaskTracker::new();
        for partition in 0..partitions {
            seats.spawn(Seat::new(Arc::clone(&desk), partition).run());
        }
        seats.close();
        self.stop.run_until_cancelled(self.get_ready()).await;
        seats.wait().await;
        self.host.stop();
        if let Err(error) = hosting.await {
            tracing::error!(%error, "the loop's keeper failed");
        }
        background.cancel();
        tasks.close();
        tasks.wait().await;
        Ok(())
    }

    /// Shows that this replica can take partitions. With a store of its own it is of use only once they are open here;
    /// with a shared one it must show itself first, since the others hand over only to whom they see.
    async fn get_ready(&self) {
        match self.sharing {
            Sharing::Alone => {
                let mut labels = self.routes.labels();
                while self.routes.homes().len() < usize::from(self.parts.settings.partitions) {
                    if labels.changed().await.is_err() {
                        return;
                    }
                }
            }
            Sharing::Shared => {
                if self.views.subscribe().wait_for(|view| view.is_synced()).await.is_err() {
                    return;
                }
                while !self.store_answers().await {
                    tokio::time::sleep(STORE_PROBE_EVERY).await;
                }
            }
        }
        self.readiness.set_ready(true);
        self.stop.cancelled().await;
    }

    async fn store_answers(&self) -> bool {
        let store = Arc::clone(&self.store);
        let asked = tokio::task::spawn_blocking(move || store.newest_epoch(0).map(drop));
        match timeout(STORE_PROBE_EVERY * 10, asked).await {
            Ok(Ok(Ok(()))) => true,
            Ok(Ok(Err(error))) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the store does not answer yet");
                false
            }
            _ => false,
        }
    }
}
