//! What autoscalers and dashboards read of a queue.

use mcp_proto::{
    Code,
    scheduler::v1::{
        GetQueueScalingRequest, GetQueueScalingResponse, PauseQueueRequest, QueueRules, RetryPolicy,
        SetQueueRulesRequest, TaskSpec,
    },
    worker::v1::WorkerHello,
};
use scheduler::config::Settings;

use crate::support::{LIMIT, Scheduler, Worker, code, failure, handler, hello, millis, success};

fn in_queue(queue: &str) -> TaskSpec {
    TaskSpec { queue: queue.to_owned(), ..handler("h") }
}

async fn scaling(scheduler: &Scheduler, request: GetQueueScalingRequest) -> GetQueueScalingResponse {
    scheduler.queues().get_queue_scaling(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signal_follows_depth_workers_and_limits() {
    let scheduler = Scheduler::start().await;
    let request = || GetQueueScalingRequest { queue: "q".to_owned(), ..Default::default() };
    assert_eq!(scaling(&scheduler, request()).await, GetQueueScalingResponse::default(), "nothing to do");
    for _ in 0..12 {
        scheduler.submit(in_queue("q")).await;
    }
    let elsewhere = WorkerHello { queues: vec!["elsewhere".to_owned()], credits: 5, ..hello() };
    let _elsewhere = Worker::hello(&scheduler, elsewhere).await;
    let unserved = scaling(&scheduler, request()).await;
    assert_eq!((unserved.queue_depth, unserved.running, unserved.workers), (12.0, 0.0, 0.0));
    assert_eq!(unserved.needed_workers, 12.0, "nothing is known of their length: a slot for each");
    let mut worker = Worker::join(&scheduler, 4).await;
    for _ in 0..4 {
        worker.assigned().await;
    }
    let served = scaling(&scheduler, request()).await;
    assert_eq!((served.queue_depth, served.running, served.workers), (8.0, 4.0, 1.0));
    assert_eq!(served.needed_workers, 3.0, "with four slots each");
    assert!(served.start_rate > 0.0 && served.oldest_age_seconds >= 0.0);
    let larger = GetQueueScalingRequest { slots_per_worker: 10, ..request() };
    assert_eq!(scaling(&scheduler, larger).await.needed_workers, 2.0);
    let rules = Some(QueueRules { concurrency_max: 5, ..QueueRules::default() });
    let set = SetQueueRulesRequest { queue: "q".to_owned(), rules, ..Default::default() };
    scheduler.queues().set_queue_rules(set).await.unwrap();
    assert_eq!(scaling(&scheduler, request()).await.needed_workers, 2.0, "no more than five may run");
    let pause = PauseQueueRequest { queue: "q".to_owned(), ..Default::default() };
    scheduler.queues().pause_queue(pause).await.unwrap();
    let paused = scaling(&scheduler, request()).await;
    assert_eq!((paused.queue_depth, paused.needed_workers), (8.0, 1.0), "what runs needs its worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn short_tasks_need_fewer_workers() {
    let scheduler = Scheduler::start().await;
    let mut worker = Worker::join(&scheduler, 1).await;
    for _ in 0..5 {
        scheduler.submit(in_queue("q")).await;
        worker.work().await;
    }
    drop(worker);
    for _ in 0..50 {
        scheduler.submit(TaskSpec { work: handler("unserved").work, ..in_queue("q") }).await;
    }
    let request = GetQueueScalingRequest { queue: "q".to_owned(), ..Default::default() };
    let signal = scaling(&scheduler, request.clone()).await;
    assert_eq!((signal.queue_depth, signal.needed_workers), (50.0, 1.0), "{signal:?}");
    for wrong in [
        GetQueueScalingRequest { target_wait: millis(1), ..request.clone() },
        GetQueueScalingRequest { slots_per_worker: 100_001, ..request.clone() },
        GetQueueScalingRequest { queue: "no/queue".to_owned(), ..request },
    ] {
        assert_eq!(code(scheduler.queues().get_queue_scaling(wrong).await), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_of_every_queue() {
    // The worker is not read while the test waits.
    let ping_interval = std::time::Duration::from_secs(60);
    let scheduler = Scheduler::with(Settings { ping_interval, ..Settings::default() }).await;
    let queue = format!("m-{}", uuid::Uuid::new_v4());
    let retry = Some(RetryPolicy { max_attempts: 2, initial_backoff: millis(1), ..RetryPolicy::default() });
    let mut worker = Worker::join(&scheduler, 1).await;
    let ok = scheduler.submit(in_queue(&queue)).await;
    assert_eq!(worker.work().await, ok);
    let bad = scheduler.submit(TaskSpec { retry, ..in_queue(&queue) }).await;
    for _ in 0..2 {
        let attempt = worker.assigned().await.attempt.unwrap();
        worker.finish(attempt, failure(Code::HandlerFailed, "boom")).await;
    }
    scheduler.wait(&bad).await;
    scheduler.submit(in_queue(&queue)).await;
    let running = worker.assigned().await.attempt.unwrap();
    for _ in 0..3 {
        scheduler.submit(in_queue(&queue)).await;
    }
    scheduler.submit(TaskSpec { delay: millis(3_600_000), ..in_queue(&queue) }).await;
    let value = |name: &str, more: &str| {
        let (text, label) = (mcp_chassis::metrics::text(), format!("queue=\"default/{queue}\""));
        let mut lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
                && line.contains(&label)
                && line.contains(more)
        });
        lines.next().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
    };
    let expected = [
        ("mcp_scheduler_tasks_submitted_total", "", 7.0),
        ("mcp_scheduler_attempts_started_total", "", 4.0),
        ("mcp_scheduler_tasks_finished_total", "state=\"succeeded\"", 1.0),
        ("mcp_scheduler_tasks_finished_total", "state=\"failed\"", 1.0),
        ("mcp_scheduler_tasks_failed_total", "", 1.0),
        ("mcp_scheduler_attempts_retried_total", "", 1.0),
        ("mcp_scheduler_tasks_dead_lettered_total", "", 1.0),
        ("mcp_scheduler_task_wait_duration_seconds_count", "", 4.0),
        ("mcp_scheduler_attempt_run_duration_seconds_count", "", 3.0),
        ("mcp_scheduler_queue_depth", "", 3.0),
        ("mcp_scheduler_queue_running", "", 1.0),
        ("mcp_scheduler_queue_delayed", "", 1.0),
    ];
    // Nothing happens any more, and yet the gauges come to be right.
    testkit::eventually(LIMIT, || async {
        let found = expected.map(|(name, more, count)| (name, count, value(name, more)));
        let wrong: Vec<_> = found.iter().filter(|(_, count, found)| *found != Some(*count)).collect();
        if wrong.is_empty() { Ok(()) } else { Err(format!("{wrong:?}")) }
    })
    .await;
    let before = value("mcp_scheduler_queue_oldest_age_seconds", "").unwrap();
    testkit::eventually(LIMIT, || async {
        let age = value("mcp_scheduler_queue_oldest_age_seconds", "").unwrap();
        if age > before { Ok(()) } else { Err(format!("the age stays at {age}")) }
    })
    .await;
    worker.finish(running, success(None)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_queues_with_a_label_is_bounded() {
    let scheduler = Scheduler::start().await;
    let prefix = uuid::Uuid::new_v4().simple().to_string();
    for n in 0..150 {
        scheduler.submit(in_queue(&format!("{prefix}-{n}"))).await;
    }
    let labels = || {
        let text = mcp_chassis::metrics::text();
        text.lines()
            .filter(|line| line.starts_with("mcp_scheduler_tasks_submitted_total{") && line.contains(&prefix))
            .count()
    };
    testkit::eventually(LIMIT, || async {
        let depths = mcp_chassis::metrics::text();
        let others =
            depths.lines().any(|line| line.starts_with("mcp_scheduler_queue_depth{") && line.contains("\"other\""));
        if labels() == 100 && others { Ok(()) } else { Err(format!("{} labels, others: {others}", labels())) }
    })
    .await;
}
