//! What is at hand is not read: a read for each task would cost more than everything else that is done for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use mcp_engine::Outcome;
use mcp_proto::{TaskId, scheduler::v1::LogLine};

use super::*;
use crate::store::{
    self, ListQuery, Loaded, LogEnd, Page, Part, PartitionStore, Stored, Swept, Table, Ticket, ToRun, Write,
};
use crate::validate::WatchFilter;

/// A store that counts the tasks that are read.
#[derive(Debug)]
struct Counting {
    store: EmbeddedStore,
    reads: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct CountingPartition {
    partition: Arc<dyn PartitionStore>,
    reads: Arc<AtomicUsize>,
}

impl Store for Counting {
    fn open(&self, partition: u32, epoch: u64) -> Result<Arc<dyn PartitionStore>, store::Error> {
        let partition = self.store.open(partition, epoch)?;
        Ok(Arc::new(CountingPartition { partition, reads: Arc::clone(&self.reads) }))
    }

    fn commit(&self, parts: &[Part<'_>]) -> Result<(), store::Error> {
        parts.iter().try_for_each(|part| part.partition.commit(part.writes))
    }

    fn newest_epoch(&self, partition: u32) -> Result<u64, store::Error> {
        self.store.newest_epoch(partition)
    }
}

impl PartitionStore for CountingPartition {
    fn get(&self, id: TaskId) -> Result<Option<Stored>, store::Error> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.partition.get(id)
    }

    fn to_run(&self, ids: &[TaskId], bytes_max: usize) -> Result<Vec<Option<ToRun>>, store::Error> {
        self.reads.fetch_add(ids.len(), Ordering::Relaxed);
        self.partition.to_run(ids, bytes_max)
    }

    fn ticket(&self) -> Ticket {
        self.partition.ticket()
    }

    fn advance(&self, epoch: u64) -> Result<(), store::Error> {
        self.partition.advance(epoch)
    }

    fn commit(&self, batch: &[Write]) -> Result<(), store::Error> {
        self.partition.commit(batch)
    }

    fn load(&self, now: u64, visit: &mut dyn FnMut(Loaded)) -> Result<(), store::Error> {
        self.partition.load(now, visit)
    }

    fn spec(&self, id: TaskId) -> Result<Option<Bytes>, store::Error> {
        self.partition.spec(id)
    }

    fn list(&self, query: &ListQuery) -> Result<Page, store::Error> {
        self.partition.list(query)
    }

    fn logs(&self, id: TaskId, after_seq: u64, lines_max: usize) -> Result<Vec<LogLine>, store::Error> {
        self.partition.logs(id, after_seq, lines_max)
    }

    fn log_end(&self, id: TaskId) -> Result<LogEnd, store::Error> {
        self.partition.log_end(id)
    }

    fn entry(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, store::Error> {
        self.partition.entry(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, store::Error> {
        self.partition.scan(table, prefix, after, limit)
    }

    fn sweep(&self, now: u64, finished_before: u64) -> Result<Swept, store::Error> {
        self.partition.sweep(now, finished_before)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_is_watched_runs_without_a_read() {
    let folder = tempfile::tempdir().unwrap();
    let reads = Arc::new(AtomicUsize::new(0));
    let store = EmbeddedStore::new(folder.path(), 8 << 20);
    let (handle, end, hub) = start_watched(Arc::new(Counting { store, reads: Arc::clone(&reads) })).await;
    let watch = hub.watch(WatchFilter::default()).unwrap();
    let outbox = Arc::new(Outbox::default());
    let session = handle.join(hello(0), Arc::clone(&outbox)).await.unwrap().session;
    submit(&handle).await; // these two wait before they run
    submit(&handle).await;
    handle.input(Input { slots: 2, ..Input::empty(session) }, 0).await.unwrap();
    submit(&handle).await; // answered after what was said before it
    let dispatches = outbox.take(100).unwrap().unwrap().dispatches;
    assert_eq!(dispatches.len(), 2);
    let ended = |dispatch: &Dispatch| Ended {
        attempt: dispatch.attempt,
        outcome: Outcome::Succeeded,
        error: None,
        output: None,
        exit_code: None,
    };
    let results = dispatches.iter().map(ended).collect();
    handle.input(Input { results, ..Input::empty(session) }, 0).await.unwrap();
    submit(&handle).await;
    assert_eq!(outbox.take(100).unwrap().unwrap().acknowledged.len(), 2);
    assert_eq!(reads.load(Ordering::Relaxed), 0);
    drop(watch);
    handle.stop().await;
    assert!(matches!(tokio::time::timeout(LIMIT, end).await, Ok(Ok(End::Stopped))));
}
