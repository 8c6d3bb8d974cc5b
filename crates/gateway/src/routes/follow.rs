//! Follows the store and tells the data plane what is in force.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use mcp_coord::{Coordinator, WatchStream, keys};
use mcp_proto::gateway::v1::RecordProblem;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{compiled::CompiledRoute, known::Known, table::RouteTable};

/// Wait before a watch that could not be opened, or that ended, is opened again; it varies by half.
const WATCH_BACKOFF: Duration = Duration::from_millis(500);
/// Most changes that are taken together before they are published.
const CHANGES_PER_PUBLISH_MAX: usize = 1_000;

/// Longest pause after a table was published; a change waits no longer for it.
const PAUSE_MAX: Duration = Duration::from_millis(30);

/// What is in force at one moment.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// The routes.
    pub(crate) table: Arc<RouteTable>,
    /// Records that cannot be used.
    pub(crate) problems: Vec<RecordProblem>,
    /// Records of routes and of policies, usable or not.
    pub(crate) counts: (usize, usize),
    /// True once the store was read whole.
    pub(crate) is_synced: bool,
}

/// A handle on what is in force. Clones share one watch, which ends when the last of them is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    view: watch::Receiver<Arc<View>>,
    /// Handles may outlive the task that writes, on another runtime.
    _sender: Arc<watch::Sender<Arc<View>>>,
    _watch: Arc<DropGuard>,
}

impl Routes {
    /// Follows the routes of `cluster`. It returns at once, with none known.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub(crate) fn start(coord: Arc<dyn Coordinator>, cluster: &str, default: Arc<CompiledRoute>) -> Self {
        let (sender, view) = watch::channel(Arc::new(View::default()));
        let sender = Arc::new(sender);
        let known = Known::new(keys::routes(cluster), keys::policies(cluster), default);
        let prefixes = [keys::routes(cluster), keys::policies(cluster)];
        let stop = CancellationToken::new();
        let (stopped, writer) = (stop.clone(), Arc::clone(&sender));
        tokio::spawn(async move { stopped.run_until_cancelled(run(coord, prefixes, known, &writer)).await });
        Self { view, _sender: sender, _watch: Arc::new(stop.drop_guard()) }
    }

    /// What is in force now.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// Waits until the store was read whole; returns at once ever after.
    pub(crate) async fn synced(&mut self) {
        self.view.wait_for(|view| view.is_synced).await.expect("the sender lives as long as its handles");
    }

    /// Waits for the next change after the one that this handle saw last.
    ///
    /// # Cancellation
    /// Nothing is lost: the next call returns at once if a change came in between.
    pub(crate) async fn changed(&mut self) {
        self.view.changed().await.expect("the sender lives as long as its handles");
    }
}

/// Follows the keys for ever. By their contract watches never end; if one does, a new one brings a snapshot.
async fn run(coord: Arc<dyn Coordinator>, prefixes: [String; 2], mut known: Known, view: &watch::Sender<Arc<View>>) {
    let [routes, policies] = &prefixes;
    loop {
        let (mut routes, mut policies) = tokio::join!(open(&*coord, routes), open(&*coord, policies));
        follow(&mut routes, &mut policies, &mut known, view).await;
        tracing::warn!("a watch on the routes ended: opening another");
        wait().await;
    }
}

async fn open(coord: &dyn Coordinator, prefix: &str) -> WatchStream {
    loop {
        match coord.watch(prefix).await {
            Ok(changes) => return changes,
            Err(error) => tracing::debug!(%error, prefix, "the routes cannot be watched yet"),
        }
        wait().await;
    }
}

async fn wait() {
    sleep(WATCH_BACKOFF.mul_f64(rand::random_range(0.5..=1.5))).await;
}

async fn follow(
    routes: &mut WatchStream,
    policies: &mut WatchStream,
    known: &mut Known,
    view: &watch::Sender<Arc<View>>,
) {
    loop {
        let was_synced = known.is_synced();
        let mut changed = tokio::select! {
            // First: a route may name a policy that came with it.
            biased;
            change = policies.next() => match change {
                Some(change) => known.apply_policy(change),
                None => return,
            },
            change = routes.next() => match change {
                Some(change) => known.apply_route(change),
                None => return,
            },
        };
        for _ in 1..CHANGES_PER_PUBLISH_MAX {
            if let Some(Some(change)) = policies.next().now_or_never() {
                changed |= known.apply_policy(change);
            } else if let Some(Some(change)) = routes.next().now_or_never() {
                changed |= known.apply_route(change);
            } else {
                break;
            }
        }
        if known.is_synced() && (changed || !was_synced) {
            let started = Instant::now();
            let (table, problems, counts) = (Arc::new(known.table()), known.problems(), known.counts());
            let before = view.send_replace(Arc::new(View { table, problems, counts, is_synced: true }));
            // A table of thousands takes a while: when one change follows the other, half of the time is left to others.
            sleep(started.elapsed().min(PAUSE_MAX)).await;
            // By now the data plane has let go of the one before, whose end takes a while too.
            drop(before);
        }
    }
}
