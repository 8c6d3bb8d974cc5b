//! Submits that find an earlier task: by idempotency key, and by unique key.

use mcp_proto::{
    Code, Error,
    scheduler::v1::{TaskSpec, TaskState},
};

use crate::support::{LIMIT, Scheduler, Worker, code, handler, millis};

fn keyed(key: &str) -> TaskSpec {
    TaskSpec { idempotency_key: key.to_owned(), ..handler("h") }
}

fn unique(key: &str) -> TaskSpec {
    TaskSpec { unique_key: key.to_owned(), ..handler("h") }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_with_another_task_is_refused_across_restarts() {
    let mut scheduler = Scheduler::start().await;
    let first = scheduler.submit(keyed("k")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    worker.work().await;
    drop(worker);
    for restarts in 0..2 {
        let repeat = scheduler.try_submit(keyed("k")).await.unwrap();
        assert_eq!((repeat.task_id.as_str(), repeat.deduplicated), (first.as_str(), true), "{restarts} restarts");
        assert_eq!(repeat.state(), TaskState::Succeeded);
        let status = scheduler.try_submit(TaskSpec { priority: 1, ..keyed("k") }).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::AlreadyExists);
        let error = Error::from(status);
        assert_eq!((error.code(), error.metadata()["task_id"].as_str()), (Code::IdempotencyConflict, first.as_str()));
        assert_eq!(error.violations()[0].field, "task.idempotency_key");
        let other = TaskSpec { queue: format!("other{restarts}"), priority: 1, ..keyed("k") };
        assert!(!scheduler.try_submit(other).await.unwrap().deduplicated, "keys belong to their queue");
        scheduler.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_forgotten_after_its_window() {
    let scheduler = Scheduler::start().await;
    let spec = || TaskSpec { idempotency_window: millis(1_000), ..keyed("k") };
    let first = scheduler.submit(spec()).await;
    assert_eq!(scheduler.submit(spec()).await, first);
    testkit::eventually(LIMIT, || async {
        let id = scheduler.submit(spec()).await;
        if id == first { Err("still remembered".to_owned()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_merged_submit_is_remembered_across_restarts() {
    let mut scheduler = Scheduler::start().await;
    let first = scheduler.submit(unique("u")).await;
    let merged = || TaskSpec { idempotency_key: "k".to_owned(), ..unique("u") };
    let found = scheduler.try_submit(merged()).await.unwrap();
    assert_eq!((found.task_id.as_str(), found.deduplicated), (first.as_str(), true));
    let mut worker = Worker::join(&scheduler, 1).await;
    assert_eq!(worker.work().await, first);
    drop(worker);
    for restarts in 0..2 {
        let again = scheduler.try_submit(merged()).await.unwrap();
        assert_eq!((again.task_id.as_str(), again.deduplicated), (first.as_str(), true), "{restarts} restarts");
        let status = scheduler.try_submit(TaskSpec { priority: 1, ..merged() }).await.unwrap_err();
        assert_eq!(Error::from(status).code(), Code::IdempotencyConflict);
        scheduler.restart().await;
    }
    assert_ne!(scheduler.submit(unique("u")).await, first, "the name is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_unique_key_there_is_one_unfinished_task() {
    let mut scheduler = Scheduler::start().await;
    let first = scheduler.submit(TaskSpec { delay: millis(3_600_000), ..unique("u") }).await;
    for _ in 0..2 {
        let found = scheduler.try_submit(TaskSpec { priority: 5, ..unique("u") }).await.unwrap();
        assert_eq!((found.task_id.as_str(), found.deduplicated), (first.as_str(), true), "whatever its body");
        assert_eq!(found.state(), TaskState::Scheduled);
        scheduler.restart().await;
    }
    let elsewhere = TaskSpec { queue: "other".to_owned(), ..unique("u") };
    assert_ne!(scheduler.submit(elsewhere).await, first);
    scheduler.cancel(&first, "").await.unwrap();
    let second = scheduler.submit(unique("u")).await;
    assert_ne!(second, first);
    assert_eq!(scheduler.submit(unique("u")).await, second);
    let too_long = TaskSpec { unique_key: "u".repeat(201), ..handler("h") };
    assert_eq!(code(scheduler.try_submit(too_long).await), Code::InvalidArgument);
}
