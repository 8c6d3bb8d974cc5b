//! Tasks a second: in batches, on either store, and with a backlog.

use std::time::Instant;

use crate::{
    figure::Figure,
    load::{BATCH, BATCHES_IN_FLIGHT, Done, no_op, per_second, start_worker, submit_all, waiting, warm_up},
    system::{Setup, StoreKind, System},
};

/// Tasks of a run.
const TASKS: usize = 200_000;
/// Tasks that wait, of the backlog's run.
const BACKLOG: usize = 1_000_000;
/// Measurements with and without a backlog.
const TURNS: usize = 5;

/// No-op tasks a second, submit to done.
pub(crate) async fn batches(name: &'static str, setup: Setup) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(&setup)?;
    let value = rate(&system).await?;
    let conditions = format!("{TASKS} no-op tasks, batches of {BATCH}, {BATCHES_IN_FLIGHT} in flight, submit to done");
    Ok(vec![Figure { name, value, unit: "1/s", conditions }])
}

/// The same with a million waiting tasks, as a part of that without: two systems, measured by turns.
pub(crate) async fn backlog(setup: Setup) -> anyhow::Result<Vec<Figure>> {
    let other = Setup::new(setup.program(), StoreKind::Fjall)?;
    let (empty, full) = (System::start(&setup)?, System::start(&other)?);
    submit_all(&full.client()?, BACKLOG, waiting).await?;
    full.settles().await?; // a backlog stands for hours: what its arrival left to do is not part of this
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        without.push(rate(&empty).await?);
        with.push(rate(&full).await?);
    }
    let (without, with) = (median(without), median(with));
    let conditions = format!(
        "{TASKS} no-op tasks with {BACKLOG} delayed tasks of 1 KiB / without: {with:.0}/s / {without:.0}/s, \
         medians of {TURNS} turns"
    );
    Ok(vec![Figure { name: "backlog_ratio", value: with / without, unit: "", conditions }])
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn rate(system: &System) -> anyhow::Result<f64> {
    let _worker = start_worker(system);
    let client = system.client()?;
    warm_up(&client).await?;
    let done = Done::watch(system.client()?, false).await?;
    let start = Instant::now();
    submit_all(&client, TASKS, no_op).await?;
    done.reaches(TASKS).await;
    Ok(per_second(TASKS, start.elapsed()))
}
