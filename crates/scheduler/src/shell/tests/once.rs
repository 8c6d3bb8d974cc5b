//! The start of a task that runs at most once is durable before its worker hears of it.

use std::sync::Mutex;

use mcp_proto::scheduler::v1::Delivery;

use super::*;
use crate::store::{self, Part, PartitionStore, Write};

/// A store that looks, at every commit, at what the worker was told so far.
#[derive(Debug)]
struct Watching {
    store: EmbeddedStore,
    outbox: Arc<Outbox>,
    /// Of each commit: starts on record with it, and dispatches that were let go before it.
    commits: Mutex<Vec<(usize, usize)>>,
}

impl Store for Watching {
    fn open(&self, partition: u32, epoch: u64) -> Result<Arc<dyn PartitionStore>, store::Error> {
        self.store.open(partition, epoch)
    }

    fn commit(&self, parts: &[Part<'_>]) -> Result<(), store::Error> {
        let writes = parts.iter().flat_map(|part| part.writes);
        let starts =
            writes.filter(|write| matches!(write, Write::Updated { moving, .. } if moving.started_epoch != 0)).count();
        let told = self.outbox.take(100).unwrap();
        let dispatches = told.as_ref().map_or(0, |told| told.dispatches.len());
        if let Some(told) = told {
            self.outbox.put_back(told.dispatches);
        }
        self.commits.lock().unwrap().push((starts, dispatches));
        self.store.commit(parts)
    }

    fn newest_epoch(&self, partition: u32) -> Result<u64, store::Error> {
        self.store.newest_epoch(partition)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_on_record_before_the_worker_hears_of_it() {
    let (folder, outbox) = (tempfile::tempdir().unwrap(), Arc::new(Outbox::default()));
    let store = EmbeddedStore::new(folder.path(), 8 << 20);
    let watching = Arc::new(Watching { store, outbox: Arc::clone(&outbox), commits: Mutex::default() });
    let (handle, end) = start_on(Arc::clone(&watching) as Arc<dyn Store>).await;
    let once = || TaskSpec { delivery: Delivery::AtMostOnce.into(), ..TaskSpec::default() };
    let commits = || watching.commits.lock().unwrap().clone();
    let session = handle.join(hello(1), Arc::clone(&outbox)).await.unwrap().session;
    submit_spec(&handle, once()).await; // submitted and sent out in one batch
    assert_eq!((commits(), dispatched(&outbox)), (vec![(1, 0)], 1));
    submit_spec(&handle, once()).await; // waits
    assert_eq!((commits(), dispatched(&outbox)), (vec![(1, 0), (0, 0)], 0));
    handle.input(Input { slots: 1, ..Input::empty(session) }, 0).await.unwrap();
    submit(&handle).await; // answered after what was said before it
    assert_eq!((commits()[2], dispatched(&outbox)), ((1, 0), 1));
    handle.input(Input { slots: 1, ..Input::empty(session) }, 0).await.unwrap();
    submit(&handle).await;
    let starts: usize = commits().iter().map(|(starts, _)| starts).sum();
    assert_eq!((starts, dispatched(&outbox)), (2, 1), "other tasks leave no start");
    handle.stop().await;
    assert!(matches!(tokio::time::timeout(LIMIT, end).await, Ok(Ok(End::Stopped))));
}
