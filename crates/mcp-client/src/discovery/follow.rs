//! The loop that follows the watch and publishes what it tells.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{FutureExt, StreamExt};
use mcp_coord::{Coordinator, WatchStream};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::{Shared, known::Known};

/// First wait after a watch could not be opened.
const WATCH_BACKOFF_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two tries to open a watch.
const WATCH_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Most changes that are taken together before they are published.
const CHANGES_PER_PUBLISH_MAX: usize = 1_000;

/// Follows the keys under `prefix` for ever.
pub(super) async fn run(coord: Arc<dyn Coordinator>, prefix: String, shared: Arc<Shared>) {
    let mut known = Known::default();
    loop {
        let changes = open(&*coord, &prefix).await;
        follow(changes, &mut known, &shared).await;
        // By its contract a watch never ends; if one does, a new one brings a snapshot.
        warn!(prefix, "the watch on the instances ended: opening another");
        sleep(WATCH_BACKOFF_MIN).await;
    }
}

async fn open(coord: &dyn Coordinator, prefix: &str) -> WatchStream {
    let mut waits = ExponentialBuilder::default()
        .with_min_delay(WATCH_BACKOFF_MIN)
        .with_max_delay(WATCH_BACKOFF_MAX)
        .with_jitter()
        .without_max_times()
        .build();
    loop {
        match coord.watch(prefix).await {
            Ok(changes) => return changes,
            Err(error) => debug!(%error, prefix, "the instances cannot be watched yet"),
        }
        sleep(waits.next().unwrap_or(WATCH_BACKOFF_MAX)).await;
    }
}

async fn follow(mut changes: WatchStream, known: &mut Known, shared: &Shared) {
    loop {
        let expiry = known.next_expiry();
        let mut changed = tokio::select! {
            change = changes.next() => match change {
                Some(change) => known.apply(change, Instant::now()),
                None => return,
            },
            () = at(expiry) => known.expire(Instant::now()),
        };
        // What is there already is published together.
        for _ in 1..CHANGES_PER_PUBLISH_MAX {
            match changes.next().now_or_never() {
                Some(Some(change)) => changed |= known.apply(change, Instant::now()),
                Some(None) | None => break,
            }
        }
        shared.undecodable.store(known.undecodable(), Ordering::Relaxed);
        if changed {
            shared.publish(known.instances());
        }
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
