//! Tasks that run at most once: the start is durable before the work begins, and nothing starts them again.

use std::time::Duration;

use mcp_proto::{
    Code,
    scheduler::v1::{Delivery, ListDeadLettersRequest, RetryPolicy, TaskSpec, TaskState},
    worker::v1::{OpenSessionRequest, WorkerHello},
};
use scheduler::config::Settings;

use crate::support::{Scheduler, Worker, failure, handler, hello, millis, success};

fn quick() -> Settings {
    Settings { worker_lease: Duration::from_secs(1), ping_interval: Duration::from_millis(100), ..Settings::default() }
}

fn once() -> TaskSpec {
    TaskSpec { delivery: Delivery::AtMostOnce.into(), ..handler("h") }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_lost_with_its_worker_is_the_last_one() {
    let scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(once()).await;
    let mut lost = Worker::join(&scheduler, 1).await;
    lost.assigned().await;
    let lost_id = lost.id.clone();
    drop(lost);
    let failed = scheduler.wait(&id).await;
    assert_eq!((failed.state(), failed.attempt), (TaskState::Failed, 1));
    assert_eq!(failed.error.unwrap().name, "WORKER_LOST");
    assert_eq!(failed.failures[0].worker_id, lost_id);
    assert!(Worker::join(&scheduler, 1).await.is_idle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_does_not_run_it_again() {
    let mut scheduler = Scheduler::with(quick()).await;
    let (id, unstarted) = (scheduler.submit(once()).await, scheduler.submit(once()).await);
    let mut lost = Worker::join(&scheduler, 1).await;
    assert_eq!(lost.assigned().await.attempt.unwrap().task_id, id);
    let lost_id = lost.id.clone();
    drop(lost);
    scheduler.restart().await; // within the lease of the worker
    let mut worker = Worker::join(&scheduler, 5).await;
    assert_eq!(worker.work().await, unstarted, "what never started starts");
    let failed = scheduler.wait(&id).await;
    assert_eq!((failed.state(), failed.attempt), (TaskState::Failed, 1));
    assert_eq!(
        (failed.error.unwrap().name.as_str(), failed.failures[0].worker_id.as_str()),
        ("WORKER_LOST", lost_id.as_str())
    );
    assert!(failed.failures[0].start_time.is_some());
    assert!(worker.is_idle().await, "nobody else gets it");
    let letters = scheduler.queues().list_dead_letters(ListDeadLettersRequest::default()).await.unwrap().into_inner();
    assert_eq!(letters.dead_letters[0].task.clone().unwrap().id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_still_at_it_keeps_it_over_a_restart() {
    let mut scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(once()).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    scheduler.restart().await;
    let again = WorkerHello { worker_id: worker.id.clone(), running: vec![attempt.clone()], ..hello() };
    let mut worker = Worker::hello(&scheduler, again).await;
    assert_eq!(worker.welcome.revoked, []);
    worker.finish(attempt, success(None)).await;
    let done = scheduler.wait(&id).await;
    assert_eq!((done.state(), done.attempt), (TaskState::Succeeded, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_known_is_tried_again_only_if_that_is_allowed() {
    let scheduler = Scheduler::with(quick()).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let policy = |max_attempts| RetryPolicy { max_attempts, initial_backoff: millis(1), ..RetryPolicy::default() };
    let id = scheduler.submit(TaskSpec { retry: Some(policy(1)), ..once() }).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.finish(attempt, failure(Code::HandlerFailed, "boom")).await;
    assert_eq!(scheduler.wait(&id).await.error.unwrap().message, "boom");
    let id = scheduler.submit(once()).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.send(OpenSessionRequest { handed_back: vec![attempt], ..OpenSessionRequest::default() }).await;
    let failed = scheduler.wait(&id).await;
    assert_eq!(failed.error.unwrap().name, "WORKER_LOST", "it may have run in part");
}
