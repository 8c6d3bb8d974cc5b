//! Three schedulers and four workers on one PostgreSQL and one etcd, under load, while everything breaks in turn.
//!
//! `MCP_CHAOS_SECONDS` says for how long (60 by default), `MCP_CHAOS_SEED` which order of faults. Afterwards a checker
//! that knows nothing of the schedulers reads what the callers, the programs and the watchers wrote down.

mod checker;
mod faults;
mod fleet;
mod history;
mod limits;
mod load;
mod worker;

use std::{env, sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::{faults::Faults, fleet::Fleet, history::History};

/// How long what was acknowledged may take to end once the faults are over.
const SETTLE_MAX: Duration = Duration::from_secs(300);

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_breaks_every_acknowledged_task_ends_once_and_limits_hold() {
    let length = Duration::from_secs(setting("MCP_CHAOS_SECONDS", 60));
    let seed = setting("MCP_CHAOS_SEED", u64::from(std::process::id()));
    let history = Arc::new(History::new());
    let mut fleet = Fleet::start(&history).await;
    let client = fleet.client().await;
    limits::set(&client).await;

    let stop = CancellationToken::new();
    let watchers = load::watch(&fleet, &history, &stop);
    let load = stop.child_token();
    let submitters = load::submit(&fleet, &history, &load).await;
    let start = Instant::now();
    let mut faults = Faults::new(seed);
    while start.elapsed() < length {
        faults.next(&mut fleet, &history).await;
    }
    fleet.healed().await;
    let took = start.elapsed();
    history.note(format!("healed after {took:?}, {} programs have run", history.executions().len()));
    load.cancel();
    for submitter in submitters {
        submitter.await.expect("a submitter does not panic");
    }
    let ends = load::settle(&client, &history, SETTLE_MAX).await;
    stop.cancel();
    watchers.await.expect("the watchers do not panic");
    let report = checker::check(&history, &ends);
    let rate = history.acknowledged().len() as f64 / took.as_secs_f64();
    // Shown with --nocapture.
    eprintln!("chaos, seed {seed}: {} ({rate:.0} acknowledged/s)\n{}", faults.summary(), report.figures);
    assert!(report.faults.is_empty(), "seed {seed}:\n{}\n{}", report.faults.join("\n"), history.notes());
}
