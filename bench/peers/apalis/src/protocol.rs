//! The driver's side of the protocol, which `harness/process.py` describes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, stdin, stdout},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use crate::{
    queue::{Job, Queue},
    stamp,
};

/// Tasks in one bulk submit, and how many of those are under way at once, as for ours.
const BATCH: u64 = 1_000;
const BATCHES_IN_FLIGHT: u64 = 4;

/// How often the number of completed tasks is looked at while the backlog is full, and how long it may stay full.
const BACKLOG_LOOK: Duration = Duration::from_millis(5);
const BACKLOG_PATIENCE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Question {
    Reset,
    Batch { tasks: u64 },
    Single { tasks: u64, in_flight: u64 },
    Paced { tasks: u64, rate: u32 },
    Completed,
}

/// Answers until the input ends.
pub(crate) async fn serve<Q: Queue>(queue: Q) -> anyhow::Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    say(&json!({ "ready": true })).await?;
    while let Some(line) = lines.next_line().await? {
        let answer = match answer(&queue, &line).await {
            Ok(answer) => answer,
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        say(&answer).await?;
    }
    Ok(())
}

async fn say(message: &Value) -> anyhow::Result<()> {
    let mut output = stdout();
    output.write_all(format!("{message}\n").as_bytes()).await?;
    output.flush().await?;
    Ok(())
}

async fn answer<Q: Queue>(queue: &Q, question: &str) -> anyhow::Result<Value> {
    match serde_json::from_str(question)? {
        Question::Reset => queue.clone().reset().await?,
        Question::Batch { tasks } => submit_batches(queue, tasks).await?,
        Question::Single { tasks, in_flight } => submit_singles(queue, tasks, in_flight).await?,
        Question::Paced { tasks, rate } => submit_paced(queue, tasks, rate).await?,
        Question::Completed => return Ok(json!({ "tasks": queue.clone().completed().await? })),
    }
    Ok(json!({}))
}

async fn submit_batches<Q: Queue>(queue: &Q, tasks: u64) -> anyhow::Result<()> {
    let done_before = queue.clone().completed().await?;
    let started = Arc::new(AtomicU64::new(0));
    let lanes = (0..BATCHES_IN_FLIGHT).map(|_| {
        let (mut queue, started) = (queue.clone(), started.clone());
        spawn(async move {
            loop {
                let from = started.fetch_add(BATCH, Ordering::Relaxed);
                if from >= tasks {
                    return Ok(());
                }
                // What may not wait at the same time must be completed first.
                if let Some(beyond) = Q::BACKLOG_MAX.and_then(|backlog_max| (from + BATCH).checked_sub(backlog_max)) {
                    await_room(&mut queue, done_before + beyond).await?;
                }
                let size = BATCH.min(tasks - from);
                queue.push_bulk((0..size).map(|_| Job { submitted: None }).collect()).await?;
            }
        })
    });
    try_join_all(lanes).await?;
    Ok(())
}

/// Waits until so many tasks are completed, which keeps the backlog within its limit and the worker busy.
async fn await_room<Q: Queue>(queue: &mut Q, completed: u64) -> anyhow::Result<()> {
    let start = Instant::now();
    while queue.completed().await? < completed {
        anyhow::ensure!(start.elapsed() < BACKLOG_PATIENCE, "the backlog does not shrink");
        sleep(BACKLOG_LOOK).await;
    }
    Ok(())
}

async fn submit_singles<Q: Queue>(queue: &Q, tasks: u64, in_flight: u64) -> anyhow::Result<()> {
    let started = Arc::new(AtomicU64::new(0));
    let lanes = (0..in_flight).map(|_| {
        let (mut queue, started) = (queue.clone(), started.clone());
        spawn(async move {
            while started.fetch_add(1, Ordering::Relaxed) < tasks {
                queue.push(Job { submitted: None }).await?;
            }
            Ok(())
        })
    });
    try_join_all(lanes).await?;
    Ok(())
}

/// Submits at a fixed rate, whether or not the submits before have been answered.
async fn submit_paced<Q: Queue>(queue: &Q, tasks: u64, rate: u32) -> anyhow::Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut submits = Vec::new();
    for _ in 0..tasks {
        ticks.tick().await;
        let mut queue = queue.clone();
        let job = Job { submitted: Some(stamp::now()) };
        submits.push(spawn(async move { queue.push(job).await }));
    }
    try_join_all(submits).await?;
    Ok(())
}

/// Starts it at once, as a task of its own; its error or panic is the caller's.
fn spawn(work: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> impl Future<Output = anyhow::Result<()>> {
    let task = tokio::spawn(work);
    async move { task.await? }
}
