//! Why a task is where it is: always a reason, the right one first.

use std::time::Duration;

use mcp_proto::{
    Code,
    scheduler::v1::{
        ExplainTaskRequest, ExplainTaskResponse, PauseQueueRequest, QueueRules, Rate, ResumeQueueRequest, RetryPolicy,
        SetQueueRulesRequest, TaskSpec, TaskState,
    },
    worker::v1::WorkerHello,
};
use scheduler::config::Settings;
use tonic::Status;

use crate::support::{LIMIT, Scheduler, Worker, code, failure, handler, hello, millis, success, unix_ms};

fn in_queue(queue: &str) -> TaskSpec {
    TaskSpec { queue: queue.to_owned(), ..handler("h") }
}

async fn try_explain(scheduler: &Scheduler, id: &str) -> Result<ExplainTaskResponse, Status> {
    let request = ExplainTaskRequest { task_id: id.to_owned(), ..ExplainTaskRequest::default() };
    scheduler.client.clone().explain_task(request).await.map(tonic::Response::into_inner)
}

async fn explain(scheduler: &Scheduler, id: &str) -> ExplainTaskResponse {
    let answer = try_explain(scheduler, id).await.unwrap();
    assert!(!answer.reasons.is_empty() && !answer.summary.is_empty(), "{answer:?}");
    assert_eq!(answer.summary, answer.reasons[0].message);
    answer
}

fn kinds(answer: &ExplainTaskResponse) -> Vec<&str> {
    answer.reasons.iter().map(|reason| reason.kind.as_str()).collect()
}

async fn set(scheduler: &Scheduler, queue: &str, rules: QueueRules) {
    let request = SetQueueRulesRequest { queue: queue.to_owned(), rules: Some(rules), ..Default::default() };
    scheduler.queues().set_queue_rules(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_time_says_until_when() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(TaskSpec { delay: millis(3_600_000), ..in_queue("q") }).await;
    let delayed = explain(&scheduler, &id).await;
    assert_eq!((kinds(&delayed), delayed.state()), (vec!["DELAYED"], TaskState::Scheduled));
    let reason = &delayed.reasons[0];
    let task = scheduler.get(&id).await;
    assert_eq!((reason.since, reason.until), (task.create_time, task.due_time));
    assert_eq!(delayed.next_change, task.due_time);

    let initial_backoff = millis(60_000);
    let retry = Some(RetryPolicy { max_attempts: 4, initial_backoff, jitter: Some(0.0), ..RetryPolicy::default() });
    let id = scheduler.submit(TaskSpec { retry, ..in_queue("q") }).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.finish(attempt, failure(Code::HandlerFailed, "boom")).await;
    let backing_off = explain(&scheduler, &id).await;
    assert_eq!(kinds(&backing_off), ["BACKING_OFF"]);
    assert!(backing_off.summary.starts_with("attempt 1 of 4 failed with HANDLER_FAILED"), "{}", backing_off.summary);
    let task = scheduler.get(&id).await;
    assert_eq!(backing_off.next_change, task.due_time);
    assert_eq!(backing_off.reasons[0].since, task.failures[0].end_time);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_workers_says_which_would_do() {
    let scheduler = Scheduler::start().await;
    let id = scheduler.submit(in_queue("q")).await;
    let none = explain(&scheduler, &id).await;
    assert_eq!((kinds(&none), none.state()), (vec!["NO_WORKER"], TaskState::Pending));
    let other = WorkerHello { handlers: vec!["other".to_owned()], credits: 1, ..hello() };
    let _other = Worker::hello(&scheduler, other).await;
    let elsewhere = WorkerHello { queues: vec!["elsewhere".to_owned()], credits: 1, ..hello() };
    let _elsewhere = Worker::hello(&scheduler, elsewhere).await;
    let unmatched = explain(&scheduler, &id).await;
    assert_eq!(kinds(&unmatched), ["NO_MATCHING_WORKER"]);
    let reason = &unmatched.reasons[0];
    let details: Vec<_> = reason.holders.iter().map(|holder| holder.detail.as_str()).collect();
    assert!(details.contains(&"1 worker: has no handler `h`"), "{details:?}");
    assert!(details.contains(&"1 worker: not for the queue `q`"), "{details:?}");
    assert_eq!(reason.holder_count, 2);
    let busy = Worker::join(&scheduler, 0).await;
    let second = scheduler.submit(in_queue("q")).await;
    let waits = explain(&scheduler, &id).await;
    assert_eq!(kinds(&waits), ["WORKERS_BUSY"]);
    assert_eq!(waits.reasons[0].holders[0].worker_id, busy.id);
    let behind = explain(&scheduler, &second).await;
    assert_eq!((kinds(&behind), behind.reasons[1].holder_count), (vec!["WORKERS_BUSY", "BEHIND_OTHERS"], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_name_who_holds_the_permits() {
    let scheduler = Scheduler::start().await;
    set(&scheduler, "q", QueueRules { concurrency_max: 2, key_concurrency_max: 1, ..QueueRules::default() }).await;
    let mut worker = Worker::join(&scheduler, 10).await;
    let with_key = |key: &str| TaskSpec { key: key.to_owned(), ..in_queue("q") };
    let first = scheduler.submit(with_key("a")).await;
    worker.assigned().await;
    let waits = scheduler.submit(with_key("a")).await;
    let answer = explain(&scheduler, &waits).await;
    assert_eq!(kinds(&answer), ["KEY_CONCURRENCY"]);
    let holder = &answer.reasons[0].holders[0];
    assert_eq!((&holder.task_id, &holder.worker_id), (&first, &worker.id));
    assert!(holder.since.is_some() && answer.reasons[0].since.is_some());
    scheduler.submit(with_key("b")).await;
    worker.assigned().await;
    let answer = explain(&scheduler, &waits).await;
    assert_eq!((kinds(&answer), answer.reasons[0].holder_count), (vec!["QUEUE_CONCURRENCY", "KEY_CONCURRENCY"], 2));

    let pause = PauseQueueRequest { queue: "q".to_owned(), ..Default::default() };
    let paused = scheduler.queues().pause_queue(pause).await.unwrap().into_inner().queue.unwrap();
    let answer = explain(&scheduler, &waits).await;
    assert_eq!(kinds(&answer), ["QUEUE_PAUSED", "QUEUE_CONCURRENCY", "KEY_CONCURRENCY"]);
    assert_eq!(answer.reasons[0].since, paused.pause_time);
    assert!(answer.summary.contains("mcp queue resume q"), "{}", answer.summary);
    let resume = ResumeQueueRequest { queue: "q".to_owned(), ..Default::default() };
    scheduler.queues().resume_queue(resume).await.unwrap();

    let slow = Some(Rate { per_second: 0.001, burst: 1 });
    set(&scheduler, "r", QueueRules { rate: slow, key_rate: slow, ..QueueRules::default() }).await;
    let id = scheduler.submit(TaskSpec { key: "a".to_owned(), ..in_queue("r") }).await;
    let answer = explain(&scheduler, &id).await;
    assert_eq!(kinds(&answer), ["QUEUE_RATE", "KEY_RATE"]);
    let next = unix_ms(answer.next_change);
    assert_eq!(next, answer.reasons.iter().map(|reason| unix_ms(reason.until)).min().unwrap());
    let created = unix_ms(scheduler.get(&id).await.create_time);
    assert!((900_000..1_000_100).contains(&(next - created)), "{}", next - created);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_and_what_is_over_is_told_truthfully() {
    let scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let once = || TaskSpec { retry: Some(RetryPolicy { max_attempts: 1, ..RetryPolicy::default() }), ..in_queue("q") };
    let id = scheduler.submit(once()).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let runs = explain(&scheduler, &id).await;
    assert_eq!((kinds(&runs), runs.state()), (vec!["RUNNING"], TaskState::Running));
    assert_eq!(runs.reasons[0].holders[0].worker_id, worker.id);
    assert!(runs.reasons[0].since.is_some() && runs.next_change.is_some());
    scheduler.cancel(&id, "enough").await.unwrap();
    assert_eq!(kinds(&explain(&scheduler, &id).await), ["CANCELLING", "RUNNING"]);
    let cancelled = mcp_proto::worker::v1::attempt_result::Outcome::Cancelled(Default::default());
    worker.finish(attempt, cancelled).await;
    let over = explain(&scheduler, &id).await;
    assert_eq!((kinds(&over), over.state()), (vec!["FINISHED"], TaskState::Cancelled));
    assert!(over.summary.contains("enough") && over.summary.contains("mcp retry"), "{}", over.summary);
    assert_eq!(over.reasons[0].since, scheduler.get(&id).await.finish_time);

    let id = scheduler.submit(once()).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.finish(attempt, failure(Code::HandlerFailed, "boom")).await;
    let over = explain(&scheduler, &id).await;
    assert!(over.summary.contains("HANDLER_FAILED (boom)"), "{}", over.summary);
    let id = scheduler.submit(once()).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    worker.finish(attempt, success(None)).await;
    assert_eq!(explain(&scheduler, &id).await.summary, "it succeeded");
    assert_eq!(code(try_explain(&scheduler, &mcp_proto::TaskId::from_u128(7).to_string()).await), Code::TaskNotFound);
    assert_eq!(code(try_explain(&scheduler, "no id").await), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_take_over_a_task_that_may_run_elsewhere_says_so() {
    let settings = Settings { worker_lease: Duration::from_secs(30), ..Settings::default() };
    let mut scheduler = Scheduler::with(settings).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let id = scheduler.submit(in_queue("q")).await;
    worker.assigned().await;
    drop(worker);
    scheduler.restart().await;
    let held = explain(&scheduler, &id).await;
    assert_eq!(kinds(&held), ["TAKE_OVER_GRACE"]);
    assert_eq!(held.next_change, held.reasons[0].until);
    scheduler.cancel(&id, "").await.unwrap();
    testkit::eventually(LIMIT, || async {
        let answer = explain(&scheduler, &id).await;
        if kinds(&answer)[0] == "CANCELLING" || kinds(&answer)[0] == "FINISHED" {
            Ok(())
        } else {
            Err(format!("{answer:?}"))
        }
    })
    .await;
}
