//! The loop that follows the watches and publishes the view.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use mcp_coord::{Coordinator, WatchStream, keys};
use rand::Rng as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::view::View;

/// First and longest pause before a watch is tried again.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_secs(2);

/// Follows the schedulers and the owners of the partitions of `cluster` for ever. `lease_ttl` is how long a registration
/// outlives its instance.
pub(crate) async fn follow(
    coord: Arc<dyn Coordinator>,
    cluster: String,
    service: &'static str,
    lease_ttl: Duration,
    views: watch::Sender<Arc<View>>,
) {
    let (members, owners) = (keys::service(&cluster, service), keys::partitions(&cluster));
    let mut view = View::default();
    let (mut of_members, mut of_owners) = tokio::join!(open(&*coord, &members), open(&*coord, &owners));
    loop {
        // A watch never ends, by its contract; should one do so, another brings a snapshot.
        let changed = tokio::select! {
            change = of_members.next() => match change {
                Some(change) => view.change_members(change, &members, Instant::now()),
                None => { of_members = open(&*coord, &members).await; false }
            },
            change = of_owners.next() => match change {
                Some(change) => view.change_owners(change, &owners, Instant::now(), lease_ttl),
                None => { of_owners = open(&*coord, &owners).await; false }
            },
        };
        if changed {
            views.send_replace(Arc::new(view.clone()));
        }
    }
}

async fn open(coord: &dyn Coordinator, prefix: &str) -> WatchStream {
    let mut pause = PAUSE.start;
    loop {
        match coord.watch(prefix).await {
            Ok(changes) => return changes,
            Err(error) => tracing::debug!(%error, prefix, "cannot be watched yet"),
        }
        let jitter = rand::rng().random_range(0.5..1.0);
        sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(PAUSE.end);
    }
}
