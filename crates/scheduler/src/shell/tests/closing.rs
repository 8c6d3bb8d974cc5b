//! What an owner that closes in order leaves to the next one.

use mcp_engine::Reason;
use mcp_proto::TaskId;

use super::*;
use crate::validate::NewTask;

fn task() -> NewTask {
    let work = HandlerWork { handler: "h".to_owned(), input: None };
    let spec = TaskSpec { work: Some(Work::Handler(work)), ..TaskSpec::default() };
    Intake::new(&Settings::default(), 0, "").single(Some(spec)).unwrap()
}

async fn submit_task(handle: &Handle) -> TaskId {
    match handle.submit(vec![task()], false).await.unwrap() {
        Submitted::Stored(accepted) => accepted[0].id,
        moved => panic!("{moved:?}"),
    }
}

/// Opens the partition of these tasks.
async fn open(handle: &Handle, store: &Arc<dyn Store>) -> Home {
    let (opening, store) = (handle.clone(), Arc::clone(store));
    let open = move || opening.open_blocking(&*store, task().partition(), 1, 0).map(|(home, _)| home);
    tokio::task::spawn_blocking(open).await.unwrap().unwrap()
}

async fn waits_for_its_worker(home: &Home, id: TaskId) -> bool {
    let explained = home.explain(id).await.unwrap().unwrap();
    explained.reasons.iter().any(|reason| matches!(reason, Reason::Grace { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_orderly_close_only_what_ran_waits_for_its_worker() {
    let folder = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(EmbeddedStore::new(folder.path(), 8 << 20));
    let (handle, end, _hub) = launch(&store);
    open(&handle, &store).await;
    let outbox = Arc::new(Outbox::default());
    handle.join(hello(1), Arc::clone(&outbox)).await.unwrap();
    let (runs, waits) = (submit_task(&handle).await, submit_task(&handle).await);
    assert_eq!(dispatched(&outbox), 1);
    handle.close(task().partition()).await.unwrap();
    handle.stop().await;
    drop(end.await);

    let (handle, end, _hub) = launch(&store);
    let home = open(&handle, &store).await;
    assert!(waits_for_its_worker(&home, runs).await, "nobody has said what became of it");
    testkit::eventually(LIMIT, || async {
        if waits_for_its_worker(&home, waits).await { Err("it never ran, and waits".to_owned()) } else { Ok(()) }
    })
    .await;
    handle.stop().await; // not in order: the partition is not closed
    drop(end.await);

    let (handle, end, _hub) = launch(&store);
    let home = open(&handle, &store).await;
    assert!(waits_for_its_worker(&home, runs).await);
    assert!(waits_for_its_worker(&home, waits).await, "the earlier word counts for one owner");
    handle.stop().await;
    drop(end.await);
}
