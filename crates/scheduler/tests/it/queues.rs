//! Rules of queues: they hold at once and across restarts, and each does what it says.

use std::time::Duration;

use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        DrainQueueRequest, GetQueueRequest, ListQueuesRequest, PauseQueueRequest, Queue, QueueRules, Rate,
        ResumeQueueRequest, SetQueueRulesRequest, TaskSpec, TaskState,
    },
};
use scheduler::config::Settings;
use tonic::Status;

use crate::support::{Scheduler, Worker, code, handler, millis, success, unix_ms};

/// With pings often enough that a test soon knows that nothing comes.
fn quick() -> Settings {
    Settings { worker_lease: Duration::from_secs(1), ping_interval: Duration::from_millis(100), ..Settings::default() }
}

fn in_queue(queue: &str) -> TaskSpec {
    TaskSpec { queue: queue.to_owned(), ..handler("h") }
}

fn with_key(queue: &str, key: &str) -> TaskSpec {
    TaskSpec { key: key.to_owned(), ..in_queue(queue) }
}

async fn try_set(scheduler: &Scheduler, queue: &str, rules: QueueRules) -> Result<Queue, Status> {
    let request = SetQueueRulesRequest { queue: queue.to_owned(), rules: Some(rules), ..Default::default() };
    scheduler.queues().set_queue_rules(request).await.map(|answer| answer.into_inner().queue.unwrap())
}

async fn set(scheduler: &Scheduler, queue: &str, rules: QueueRules) -> Queue {
    try_set(scheduler, queue, rules).await.unwrap()
}

async fn get(scheduler: &Scheduler, queue: &str) -> Queue {
    let request = GetQueueRequest { queue: queue.to_owned(), ..Default::default() };
    scheduler.queues().get_queue(request).await.unwrap().into_inner().queue.unwrap()
}

async fn pause(scheduler: &Scheduler, queue: &str) -> Queue {
    let request = PauseQueueRequest { queue: queue.to_owned(), ..Default::default() };
    scheduler.queues().pause_queue(request).await.unwrap().into_inner().queue.unwrap()
}

async fn drain(scheduler: &Scheduler, queue: &str) -> Queue {
    let request = DrainQueueRequest { queue: queue.to_owned(), ..Default::default() };
    scheduler.queues().drain_queue(request).await.unwrap().into_inner().queue.unwrap()
}

async fn resume(scheduler: &Scheduler, queue: &str) -> Queue {
    let request = ResumeQueueRequest { queue: queue.to_owned(), ..Default::default() };
    scheduler.queues().resume_queue(request).await.unwrap().into_inner().queue.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_hold_at_once_and_across_restarts() {
    let mut scheduler = Scheduler::with(quick()).await;
    let rules = QueueRules {
        concurrency_max: 1,
        key_concurrency_max: 5,
        rate: Some(Rate { per_second: 100.0, burst: 7 }),
        weights: [("a".to_owned(), 3)].into(),
        tasks_max: 50,
        ..QueueRules::default()
    };
    assert_eq!(set(&scheduler, "q", rules.clone()).await.rules, Some(rules.clone()));
    let paused = pause(&scheduler, "p").await.pause_time;
    let drained = drain(&scheduler, "p").await.drain_time;
    for restarts in 0..3 {
        let (found, other) = (get(&scheduler, "q").await, get(&scheduler, "p").await);
        assert_eq!(found.rules, Some(rules.clone()), "after {restarts} restarts");
        assert_eq!((other.pause_time, other.drain_time), (paused, drained));
        let ids = [scheduler.submit(in_queue("q")).await, scheduler.submit(in_queue("q")).await];
        let mut worker = Worker::join(&scheduler, 5).await;
        let first = worker.assigned().await.attempt.unwrap();
        assert!(worker.is_idle().await, "one runs at a time");
        assert_eq!(get(&scheduler, "q").await.running, 1);
        worker.finish(first, success(None)).await;
        worker.work().await;
        for id in ids {
            assert_eq!(scheduler.wait(&id).await.state(), TaskState::Succeeded);
        }
        drop(worker);
        scheduler.restart().await;
    }
    assert_eq!(set(&scheduler, "q", QueueRules::default()).await.rules, Some(QueueRules::default()));
    resume(&scheduler, "p").await;
    scheduler.restart().await;
    let left = scheduler.queues().list_queues(ListQueuesRequest::default()).await.unwrap().into_inner();
    assert_eq!(left.queues, [], "default rules are not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_queue_takes_tasks_and_starts_none() {
    let scheduler = Scheduler::with(quick()).await;
    let mut worker = Worker::join(&scheduler, 5).await;
    let runs = scheduler.submit(in_queue("q")).await;
    let running = worker.assigned().await.attempt.unwrap();
    let paused = pause(&scheduler, "q").await;
    assert!(unix_ms(paused.pause_time) > 0);
    let waits = scheduler.submit(in_queue("q")).await;
    let other = scheduler.submit(in_queue("other")).await;
    assert_eq!(worker.work().await, other, "another queue goes on");
    assert!(worker.is_idle().await);
    worker.finish(running, success(None)).await; // what ran goes on to its end
    assert_eq!(scheduler.wait(&runs).await.state(), TaskState::Succeeded);
    assert!(worker.is_idle().await);
    let queue = pause(&scheduler, "q").await;
    assert_eq!((queue.pending, queue.running, queue.pause_time), (1, 0, paused.pause_time));
    assert!(queue.oldest_age.is_some());
    assert_eq!(resume(&scheduler, "q").await.pause_time, None);
    assert_eq!(worker.work().await, waits);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_queue_refuses_tasks_and_works_off_what_it_has() {
    let scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(in_queue("q")).await;
    assert!(drain(&scheduler, "q").await.drain_time.is_some());
    assert_eq!(code(scheduler.try_submit(in_queue("q")).await), Code::QueueClosed);
    let mut worker = Worker::join(&scheduler, 1).await;
    assert_eq!(worker.work().await, id);
    assert_eq!(code(scheduler.try_submit(in_queue("q")).await), Code::QueueClosed, "also when it is empty");
    assert_eq!(resume(&scheduler, "q").await.drain_time, None);
    scheduler.submit(in_queue("q")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_one_key_run_as_many_at_a_time_as_may() {
    let scheduler = Scheduler::with(quick()).await;
    set(&scheduler, "q", QueueRules { key_concurrency_max: 1, concurrency_max: 2, ..QueueRules::default() }).await;
    let mut ids = Vec::new();
    for key in ["a", "a", "b", "c"] {
        ids.push(scheduler.submit(with_key("q", key)).await);
    }
    let mut worker = Worker::join(&scheduler, 10).await;
    let (first, second) = (worker.assigned().await.attempt.unwrap(), worker.assigned().await.attempt.unwrap());
    assert!(worker.is_idle().await, "two of the queue run");
    assert_eq!([&first.task_id, &second.task_id], [&ids[0], &ids[2]], "one of each key");
    worker.finish(second, success(None)).await;
    let third = worker.assigned().await.attempt.unwrap();
    assert_eq!(third.task_id, ids[3], "the key `a` is at its limit");
    worker.finish(first, success(None)).await;
    assert_eq!(worker.assigned().await.attempt.unwrap().task_id, ids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_tasks_start_than_the_rate_allows() {
    let scheduler = Scheduler::with(quick()).await;
    let rate = |per_second, burst| Some(Rate { per_second, burst });
    // Nothing is saved up at first, so the first start is 1,000 s away.
    set(&scheduler, "q", QueueRules { rate: rate(0.001, 2), ..QueueRules::default() }).await;
    set(&scheduler, "k", QueueRules { key_rate: rate(0.001, 1), ..QueueRules::default() }).await;
    for _ in 0..3 {
        scheduler.submit(in_queue("q")).await;
    }
    for key in ["a", "b"] {
        scheduler.submit(with_key("k", key)).await;
    }
    let mut worker = Worker::join(&scheduler, 10).await;
    assert!(worker.is_idle().await && worker.is_idle().await);
    assert_eq!((get(&scheduler, "q").await.pending, get(&scheduler, "k").await.pending), (3, 2));
    // Another rate holds at once.
    set(&scheduler, "q", QueueRules { rate: rate(10.0, 1), ..QueueRules::default() }).await;
    let mut starts = Vec::new();
    for _ in 0..3 {
        let id = worker.work().await;
        starts.push(unix_ms(scheduler.get(&id).await.start_time));
    }
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{starts:?}");
    // And no rate as well.
    set(&scheduler, "k", QueueRules::default()).await;
    worker.work().await;
    worker.work().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_share_by_their_weights() {
    let scheduler = Scheduler::with(quick()).await;
    set(&scheduler, "q", QueueRules { weights: [("a".to_owned(), 3)].into(), ..QueueRules::default() }).await;
    pause(&scheduler, "q").await;
    for key in ["a", "b"] {
        for _ in 0..20 {
            scheduler.submit(TaskSpec { name: key.to_owned(), ..with_key("q", key) }).await;
        }
    }
    resume(&scheduler, "q").await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let mut of_a = 0;
    for _ in 0..16 {
        let assignment = worker.assigned().await;
        of_a += usize::from(assignment.spec.unwrap().name == "a");
        worker.finish(assignment.attempt.unwrap(), success(None)).await;
    }
    assert!((11..=13).contains(&of_a), "{of_a} of 16, and not 12");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_over_its_limit_refuses_and_says_when_to_come_back() {
    let scheduler = Scheduler::start().await;
    set(&scheduler, "q", QueueRules { tasks_max: 2, ..QueueRules::default() }).await;
    scheduler.submit(in_queue("q")).await;
    scheduler.submit(TaskSpec { delay: millis(3_600_000), ..in_queue("q") }).await;
    let status = scheduler.try_submit(in_queue("q")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    let error = Error::from(status);
    assert_eq!((error.code(), error.retry_after()), (Code::QueueFull, Some(Duration::from_secs(1))));
    let mut worker = Worker::join(&scheduler, 1).await;
    worker.work().await;
    scheduler.submit(in_queue("q")).await;
    let queue = get(&scheduler, "q").await;
    assert_eq!((queue.scheduled, queue.running), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_listed_by_name() {
    let scheduler = Scheduler::start().await;
    assert_eq!(get(&scheduler, "never").await.rules, Some(QueueRules::default()));
    // More than the loop looks at in one go.
    for n in 0..300 {
        scheduler.submit(in_queue(&format!("q{n:03}"))).await;
    }
    scheduler.submit(TaskSpec { namespace: "other".to_owned(), ..in_queue("z") }).await;
    pause(&scheduler, "without-tasks").await;
    let list = async |namespace: &str| {
        let request = ListQueuesRequest { namespace: namespace.to_owned() };
        let list = scheduler.queues().list_queues(request).await.unwrap().into_inner();
        assert!(!list.truncated);
        list.queues.into_iter().map(|queue| format!("{}/{}", queue.namespace, queue.queue)).collect::<Vec<_>>()
    };
    let mut expected: Vec<_> = (0..300).map(|n| format!("default/q{n:03}")).collect();
    expected.push("default/without-tasks".to_owned());
    assert_eq!(list("default").await, expected);
    expected.push("other/z".to_owned());
    assert_eq!(list("").await, expected);
    assert_eq!(list("other").await, ["other/z"]);
    assert_eq!(list("nothing").await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_rules_are_refused_and_change_nothing() {
    let scheduler = Scheduler::start().await;
    set(&scheduler, "q", QueueRules { concurrency_max: 3, ..QueueRules::default() }).await;
    let wrong = QueueRules { key_rate: Some(Rate::default()), ..QueueRules::default() };
    let error = Error::from(try_set(&scheduler, "q", wrong).await.unwrap_err());
    assert_eq!(
        (error.code(), error.violations()[0].field.as_str()),
        (Code::InvalidArgument, "rules.key_rate.per_second")
    );
    assert_eq!(code(try_set(&scheduler, "no/queue", QueueRules::default()).await), Code::InvalidArgument);
    let request = ListQueuesRequest { namespace: "NO".to_owned() };
    assert_eq!(code(scheduler.queues().list_queues(request).await), Code::InvalidArgument);
    assert_eq!(get(&scheduler, "q").await.rules.unwrap().concurrency_max, 3);
}
