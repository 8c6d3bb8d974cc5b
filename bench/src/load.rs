//! What is done to the system, and what is measured meanwhile.

use std::{
    future::Future,
    path::Path,
    pin::Pin,
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

use crate::{figure::Figure, system::System};

/// Tasks of the throughput figures.
const TASKS: usize = 200_000;

/// Tasks in one batch submit.
const BATCH: usize = 1_000;

/// Batch submits under way at once.
const BATCHES_IN_FLIGHT: usize = 4;

/// Tasks of the figure for single submits, and how many submits are under way at once.
const SINGLES: usize = 40_000;
const SINGLES_IN_FLIGHT: usize = 64;

/// Slots of the worker.
const SLOTS: usize = 4_096;

/// Waiting tasks of the memory figure.
const WAITING: usize = 300_000;

type Figures = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Figure>>>>>;

/// A measurement.
pub(crate) struct Scenario {
    /// The figures it gives.
    pub(crate) figures: &'static [&'static str],
    run: fn(System) -> Figures,
}

impl Scenario {
    /// Runs it once on a system of its own.
    pub(crate) async fn run(&self, program: &Path) -> anyhow::Result<Vec<Figure>> {
        (self.run)(System::start(program)?).await
    }
}

/// All of them.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario { figures: &["e2e_batch_fjall"], run: |system| Box::pin(batches(system)) },
    Scenario { figures: &["submit_single_fjall", "e2e_single_fjall"], run: |system| Box::pin(singles(system)) },
    Scenario { figures: &["latency_200_p50", "latency_200_p99"], run: |system| Box::pin(latency(system, 200)) },
    Scenario { figures: &["latency_5000_p50", "latency_5000_p99"], run: |system| Box::pin(latency(system, 5_000)) },
    Scenario { figures: &["memory_per_waiting_task"], run: |system| Box::pin(memory(system)) },
];

fn no_op() -> TaskSpec {
    let work = HandlerWork { handler: "no-op".to_owned(), input: None };
    TaskSpec { work: Some(Work::Handler(work)), ..Default::default() }
}

/// A worker in this process whose handler does nothing.
fn start_worker(system: &System) -> DropGuard {
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
struct Done {
    count: AtomicUsize,
    changed: Notify,
    times: Mutex<Vec<(String, Instant)>>,
}

impl Done {
    async fn watch(client: Client, keep_times: bool) -> anyhow::Result<Arc<Self>> {
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

    async fn reaches(&self, count: usize) {
        while self.count.load(Ordering::Relaxed) < count {
            self.changed.notified().await;
        }
    }
}

/// Runs one task, so that everything is connected.
async fn warm_up(client: &Client) -> anyhow::Result<()> {
    let id = client.submit(no_op()).await?.task_id;
    client.wait(&id, Duration::from_secs(30)).await?;
    Ok(())
}

async fn batches(system: System) -> anyhow::Result<Vec<Figure>> {
    let _worker = start_worker(&system);
    let client = system.client()?;
    warm_up(&client).await?;
    let done = Done::watch(system.client()?, false).await?;
    let start = Instant::now();
    let submitters: Vec<_> = (0..BATCHES_IN_FLIGHT)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..TASKS / BATCH / BATCHES_IN_FLIGHT {
                    client.submit_batch(vec![no_op(); BATCH]).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await??;
    }
    done.reaches(TASKS).await;
    let value = per_second(TASKS, start.elapsed());
    let conditions = format!("{TASKS} no-op tasks, batches of {BATCH}, {BATCHES_IN_FLIGHT} in flight, submit to done");
    Ok(vec![Figure { name: "e2e_batch_fjall", value, unit: "1/s", conditions }])
}

async fn singles(system: System) -> anyhow::Result<Vec<Figure>> {
    let _worker = start_worker(&system);
    let client = system.client()?;
    warm_up(&client).await?;
    let done = Done::watch(system.client()?, false).await?;
    let start = Instant::now();
    let submitters: Vec<_> = (0..SINGLES_IN_FLIGHT)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..SINGLES / SINGLES_IN_FLIGHT {
                    client.submit(no_op()).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for submitter in submitters {
        submitter.await??;
    }
    let submitted = per_second(SINGLES, start.elapsed());
    done.reaches(SINGLES).await;
    let ended = per_second(SINGLES, start.elapsed());
    let conditions = format!("{SINGLES} no-op tasks, single submits, {SINGLES_IN_FLIGHT} in flight on one connection");
    Ok(vec![
        Figure { name: "submit_single_fjall", value: submitted, unit: "1/s", conditions: conditions.clone() },
        Figure { name: "e2e_single_fjall", value: ended, unit: "1/s", conditions: conditions + ", submit to done" },
    ])
}

async fn latency(system: System, rate: u32) -> anyhow::Result<Vec<Figure>> {
    let _worker = start_worker(&system);
    let client = system.client()?;
    warm_up(&client).await?;
    let done = Done::watch(system.client()?, true).await?;
    let seconds = 5;
    let count = (rate * seconds) as usize;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut submits = Vec::with_capacity(count);
    for _ in 0..count {
        ticks.tick().await;
        let client = client.clone();
        let start = Instant::now();
        submits.push(tokio::spawn(async move { anyhow::Ok((client.submit(no_op()).await?.task_id, start)) }));
    }
    let mut starts = std::collections::HashMap::new();
    for submit in submits {
        let (id, start) = submit.await??;
        starts.insert(id, start);
    }
    done.reaches(count).await;
    let times = done.times.lock().expect("no holder panics");
    let mut waits: Vec<Duration> =
        times.iter().filter_map(|(id, end)| starts.get(id).map(|start| end.duration_since(*start))).collect();
    waits.sort_unstable();
    let at = |part: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index within the list")]
        let index = ((waits.len() - 1) as f64 * part) as usize;
        waits[index].as_secs_f64() * 1e3
    };
    let names =
        if rate == 200 { ["latency_200_p50", "latency_200_p99"] } else { ["latency_5000_p50", "latency_5000_p99"] };
    let conditions = format!("{rate}/s for {seconds} s, submit to the watcher's notice that it is durably done");
    Ok([(names[0], 0.5), (names[1], 0.99)]
        .map(|(name, part)| Figure { name, value: at(part), unit: "ms", conditions: conditions.clone() })
        .into())
}

async fn memory(system: System) -> anyhow::Result<Vec<Figure>> {
    let client = system.client()?;
    let waiting = || {
        let stdin = vec![b'x'; 1024].into();
        let work = ProcessWork { argv: vec!["true".to_owned()], stdin, ..Default::default() };
        // An hour's delay keeps it waiting, so that nothing but waiting is measured.
        let delay = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
        TaskSpec { work: Some(Work::Process(work)), delay, ..Default::default() }
    };
    // Caches and pools of the store and the allocator fill up first, so that the difference is the tasks alone.
    for _ in 0..WAITING / BATCH {
        client.submit_batch(vec![waiting(); BATCH]).await?;
    }
    let before = system.resident()?;
    for _ in 0..WAITING / BATCH {
        client.submit_batch(vec![waiting(); BATCH]).await?;
    }
    let after = system.resident()?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let value = after.saturating_sub(before) as f64 / WAITING as f64;
    let conditions = format!(
        "growth of resident memory from {WAITING} to {} delayed tasks of 1 KiB; {} MiB in the end",
        2 * WAITING,
        after >> 20
    );
    Ok(vec![Figure { name: "memory_per_waiting_task", value, unit: "B", conditions }])
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
