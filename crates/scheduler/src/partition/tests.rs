//! What happens when the store fails or someone else opens it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use mcp_coord::Embedded;
use mcp_proto::{
    Code, TaskId,
    scheduler::v1::{HandlerWork, LogLine, TaskSpec, task_spec::Work},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::*;
use crate::{
    clock::Clock,
    config::Settings,
    hub::Hub,
    metrics::Metrics,
    shell::Accepted,
    store::{EmbeddedStore, ListQuery, Loaded, LogEnd, Page, Stored, Swept, Write},
    validate::Intake,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A store whose next commits can be made to fail.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Store>,
    failures: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct FaultyPartition {
    inner: Arc<dyn PartitionStore>,
    failures: Arc<AtomicUsize>,
}

impl Store for Faulty {
    fn open(&self, partition: u32, epoch: u64) -> Result<Arc<dyn PartitionStore>, store::Error> {
        let inner = self.inner.open(partition, epoch)?;
        Ok(Arc::new(FaultyPartition { inner, failures: Arc::clone(&self.failures) }))
    }
}

impl PartitionStore for FaultyPartition {
    fn commit(&self, batch: &[Write]) -> Result<(), store::Error> {
        let fails = |left: usize| left.checked_sub(1);
        if !batch.is_empty() && self.failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails).is_ok() {
            return Err(store::Error::Unavailable { what: "commit", source: "made to fail".into() });
        }
        self.inner.commit(batch)
    }

    fn advance(&self, epoch: u64) -> Result<(), store::Error> {
        self.inner.advance(epoch)
    }

    fn load(&self, now: u64, visit: &mut dyn FnMut(Loaded)) -> Result<(), store::Error> {
        self.inner.load(now, visit)
    }

    fn get(&self, id: TaskId) -> Result<Option<Stored>, store::Error> {
        self.inner.get(id)
    }

    fn spec(&self, id: TaskId) -> Result<Option<Bytes>, store::Error> {
        self.inner.spec(id)
    }

    fn list(&self, query: &ListQuery) -> Result<Page, store::Error> {
        self.inner.list(query)
    }

    fn logs(&self, id: TaskId, after_seq: u64, lines_max: usize) -> Result<Vec<LogLine>, store::Error> {
        self.inner.logs(id, after_seq, lines_max)
    }

    fn log_end(&self, id: TaskId) -> Result<LogEnd, store::Error> {
        self.inner.log_end(id)
    }

    fn sweep(&self, now: u64, finished_before: u64) -> Result<Swept, store::Error> {
        self.inner.sweep(now, finished_before)
    }
}

struct Fixture {
    partition: Arc<Partition>,
    store: Arc<Faulty>,
    stop: CancellationToken,
    kept: JoinHandle<()>,
    _folder: TempDir,
}

impl Fixture {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Arc::new(Settings::default());
        let inner: Arc<dyn Store> = Arc::new(EmbeddedStore::new(folder.path(), 8 << 20));
        let store = Arc::new(Faulty { inner, failures: Arc::new(AtomicUsize::new(0)) });
        let (partition, stop) = (Partition::new(), CancellationToken::new());
        let keeper = Keeper {
            partition: Arc::clone(&partition),
            store: Arc::<Faulty>::clone(&store),
            parts: Parts { hub: Hub::new(&settings), settings, metrics: Metrics::new(), clock: Clock::start() },
            coord: Arc::new(Embedded::in_memory()),
            key: "partition".to_owned(),
            owner: Bytes::from_static(b"us"),
            lease_ttl: Duration::from_secs(1),
            readiness: Readiness::new(false),
            stop: stop.clone(),
        };
        let kept = tokio::spawn(keeper.run());
        Self { partition, store, stop, kept, _folder: folder }
    }

    async fn submit(&self) -> Result<TaskId, Code> {
        let work = HandlerWork { handler: "h".to_owned(), input: None };
        let spec = TaskSpec { work: Some(Work::Handler(work)), ..TaskSpec::default() };
        let task = Intake::new(0, "").single(Some(spec)).unwrap();
        let accepted = match self.partition.handle() {
            Ok(handle) => handle.submit(vec![task], false).await,
            Err(error) => Err(error),
        };
        accepted.map(|accepted: Vec<Accepted>| accepted[0].id).map_err(|error| mcp_proto::Error::from(error).code())
    }

    /// Submits until it succeeds; gives what was answered before, each answer once.
    async fn submit_in_the_end(&self) -> (TaskId, Vec<Code>) {
        let mut refusals = Vec::new();
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            match self.submit().await {
                Ok(id) => return (id, refusals),
                Err(code) => refusals.push(code),
            }
            refusals.dedup();
            assert!(tokio::time::Instant::now() < deadline, "not served in time: {refusals:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn is_stored(&self, id: TaskId) -> bool {
        self.partition.handle().unwrap().store().get(id).unwrap().is_some()
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(LIMIT, self.kept).await.expect("it stops in time").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_commit_is_never_answered_as_success_and_the_partition_opens_again() {
    let fixture = Fixture::start();
    let (kept, early) = fixture.submit_in_the_end().await;
    assert!(early.iter().all(|code| *code == Code::NotOwner), "{early:?}");
    fixture.store.failures.store(1, Ordering::SeqCst);
    assert_eq!(fixture.submit().await, Err(Code::StoreUnavailable));
    let (later, refusals) = fixture.submit_in_the_end().await;
    assert!(refusals.iter().all(|code| matches!(code, Code::StoreUnavailable | Code::NotOwner)), "{refusals:?}");
    assert!(fixture.is_stored(kept) && fixture.is_stored(later));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_superseded_in_the_store_writes_nothing_more_and_claims_again() {
    let fixture = Fixture::start();
    let (kept, _) = fixture.submit_in_the_end().await;
    let epoch = fixture.store.inner.open(NUMBER, 0).map(drop).unwrap_err();
    let store::Error::Fenced { newest, .. } = epoch else { panic!("{epoch}") };
    let other = fixture.store.inner.open(NUMBER, newest + 1).unwrap();
    assert_eq!(fixture.submit().await, Err(Code::NotOwner));
    let (later, refusals) = fixture.submit_in_the_end().await;
    assert!(refusals.iter().all(|code| *code == Code::NotOwner), "{refusals:?}");
    assert!(matches!(other.sweep(0, 0), Ok(swept) if swept == Swept::default()), "reads go on");
    assert!(matches!(other.advance(u64::MAX), Err(store::Error::Fenced { .. })), "and it is superseded itself");
    assert!(fixture.is_stored(kept) && fixture.is_stored(later));
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_finishes_what_is_in_the_inbox() {
    let fixture = Fixture::start();
    fixture.submit_in_the_end().await;
    let submits: Vec<_> = (0..50).map(|_| fixture.submit()).collect();
    let (answers, ()) = tokio::join!(futures_util::future::join_all(submits), async {
        fixture.partition.drain();
        fixture.stop.cancel();
    });
    let answered = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(answered > 0);
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(Code::ShuttingDown | Code::NotOwner))));
    fixture.stop().await;
}
