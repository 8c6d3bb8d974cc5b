//! Unary gRPC calls at a given rate, whether or not earlier ones are answered.
//!
//! A latency counts from the moment at which the call was due, so that a stall shows in all calls that were due in it.

use std::{
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::{sync::mpsc, task::JoinSet};

use super::{Call, Connection, Report, Target, meter::Meter, on_own_thread};
use crate::message::{self, UNARY_PATH};

/// Calls that are due and not yet sent; the pacer waits beyond that.
const DUE_MAX: usize = 1_024;
/// Calls under way; more mean that the proxy is far too slow for the rate.
const UNDER_WAY_MAX: usize = 10_000;
/// How exactly the system wakes the pacer up: 50 times as exactly as it would otherwise.
const TIMER_SLACK_NANOSECONDS: u64 = 1_000;

/// `rate` calls a second, over `connections` in turn.
///
/// # Errors
/// The first call that fails, or that far too many are under way.
pub async fn paced(target: Target, connections: usize, rate: u32) -> anyhow::Result<Report> {
    on_own_thread(move || async move {
        let call = Rc::new(Call::new(target.address, UNARY_PATH, message::unary())?);
        let connections = Connection::open_many(target.address, connections).await?;
        let meter = Rc::new(Meter::default());
        let (sender, due) = mpsc::channel(DUE_MAX);
        thread::Builder::new().name("pacer".to_owned()).spawn(move || pace(rate, &sender))?;
        let mut callers = JoinSet::new();
        callers.spawn_local(send_all(due, connections, call, Rc::clone(&meter)));
        meter.measure(&target, callers).await
    })
    .await
}

/// Tells when a call is due, until nobody listens.
fn pace(rate: u32, due: &mpsc::Sender<Instant>) {
    // Without it the pacer is less exact, which shows in all latencies alike.
    nix::sys::prctl::set_timerslack(TIMER_SLACK_NANOSECONDS).unwrap_or_default();
    let start = Instant::now();
    for number in 0_u64.. {
        let next = start + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        while let Some(wait) = next.checked_duration_since(Instant::now()).filter(|wait| !wait.is_zero()) {
            thread::sleep(wait);
        }
        if due.blocking_send(next).is_err() {
            return;
        }
    }
}

async fn send_all(
    mut due: mpsc::Receiver<Instant>,
    connections: Vec<Connection>,
    call: Rc<Call>,
    meter: Rc<Meter>,
) -> anyhow::Result<()> {
    let mut calls = JoinSet::new();
    let mut next = connections.iter().cycle();
    while !meter.is_over() {
        let due = due.recv().await.context("the pacer ended")?;
        let (connection, call, meter) = (next.next().context("no connection")?, Rc::clone(&call), Rc::clone(&meter));
        calls.spawn_local(one(connection.clone(), call, meter, due));
        while let Some(ended) = calls.try_join_next() {
            ended.context("a call panicked")??;
        }
        ensure!(calls.len() <= UNDER_WAY_MAX, "{} calls are under way", calls.len());
    }
    while let Some(ended) = calls.join_next().await {
        ended.context("a call panicked")??;
    }
    Ok(())
}

/// A call that was due while answers counted counts whenever it is answered.
async fn one(mut connection: Connection, call: Rc<Call>, meter: Rc<Meter>, due: Instant) -> anyhow::Result<()> {
    let counts = meter.is_measuring();
    call.unary(&mut connection).await?;
    if counts {
        meter.record(due.elapsed());
    }
    Ok(())
}
