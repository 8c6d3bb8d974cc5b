//! Every bound is held with a clear error, and nothing is lost.

use std::time::Duration;

use mcp_proto::{
    Code, Error,
    scheduler::v1::{BatchSubmitTasksRequest, WaitTaskRequest, WatchTasksRequest},
};
use scheduler::config::Settings;

use crate::support::{LIMIT, Scheduler, Worker, code, handler};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_come_back() {
    let scheduler = Scheduler::with(Settings::tiny()).await;
    for _ in 0..16 {
        scheduler.submit(handler("h")).await;
    }
    let error = Error::from(scheduler.try_submit(handler("h")).await.unwrap_err());
    assert_eq!(error.code(), Code::QueueFull);
    assert!(error.retry_after().is_some());
    let other = mcp_proto::scheduler::v1::TaskSpec { queue: "other".to_owned(), ..handler("h") };
    let tasks = vec![other.clone(), handler("h")];
    let refused = scheduler.client.clone().batch_submit_tasks(BatchSubmitTasksRequest { tasks }).await.unwrap_err();
    assert_eq!(Error::from(refused).violations()[0].field, "tasks[1].queue");
    scheduler.submit(other).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    worker.work().await;
    scheduler.submit(handler("h")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_beyond_the_cache_is_dispatched_whole() {
    let scheduler = Scheduler::with(Settings { payload_cache_bytes: 1_000, ..Settings::default() }).await;
    let tasks: Vec<_> =
        (0..300).map(|n| mcp_proto::scheduler::v1::TaskSpec { name: n.to_string(), ..handler("h") }).collect();
    let request = BatchSubmitTasksRequest { tasks };
    let results = scheduler.client.clone().batch_submit_tasks(request).await.unwrap().into_inner().results;
    let mut worker = Worker::join(&scheduler, 300).await;
    for (n, result) in results.iter().enumerate() {
        let assignment = worker.assigned().await;
        assert_eq!(assignment.spec.unwrap().name, n.to_string());
        worker.finish(assignment.attempt.unwrap(), crate::support::success(None)).await;
        assert_eq!(scheduler.wait(&result.task_id).await.spec.unwrap().name, n.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waits_and_watches_are_bounded() {
    let scheduler = Scheduler::with(Settings::tiny()).await;
    let id = scheduler.submit(handler("h")).await;
    let wait = || {
        let (mut client, task_id) = (scheduler.client.clone(), id.clone());
        tokio::spawn(async move { client.wait_task(WaitTaskRequest { task_id, timeout: None }).await })
    };
    let waits: Vec<_> = (0..8).map(|_| wait()).collect();
    let refused = testkit::eventually(LIMIT, || async {
        let finished = waits.iter().filter(|wait| wait.is_finished()).count();
        if finished == 4 { Ok(finished) } else { Err(format!("{finished} of 8 are answered")) }
    })
    .await;
    assert_eq!(refused, 4);
    scheduler.cancel(&id, "").await.unwrap();
    let mut codes = Vec::new();
    for wait in waits {
        codes.push(wait.await.unwrap().map(drop).map_err(|status| Error::from(status).code()));
    }
    assert_eq!(codes.iter().filter(|answer| **answer == Err(Code::Overloaded)).count(), 4, "{codes:?}");
    assert_eq!(codes.iter().filter(|answer| answer.is_ok()).count(), 4);

    let watch = async || scheduler.client.clone().watch_tasks(WatchTasksRequest::default()).await;
    let _watching = (watch().await.unwrap(), watch().await.unwrap());
    assert_eq!(code(watch().await.map(drop)), Code::Overloaded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_reads_too_slowly_is_told_what_it_missed() {
    let scheduler = Scheduler::with(Settings { watch_lag_max: 1, ..Settings::default() }).await;
    let mut stream = scheduler.client.clone().watch_tasks(WatchTasksRequest::default()).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().unwrap().events.is_empty());
    let (mut submitted, mut told, mut dropped) = (0, 0, 0);
    // The transport holds many of them, so this may take a while before the first one is dropped.
    while dropped == 0 {
        for _ in 0..20 {
            let tasks = vec![handler(&"h".repeat(200)); 2_000];
            let request = BatchSubmitTasksRequest { tasks };
            submitted +=
                scheduler.client.clone().batch_submit_tasks(request).await.unwrap().into_inner().results.len() as u64;
        }
        while told + dropped < submitted {
            let response = tokio::time::timeout(LIMIT, stream.message()).await.expect("news in time").unwrap().unwrap();
            told += response.events.len() as u64;
            dropped += response.dropped;
        }
        assert_eq!(told + dropped, submitted);
        assert!(submitted < 1_000_000, "nothing was ever dropped");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_tasks_are_removed_in_the_end() {
    let settings = Settings {
        retention: Duration::from_millis(200),
        sweep_interval: Duration::from_millis(50),
        ..Settings::default()
    };
    let scheduler = Scheduler::with(settings).await;
    let kept = scheduler.submit(handler("other")).await;
    let id = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    worker.work().await;
    testkit::eventually(LIMIT, || async {
        match scheduler.try_get(&id).await {
            Err(status) if Error::from(&status).code() == Code::TaskNotFound => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    scheduler.get(&kept).await;
}
