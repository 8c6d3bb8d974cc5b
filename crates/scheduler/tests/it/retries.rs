//! Failures, and what follows them.

use mcp_proto::{
    Code, Error,
    common::v1::Error as WireError,
    scheduler::v1::{RetryPolicy, TaskSpec, TaskState},
    worker::v1::{AttemptResult, OpenSessionRequest},
};
use scheduler::config::Settings;

use crate::support::{Scheduler, Worker, failure, handler, millis, success, unix_ms};

fn retry(max_attempts: u32, backoff_ms: u64) -> Option<RetryPolicy> {
    let initial_backoff = millis(backoff_ms);
    Some(RetryPolicy { max_attempts, initial_backoff, jitter: Some(0.0), ..RetryPolicy::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_tried_again_after_its_backoff() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { retry: retry(3, 300), ..handler("h") }).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let first = worker.assigned().await;
    worker.finish(first.attempt.clone().unwrap(), failure(Code::HandlerFailed, "boom")).await;
    let retrying = scheduler.get(&id).await;
    assert_eq!((retrying.state(), retrying.attempt), (TaskState::Retrying, 1));
    assert_eq!(retrying.error.unwrap().message, "boom");
    assert!(retrying.due_time.is_some());
    let second = worker.assigned().await;
    assert_eq!(second.number, 2);
    let (first, second_token) = (first.attempt.unwrap().token.unwrap(), second.attempt.clone().unwrap().token.unwrap());
    assert!((second_token.epoch, second_token.sequence) > (first.epoch, first.sequence), "tokens only grow");
    worker.finish(second.attempt.unwrap(), success(None)).await;
    let done = scheduler.wait(&id).await;
    assert_eq!((done.state(), done.attempt, done.error), (TaskState::Succeeded, 2, None));
    assert!(unix_ms(done.start_time) - unix_ms(done.create_time) >= 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_fails_when_its_attempts_are_used_up() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { retry: retry(2, 1), ..handler("h") }).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    for n in 1..=2 {
        let attempt = worker.assigned().await.attempt.unwrap();
        worker.finish(attempt, failure(Code::ExitNonZero, &format!("exit {n}"))).await;
    }
    let failed = scheduler.wait(&id).await;
    let error = failed.error.clone().unwrap();
    assert_eq!((failed.state(), failed.attempt, error.code), (TaskState::Failed, 2, 3001));
    assert_eq!(error.message, "exit 2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_is_not_retryable_ends_the_task_with_all_it_said() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let error = mcp_proto::Error::new(Code::SpawnFailed, "no such program")
        .with_metadata("program", "/bin/nope")
        .with_violation("process.argv[0]", "does not exist");
    let outcome = mcp_proto::worker::v1::attempt_result::Outcome::Failure(error.into());
    let result = AttemptResult { attempt: Some(attempt), outcome: Some(outcome), exit_code: Some(-9) };
    worker.send(OpenSessionRequest { results: vec![result], ..OpenSessionRequest::default() }).await;
    let failed = scheduler.wait(&id).await;
    let error = failed.error.unwrap();
    assert_eq!((error.name.as_str(), error.metadata["program"].as_str()), ("SPAWN_FAILED", "/bin/nope"));
    assert_eq!((error.violations.len(), failed.exit_code), (1, Some(-9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_no_worker_takes_in_time_fails() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { queue_timeout: millis(50), ..handler("h") }).await;
    let failed = scheduler.wait(&id).await;
    assert_eq!((failed.state(), failed.error.unwrap().name.as_str()), (TaskState::Failed, "QUEUE_TIMEOUT"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_silent_beyond_its_run_timeout_is_given_up() {
    let settings = Settings { run_timeout_grace: std::time::Duration::from_millis(50), ..Settings::default() };
    let scheduler = Scheduler::with(settings).await;
    let spec = TaskSpec { run_timeout: millis(100), retry: retry(1, 1), ..handler("h") };
    let id = scheduler.submit(spec).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let failed = scheduler.wait(&id).await;
    assert_eq!((failed.state(), failed.error.unwrap().name.as_str()), (TaskState::Failed, "RUN_TIMEOUT"));
    assert_eq!(worker.cancelled().await.0, attempt, "the worker is told to stop it");
    worker.finish(attempt, success(None)).await; // too late, and still acknowledged
    assert_eq!(scheduler.get(&id).await.state(), TaskState::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_no_json_value_fails_the_attempt() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { retry: retry(1, 1), ..handler("h") }).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.finish(attempt, success(Some(crate::support::text(&"x".repeat(2 << 20))))).await;
    assert_eq!(scheduler.wait(&id).await.error.unwrap().name, "OUTPUT_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_the_task_names_is_never_tried_again() {
    let scheduler = Scheduler::start().await;
    let policy =
        RetryPolicy { never_retry: vec!["CARD_DECLINED".to_owned(), "RUN_TIMEOUT".to_owned()], ..retry(5, 1).unwrap() };
    let spec = || TaskSpec { retry: Some(policy.clone()), ..handler("h") };
    let (ended, tried_again) = (scheduler.submit(spec()).await, scheduler.submit(spec()).await);
    let mut worker = Worker::join(&scheduler, 1).await;
    let named = |name: &str| {
        let error = WireError::from(Error::new(Code::HandlerFailed, "no"));
        mcp_proto::worker::v1::attempt_result::Outcome::Failure(WireError { name: name.to_owned(), ..error })
    };
    let attempt = worker.assigned().await.attempt.unwrap();
    assert_eq!(attempt.task_id, ended);
    worker.finish(attempt, named("CARD_DECLINED")).await;
    let failed = scheduler.wait(&ended).await;
    assert_eq!((failed.state(), failed.attempt), (TaskState::Failed, 1));
    assert_eq!(failed.error.unwrap().name, "CARD_DECLINED");
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.finish(attempt, named("NETWORK_DOWN")).await;
    assert_eq!(worker.work().await, tried_again);
    assert_eq!(scheduler.wait(&tried_again).await.attempt, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_say_when_to_try_again() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { retry: retry(2, 60_000), ..handler("h") }).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let error =
        Error::new(Code::HandlerFailed, "too many requests").with_retry_after(std::time::Duration::from_millis(400));
    let outcome = mcp_proto::worker::v1::attempt_result::Outcome::Failure(error.into());
    worker.finish(attempt, outcome).await;
    let retrying = scheduler.get(&id).await;
    let due = unix_ms(retrying.due_time) - unix_ms(retrying.failures[0].end_time);
    assert_eq!(due, 400, "instead of the backoff of a minute");
    assert_eq!(worker.work().await, id);
}
