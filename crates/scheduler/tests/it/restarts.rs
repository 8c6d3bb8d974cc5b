//! Restarts and outages: nothing acknowledged is lost, nothing ends twice.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use mcp_coord::{Coordinator, Embedded, Error, Expected, KeyValue, LeaseId, Revision, Snapshot, WatchStream};
use mcp_proto::{
    Code,
    scheduler::v1::{BatchSubmitTasksRequest, ListTasksRequest, TaskSpec, TaskState},
    worker::v1::{AttemptResult, OpenSessionRequest, WorkerHello},
};
use scheduler::config::Settings;

use crate::support::{LIMIT, Scheduler, Worker, failure, handler, hello, success};

fn quick() -> Settings {
    Settings { worker_lease: Duration::from_secs(1), ping_interval: Duration::from_millis(100), ..Settings::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_task_survives_a_restart_and_ends_once() {
    let mut scheduler = Scheduler::with(quick()).await;
    let mut acknowledged = HashSet::new();
    for n in 0..10 {
        let tasks = (0..200).map(|m| TaskSpec { name: format!("{n}-{m}"), ..handler("h") }).collect();
        let answer = scheduler.client.clone().batch_submit_tasks(BatchSubmitTasksRequest { tasks }).await.unwrap();
        acknowledged.extend(answer.into_inner().results.into_iter().map(|result| result.task_id));
    }
    let mut worker = Worker::join(&scheduler, 500).await;
    let mut done = HashSet::new();
    for _ in 0..500 {
        done.insert(worker.work().await); // each acknowledged by the scheduler
    }
    drop(worker);
    scheduler.restart().await;
    let mut worker = Worker::join(&scheduler, 100).await;
    while done.len() < acknowledged.len() {
        let id = worker.work().await;
        assert!(done.insert(id.clone()), "{id} ran again after its end was acknowledged");
    }
    assert_eq!(done, acknowledged);
    let mut succeeded = HashSet::new();
    let mut request =
        ListTasksRequest { states: vec![TaskState::Succeeded.into()], page_size: 500, ..ListTasksRequest::default() };
    loop {
        let page = scheduler.client.clone().list_tasks(request.clone()).await.unwrap().into_inner();
        for task in page.tasks {
            assert!(succeeded.insert(task.id), "listed twice");
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(succeeded, acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_keeps_its_attempt_over_a_restart() {
    let mut scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(handler("h")).await;
    let greeting = hello();
    let mut worker = Worker::hello(&scheduler, WorkerHello { credits: 1, ..greeting.clone() }).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    drop(worker);
    scheduler.restart().await;
    assert_eq!(scheduler.get(&id).await.state(), TaskState::Pending);
    let running = vec![attempt.clone()];
    let mut worker = Worker::hello(&scheduler, WorkerHello { running, ..greeting }).await;
    assert_eq!(worker.welcome.revoked, []);
    let task = scheduler.get(&id).await;
    assert_eq!((task.state(), task.attempt, &task.worker_id), (TaskState::Running, 1, &worker.id));
    worker.finish(attempt, success(None)).await;
    let done = scheduler.wait(&id).await;
    assert_eq!((done.state(), done.attempt, done.worker_id), (TaskState::Succeeded, 1, worker.id));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_nobody_claims_after_a_restart_runs_again_with_a_greater_token() {
    let mut scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let first = worker.assigned().await.attempt.unwrap();
    drop(worker);
    scheduler.restart().await;
    let mut other = Worker::join(&scheduler, 1).await;
    let second = other.assigned().await.attempt.unwrap();
    assert_eq!(second.task_id, id);
    let order = |token: mcp_proto::worker::v1::FencingToken| (token.epoch, token.sequence);
    assert!(order(second.token.unwrap()) > order(first.token.unwrap()));
    let late = AttemptResult {
        attempt: Some(first.clone()),
        outcome: Some(failure(Code::HandlerFailed, "late")),
        exit_code: None,
    };
    other.send(OpenSessionRequest { results: vec![late], ..OpenSessionRequest::default() }).await;
    assert_eq!(other.acknowledged().await, first);
    other.finish(second, success(None)).await;
    assert_eq!(scheduler.wait(&id).await.state(), TaskState::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_is_over_cannot_be_claimed_after_a_restart() {
    let mut scheduler = Scheduler::with(quick()).await;
    let id = scheduler.submit(handler("h")).await;
    let greeting = hello();
    let mut worker = Worker::hello(&scheduler, WorkerHello { credits: 1, ..greeting.clone() }).await;
    let over = worker.assigned().await.attempt.unwrap();
    worker.send(OpenSessionRequest { handed_back: vec![over.clone()], ..OpenSessionRequest::default() }).await;
    assert_eq!(worker.acknowledged().await, over);
    drop(worker);
    scheduler.restart().await;
    let running = vec![over.clone()];
    let worker = Worker::hello(&scheduler, WorkerHello { running, ..greeting }).await;
    assert_eq!(worker.welcome.revoked, [over]);
    assert_eq!(scheduler.get(&id).await.state(), TaskState::Pending);
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_delays_and_cancels_are_as_they_were_after_a_restart() {
    let mut scheduler = Scheduler::with(quick()).await;
    let mut worker = Worker::join(&scheduler, 2).await;
    let slow =
        mcp_proto::scheduler::v1::RetryPolicy { initial_backoff: crate::support::millis(50_000), ..Default::default() };
    let retrying = scheduler.submit(TaskSpec { retry: Some(slow), ..handler("h") }).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let result =
        AttemptResult { attempt: Some(attempt), outcome: Some(failure(Code::HandlerFailed, "boom")), exit_code: None };
    worker.send(OpenSessionRequest { results: vec![result], ..OpenSessionRequest::default() }).await;
    scheduler.reaches(&retrying, TaskState::Retrying).await;
    let cancelling = scheduler.submit(handler("h")).await;
    worker.assigned().await;
    scheduler.cancel(&cancelling, "stop it").await.unwrap();
    let delayed = scheduler.submit(TaskSpec { delay: crate::support::millis(60_000), ..handler("h") }).await;
    drop(worker);
    let before = (scheduler.get(&retrying).await, scheduler.get(&delayed).await);
    scheduler.restart().await;
    assert_eq!((scheduler.get(&retrying).await, scheduler.get(&delayed).await), before);
    // Its worker never came back, so there is nothing left to stop.
    let cancelled = scheduler.wait(&cancelling).await;
    assert_eq!(cancelled.state(), TaskState::Cancelled);
    assert!(cancelled.error.unwrap().message.ends_with("stop it"));
}

/// Coordination that can be taken away.
#[derive(Debug)]
struct Flaky {
    inner: Embedded,
    away: AtomicBool,
}

impl Flaky {
    fn check(&self) -> Result<(), Error> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(Error::Unavailable { reason: "taken away by the test".to_owned() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Coordinator for Flaky {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, Error> {
        self.check()?;
        self.inner.get(key).await
    }

    async fn range(&self, prefix: &str) -> Result<Snapshot, Error> {
        self.check()?;
        self.inner.range(prefix).await
    }

    async fn put(&self, key: &str, value: Bytes, lease: Option<LeaseId>) -> Result<Revision, Error> {
        self.check()?;
        self.inner.put(key, value, lease).await
    }

    async fn delete(&self, key: &str) -> Result<bool, Error> {
        self.check()?;
        self.inner.delete(key).await
    }

    async fn compare_and_put(
        &self,
        key: &str,
        expected: Expected,
        value: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        self.check()?;
        self.inner.compare_and_put(key, expected, value, lease).await
    }

    async fn compare_and_delete(&self, key: &str, modified: Revision) -> Result<(), Error> {
        self.check()?;
        self.inner.compare_and_delete(key, modified).await
    }

    async fn grant(&self, ttl: Duration) -> Result<LeaseId, Error> {
        self.check()?;
        self.inner.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, Error> {
        self.check()?;
        self.inner.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), Error> {
        self.check()?;
        self.inner.revoke(lease).await
    }

    async fn watch(&self, prefix: &str) -> Result<WatchStream, Error> {
        self.check()?;
        self.inner.watch(prefix).await
    }
}

/// The partition's owner, as coordination has it.
async fn owner(coord: &Embedded) -> Option<KeyValue> {
    coord.get(&mcp_coord::keys::partition("local", 0)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn running_work_goes_on_while_coordination_is_away() {
    let inner = Embedded::in_memory();
    let coord = Arc::new(Flaky { inner: inner.clone(), away: AtomicBool::new(false) });
    // The worker of this test answers no pings while it waits for coordination.
    let settings = Settings { ping_interval: LIMIT, ..quick() };
    let scheduler = Scheduler::with_coord(settings, Arc::<Flaky>::clone(&coord)).await;
    let first = scheduler.submit(handler("h")).await;
    let mut worker = Worker::join(&scheduler, 1).await;
    let attempt = worker.assigned().await.attempt.unwrap();
    let before = owner(&inner).await.unwrap();

    coord.away.store(true, Ordering::SeqCst);
    testkit::eventually(LIMIT, || async {
        owner(&inner).await.map_or(Ok(()), |owner| Err(format!("the lease still stands: {owner:?}")))
    })
    .await;
    worker.finish(attempt, success(None)).await;
    assert_eq!(scheduler.wait(&first).await.state(), TaskState::Succeeded);
    let second = scheduler.submit(handler("h")).await;
    let attempt = worker.assigned().await.attempt.unwrap();

    coord.away.store(false, Ordering::SeqCst);
    let after = testkit::eventually(LIMIT, || async { owner(&inner).await.ok_or_else(|| "no owner".to_owned()) }).await;
    assert!(after.created > before.created, "claimed again under a greater epoch");
    worker.finish(attempt, success(None)).await; // on the same session
    assert_eq!(scheduler.wait(&second).await.attempt, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_that_does_not_own_the_partition_says_so_and_takes_over_when_it_can() {
    let coord = Arc::new(Embedded::in_memory());
    let first = Scheduler::with_coord(quick(), Arc::<Embedded>::clone(&coord)).await;
    let key = mcp_coord::keys::partition("local", 0);
    // Someone else takes the key, as if the first one had been away for too long.
    coord.delete(&key).await.unwrap();
    coord.put(&key, Bytes::from_static(b"another"), None).await.unwrap();
    testkit::eventually(LIMIT, || async {
        match first.try_submit(handler("h")).await {
            Err(status) if mcp_proto::Error::from(&status).code() == Code::NotOwner => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    coord.delete(&key).await.unwrap();
    testkit::eventually(LIMIT, || async {
        first.try_submit(handler("h")).await.map(drop).map_err(|status| status.to_string())
    })
    .await;
}
