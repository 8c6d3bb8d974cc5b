//! What every figure works with: tasks that do nothing, a worker for them, and a watcher that counts their ends.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;
use mcp_client::{
    Client,
    worker::{Schedulers, Worker},
};
use mcp_proto::scheduler::v1::{HandlerWork, ProcessWork, TaskSpec, WatchTasksRequest, task_spec::Work};
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::system::System;

/// Tasks in one batch submit.
pub(crate) const BATCH: usize = 1_000;

/// Batch submits under way at once.
pub(crate) const BATCHES_IN_FLIGHT: usize = 4;

/// Slots of the worker.
const SLOTS: usize = 4_096;

/// A task that does nothing.
pub(crate) fn no_op() -> TaskSpec {
    let work = HandlerWork { handler: "no-op".to_owned(), input: None };
    TaskSpec { work: Some(Work::Handler(work)), ..Default::default() }
}

/// A worker in this process whose handler does nothing.
pub(crate) fn start_worker(system: &System) -> DropGuard {
    let stop = CancellationToken::new();
    let worker = Worker::builder(Schedulers::Fixed(vec![system.url().to_owned()]))
        .slots(SLOTS)
        .handler("no-op", |_, input| async move { Ok(input) })
        .build();
    let token = stop.clone();
    tokio::spawn(async move { worker.run(token).await });
    stop.drop_guard()
}

/// Watches every task and counts those that are durably done.
#[derive(Default)]
pub(crate) struct Done {
    count: AtomicUsize,
    changed: Notify,
    pub(crate) times: Mutex<Vec<(String, Instant)>>,
}

impl Done {
    /// Starts watching.
    pub(crate) async fn watch(client: Client, keep_times: bool) -> anyhow::Result<Arc<Self>> {
        let done = Arc::new(Self::default());
        let mut stream = client.watch(WatchTasksRequest::default()).await?;
        stream.message().await?.context("the watch says that it is in place")?;
        let counter = done.clone();
        tokio::spawn(async move {
            while let Ok(Some(group)) = stream.message().await {
                assert_eq!(group.dropped, 0, "the watch kept up");
                let now = Instant::now();
                let ended = group.events.into_iter().filter(|event| event.error.is_none() && event.state().is_final());
                let ids: Vec<String> = ended.map(|event| event.task_id).collect();
                counter.count.fetch_add(ids.len(), Ordering::Relaxed);
                if keep_times {
                    let mut times = counter.times.lock().expect("no holder panics");
                    times.extend(ids.into_iter().map(|id| (id, now)));
                }
                counter.changed.notify_one();
            }
        });
        Ok(done)
    }

    /// Waits for so many ends.
    pub(crate) async fn reaches(&self, count: usize) {
        while self.count.load(Ordering::Relaxed) < count {
            self.changed.notified().await;
        }
    }
}

/// Runs one task, so that everything is connected.
pub(crate) async fn warm_up(client: &Client) -> anyhow::Result<()> {
    let id = client.submit(no_op()).await?.task_id;
    client.wait(&id, Duration::from_secs(30)).await?;
    Ok(())
}

/// A task of 1 KiB that waits for an hour.
pub(crate) fn waiting() -> TaskSpec {
    let work = ProcessWork { argv: vec!["true".to_owned()], stdin: vec![b'x'; 1024].into(), ..Default::default() };
    let delay = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    TaskSpec { work: Some(Work::Process(work)), delay, ..Default::default() }
}

/// Submits `count` tasks in batches, several at a time.
pub(crate) async fn submit_all(client: &Client, count: usize, task: fn() -> TaskSpec) -> anyhow::Result<()> {
    let submitters: Vec<_> = (0..BATCHES_IN_FLIGHT)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..count / BATCH / BATCHES_IN_FLIGHT {
                    client.submit_batch(vec![task(); BATCH]).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await??;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(crate) fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
