//! Removing old tasks from the open partitions, from time to time.

use std::sync::Arc;

use crate::{clock::millis, routing::Routes, shell::Parts, store::PartitionStore};

/// Sweeps of one partition in a row before the next one has its turn.
const SWEEPS_IN_A_ROW_MAX: usize = 1_000;

/// Sweeps for ever.
pub(super) async fn run(routes: Arc<Routes>, parts: Parts) {
    loop {
        tokio::time::sleep(parts.settings.sweep_interval).await;
        for home in routes.homes() {
            sweep(home.store(), &parts).await;
        }
    }
}

async fn sweep(store: &Arc<dyn PartitionStore>, parts: &Parts) {
    let retention = millis(parts.settings.retention);
    for _ in 0..SWEEPS_IN_A_ROW_MAX {
        let (store, now) = (Arc::clone(store), parts.clock.now());
        let swept = tokio::task::spawn_blocking(move || store.sweep(now, now.saturating_sub(retention)));
        match swept.await {
            Ok(Ok(swept)) => {
                if swept.tasks > 0 {
                    tracing::debug!(tasks = swept.tasks, keys = swept.keys, entries = swept.entries, "swept");
                }
                if !swept.more {
                    return;
                }
            }
            Ok(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "sweep failed");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "sweep panicked");
                return;
            }
        }
    }
}
