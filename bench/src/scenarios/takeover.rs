//! How long the tasks of a scheduler that was killed wait for another one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context;
use mcp_client::Client;
use mcp_proto::scheduler::v1::TaskSpec;

use crate::{
    figure::Figure,
    load::no_op,
    replicas::{PARTITIONS, Replicas, queue_of},
    system::Setup,
};

/// How long a partition belongs to a scheduler that does not renew.
const LEASE_TTL: Duration = Duration::from_secs(5);
/// Tasks a second, over all partitions in turn.
const RATE: u32 = 200;
/// How long tasks come in before and after the kill.
const BEFORE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(10);
/// How long one task may take.
const TASK_MAX: Duration = Duration::from_secs(60);

/// A task that was done.
struct Done {
    partition: u16,
    submitted: Instant,
    done: Instant,
}

/// Kills a scheduler under load. `takeover` is when the last of its partitions had done a task again that was submitted
/// after the kill, so that the slowest partition counts.
pub(crate) async fn takeover(setup: Setup) -> anyhow::Result<Vec<Figure>> {
    let mut replicas = Replicas::start(&setup, LEASE_TTL).await?;
    let client = replicas.client()?;
    for partition in 0..PARTITIONS {
        run(client.clone(), partition, "warm-up".to_owned()).await?;
    }
    let owned = replicas.owned().await?;
    let (victim, lost) =
        owned.into_iter().max_by_key(|(_, partitions)| partitions.len()).context("there are owners")?;

    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    let (start, mut killed) = (Instant::now(), None);
    let mut tasks = Vec::new();
    for number in 0_u32.. {
        ticks.tick().await;
        if killed.is_none() && start.elapsed() >= BEFORE {
            replicas.kill(&victim);
            killed = Some(Instant::now());
        }
        if killed.is_some_and(|killed| killed.elapsed() >= AFTER) {
            break;
        }
        let partition = u16::try_from(number % u32::from(PARTITIONS))?;
        tasks.push(tokio::spawn(run(client.clone(), partition, number.to_string())));
    }
    let killed = killed.context("it was killed")?;
    let (mut first, mut waits) = (BTreeMap::new(), Vec::new());
    for task in tasks {
        let Done { partition, submitted, done } = task.await??;
        if submitted >= killed {
            waits.push(done - submitted);
            let earliest = first.entry(partition).or_insert(done);
            *earliest = done.min(*earliest);
        }
    }
    waits.sort_unstable();
    let p99 = waits[waits.len() * 99 / 100];
    let back = |partition: &u16| first.get(partition).map(|done| *done - killed);
    let back: Vec<Duration> = lost.iter().filter_map(back).collect();
    anyhow::ensure!(back.len() == lost.len(), "every partition did a task again");
    let (fastest, slowest) = (back.iter().min().context("it had some")?, back.iter().max().context("it had some")?);
    let conditions = format!(
        "SIGKILL of 1 of 3 schedulers with {} of {PARTITIONS} partitions, lease {LEASE_TTL:?}, {RATE} submits/s; the \
         slowest partition (the fastest: {:.2} s)",
        lost.len(),
        fastest.as_secs_f64(),
    );
    let p99_conditions = format!("submit to done of all tasks in the {AFTER:?} after the kill, {RATE}/s");
    Ok(vec![
        Figure { name: "takeover", value: slowest.as_secs_f64(), unit: "s", conditions },
        Figure { name: "takeover_p99", value: p99.as_secs_f64(), unit: "s", conditions: p99_conditions },
    ])
}

/// One task, from its submit to its end. A repeat of its submit is recognised by its key.
async fn run(client: Client, partition: u16, key: String) -> anyhow::Result<Done> {
    let task = TaskSpec { queue: queue_of(partition), idempotency_key: key, ..no_op() };
    let submitted = Instant::now();
    let id = client.submit(task).await?.task_id;
    let task = client.wait(&id, TASK_MAX).await?;
    anyhow::ensure!(task.state().is_final(), "{id} did not end in time");
    Ok(Done { partition, submitted, done: Instant::now() })
}
