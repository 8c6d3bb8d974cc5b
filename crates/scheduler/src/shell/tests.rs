//! The loop, asked directly: what depends on the order of requests.

mod closing;
mod once;
mod reads;

use std::{sync::Arc, time::Duration};

use mcp_engine::WorkerSpec;
use mcp_proto::scheduler::v1::{HandlerWork, TaskSpec, task_spec::Work};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::{
    store::{EmbeddedStore, Store},
    validate::Intake,
};

const PARTITIONS: u16 = 16;
const LIMIT: Duration = Duration::from_secs(20);

async fn start() -> (Handle, oneshot::Receiver<End>, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::new(folder.path(), 8 << 20));
    let (handle, end) = start_on(store).await;
    (handle, end, folder)
}

async fn start_on(store: Arc<dyn Store>) -> (Handle, oneshot::Receiver<End>) {
    let (handle, end, _hub) = start_watched(store).await;
    (handle, end)
}

/// The same with the hub, for watches.
async fn start_watched(store: Arc<dyn Store>) -> (Handle, oneshot::Receiver<End>, Arc<Hub>) {
    let (handle, end, hub) = launch(&store);
    let opening = handle.clone();
    let open = move || (0..PARTITIONS).try_for_each(|n| opening.open_blocking(&*store, n, 1, 0).map(drop));
    tokio::task::spawn_blocking(open).await.unwrap().unwrap();
    (handle, end, hub)
}

/// A loop without partitions.
fn launch(store: &Arc<dyn Store>) -> (Handle, oneshot::Receiver<End>, Arc<Hub>) {
    let settings = Arc::new(Settings::default());
    let hub = Hub::new(&settings);
    let parts = Parts {
        hub: Arc::clone(&hub),
        settings,
        metrics: Metrics::new(),
        clock: Clock::start(),
        errands: tokio::sync::mpsc::channel(1).0,
    };
    let (handle, end) = super::start(parts, Arc::clone(store)).unwrap();
    (handle, end, hub)
}

async fn submit(handle: &Handle) {
    submit_spec(handle, TaskSpec::default()).await;
}

async fn submit_spec(handle: &Handle, spec: TaskSpec) {
    let work = HandlerWork { handler: "h".to_owned(), input: None };
    let spec = TaskSpec { work: Some(Work::Handler(work)), ..spec };
    let task = Intake::new(&Settings::default(), 0, "").single(Some(spec)).unwrap();
    handle.submit(vec![task], false).await.unwrap();
}

fn hello(slots: u32) -> Hello {
    let spec = WorkerSpec { handlers: ["h".into()].into(), ..WorkerSpec::default() };
    Hello { worker_id: "w".into(), spec, slots, running: Vec::new() }
}

/// Dispatches that were put into an outbox.
fn dispatched(outbox: &Outbox) -> usize {
    outbox.take(100).unwrap().map_or(0, |taken| taken.dispatches.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_outdated_session_says_is_void() {
    let (handle, end, _folder) = start().await;
    let (older_box, newer_box) = (Arc::new(Outbox::default()), Arc::new(Outbox::default()));
    let older = handle.join(hello(0), Arc::clone(&older_box)).await.unwrap().session;
    let newer = handle.join(hello(0), Arc::clone(&newer_box)).await.unwrap().session;
    assert!(older_box.take(1).is_err(), "the older session is over");
    let free = |session| Input { slots: 1, ..Input::empty(session) };
    handle.input(free(older), 0).await.unwrap();
    handle.leave(older).await;
    submit(&handle).await; // answered after what was said before it
    assert_eq!(dispatched(&newer_box), 0);
    handle.input(free(newer), 0).await.unwrap();
    submit(&handle).await;
    assert_eq!(dispatched(&newer_box), 1);
    handle.stop().await;
    assert!(matches!(tokio::time::timeout(LIMIT, end).await, Ok(Ok(End::Stopped))));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_every_call_is_refused() {
    let (handle, end, _folder) = start().await;
    handle.stop().await;
    drop(end.await);
    let answer = handle.join(hello(0), Arc::default()).await.map(|joined| joined.session);
    assert!(matches!(answer, Err(crate::error::Error::NotOwner)), "{answer:?}");
    assert!(handle.advance(0, 2).await.is_err());
}
