//! Workers coming, going, and coming back.

use std::time::Duration;

use mcp_proto::{
    Code,
    scheduler::v1::TaskState,
    worker::v1::{AttemptRef, FencingToken, OpenSessionRequest, WorkerHello},
};
use scheduler::config::Settings;

use crate::support::{LIMIT, Scheduler, Worker, code, handler, hello, success};

fn quick() -> Settings {
    Settings { worker_lease: Duration::from_secs(1), ping_interval: Duration::from_millis(100), ..Settings::default() }
}

fn duration(millis: u64) -> Option<prost_types::Duration> {
    Duration::from_millis(millis).try_into().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_welcome_tells_the_rules() {
    let scheduler = Scheduler::with(quick()).await;
    let worker = Worker::join(&scheduler, 1).await;
    assert_eq!((worker.welcome.lease, worker.welcome.ping_interval), (duration(1_000), duration(100)));
    assert_eq!(worker.welcome.revoked, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_gets_no_more_than_its_credits() {
    let scheduler = Scheduler::with(quick()).await;
    for _ in 0..5 {
        scheduler.submit(handler("h")).await;
    }
    let mut worker = Worker::join(&scheduler, 2).await;
    worker.assigned().await;
    worker.assigned().await;
    assert!(worker.is_idle().await);
    worker.send(OpenSessionRequest { credits: 1, ..OpenSessionRequest::default() }).await;
    worker.assigned().await;
    assert!(worker.is_idle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_gets_only_what_it_serves() {
    let scheduler = Scheduler::with(quick()).await;
    let spec =
        |queue: &str, name: &str| mcp_proto::scheduler::v1::TaskSpec { queue: queue.to_owned(), ..handler(name) };
    for (queue, name) in [("a", "other"), ("b", "h"), ("a", "h")] {
        scheduler.submit(spec(queue, name)).await;
    }
    let mut worker =
        Worker::hello(&scheduler, WorkerHello { credits: 9, queues: vec!["a".to_owned()], ..hello() }).await;
    let spec = worker.assigned().await.spec.unwrap();
    assert_eq!((spec.queue.as_str(), spec.name.as_str()), ("a", "h"));
    assert!(worker.is_idle().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_lease_a_lost_workers_task_goes_to_another_one() {
    let scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(handler("h")).await;
    let mut lost = Worker::join(&scheduler, 1).await;
    let first = lost.assigned().await;
    drop(lost);
    let mut other = Worker::join(&scheduler, 1).await;
    let second = other.assigned().await;
    assert_eq!(second.number, 2);
    assert!(second.attempt.clone().unwrap().token.unwrap().sequence > first.attempt.unwrap().token.unwrap().sequence);
    other.finish(second.attempt.unwrap(), success(None)).await;
    let done = scheduler.wait(&id).await;
    assert_eq!((done.state(), done.worker_id), (TaskState::Succeeded, other.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnecting_worker_keeps_its_attempts() {
    let scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(handler("h")).await;
    let greeting = hello();
    let mut worker = Worker::hello(&scheduler, WorkerHello { credits: 1, ..greeting.clone() }).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    drop(worker);
    let stranger = AttemptRef { token: Some(FencingToken { epoch: 1, sequence: 999 }), ..attempt.clone() };
    let running = vec![attempt.clone(), stranger.clone()];
    let mut worker = Worker::hello(&scheduler, WorkerHello { running, ..greeting }).await;
    assert_eq!(worker.welcome.revoked, [stranger], "what is not its own any more");
    assert_eq!(scheduler.get(&id).await.state(), TaskState::Running);
    worker.finish(attempt, success(None)).await;
    assert_eq!(scheduler.wait(&id).await.attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_reconnecting_worker_does_not_report_is_given_away_at_once() {
    let scheduler = Scheduler::with(Settings { worker_lease: Duration::from_secs(600), ..quick() }).await;
    let id = scheduler.submit(handler("h")).await;
    let greeting = hello();
    let mut worker = Worker::hello(&scheduler, WorkerHello { credits: 1, ..greeting.clone() }).await;
    worker.assigned().await;
    drop(worker);
    let mut worker = Worker::hello(&scheduler, WorkerHello { credits: 1, ..greeting }).await;
    let again = worker.assigned().await;
    assert_eq!((again.attempt.unwrap().task_id, again.number), (id, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_session_of_a_worker_ends_the_older_one() {
    let scheduler = Scheduler::with(quick()).await;
    let greeting = hello();
    let mut older = Worker::hello(&scheduler, WorkerHello { credits: 1, ..greeting.clone() }).await;
    let _newer = Worker::hello(&scheduler, greeting).await;
    let status = loop {
        if let Err(status) = older.receive().await {
            break status;
        }
    };
    assert_eq!(mcp_proto::Error::from(status).code(), Code::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outdated_result_changes_nothing_and_is_acknowledged() {
    let scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(handler("h")).await;
    let slow = hello();
    let mut lost = Worker::hello(&scheduler, WorkerHello { credits: 1, ..slow.clone() }).await;
    let outdated = lost.assigned().await.attempt.unwrap();
    drop(lost);
    let mut other = Worker::join(&scheduler, 1).await;
    let current = other.assigned().await.attempt.unwrap();
    let mut back = Worker::hello(&scheduler, slow).await;
    back.finish(outdated, crate::support::failure(Code::HandlerFailed, "too late")).await;
    assert_eq!(scheduler.get(&id).await.state(), TaskState::Running);
    other.finish(current.clone(), success(None)).await;
    other.finish(current, crate::support::failure(Code::HandlerFailed, "twice")).await;
    let done = scheduler.wait(&id).await;
    assert_eq!((done.state(), done.worker_id, done.error), (TaskState::Succeeded, other.id, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_back_goes_on_elsewhere_without_using_up_an_attempt() {
    let scheduler = Scheduler::with(quick()).await;
    let once = mcp_proto::scheduler::v1::RetryPolicy { max_attempts: 1, ..Default::default() };
    let spec = mcp_proto::scheduler::v1::TaskSpec { retry: Some(once), ..handler("h") };
    let id = scheduler.submit(spec).await;
    let mut leaving = Worker::join(&scheduler, 1).await;
    let attempt = leaving.assigned().await.attempt.unwrap();
    leaving.send(OpenSessionRequest { handed_back: vec![attempt], ..OpenSessionRequest::default() }).await;
    let mut other = Worker::join(&scheduler, 1).await;
    assert_eq!(other.work().await, id);
    assert_eq!(scheduler.wait(&id).await.state(), TaskState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_hears_nothing_loses_its_session() {
    let scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(handler("h")).await;
    let mut deaf = Worker::join(&scheduler, 1).await;
    deaf.assigned().await; // from here on it reads nothing, and so answers no ping
    let mut other = Worker::join(&scheduler, 1).await;
    assert_eq!(other.work().await, id);
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_hello_is_refused_with_the_field() {
    let scheduler = Scheduler::with(Settings { worker_slots_max: 10, ..quick() }).await;
    let no_token = AttemptRef { task_id: uuid::Uuid::now_v7().to_string(), token: None };
    let cases = [
        (WorkerHello { worker_id: "me".to_owned(), ..hello() }, "hello.worker_id"),
        (WorkerHello { credits: 11, ..hello() }, "hello.credits"),
        (WorkerHello { handlers: vec![String::new()], ..hello() }, "hello.handlers[0]"),
        (WorkerHello { running: vec![AttemptRef::default()], ..hello() }, "hello.running[0].task_id"),
        (WorkerHello { running: vec![no_token], ..hello() }, "hello.running[0].token"),
    ];
    for (hello, field) in cases {
        let error = mcp_proto::Error::from(Worker::try_hello(&scheduler, hello).await.err().unwrap());
        assert_eq!((error.code(), error.violations()[0].field.as_str()), (Code::InvalidArgument, field));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_grants_too_much_loses_its_session() {
    let scheduler = Scheduler::with(Settings { worker_slots_max: 10, ..quick() }).await;
    let mut worker = Worker::join(&scheduler, 10).await;
    worker.send(OpenSessionRequest { credits: 1, ..OpenSessionRequest::default() }).await;
    let status = loop {
        if let Err(status) = worker.receive().await {
            break status;
        }
    };
    assert_eq!(code::<()>(Err(status)), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_bounded() {
    let scheduler = Scheduler::with(Settings { sessions_max: 1, ..quick() }).await;
    let first = Worker::join(&scheduler, 1).await;
    let refused = Worker::try_hello(&scheduler, hello()).await.err().unwrap();
    assert_eq!(code::<()>(Err(refused)), Code::Overloaded);
    drop(first);
    testkit::eventually(LIMIT, || async {
        Worker::try_hello(&scheduler, hello()).await.map(drop).map_err(|status| status.to_string())
    })
    .await;
}
