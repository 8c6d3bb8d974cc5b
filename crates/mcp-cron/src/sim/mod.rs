//! Owners of a book of schedules in one thread and virtual time, over a store that survives everything: they crash
//! before their commits, are replaced, sleep through that and wake up again, have clocks that differ, and are away for
//! hours, around the nights in which clocks are changed. Every seed is one run, the same for ever.
//!
//! A checker that shares no code with the rules looks at what becomes durable. It finds fire times by going from minute
//! to minute and looking at the clock. Promises: every fire time has one outcome (L-1), none runs twice (L-2), the
//! overlap policy holds (L-3), jitter keeps to its limit, nothing is missed without need, a pause starts nothing.
//!
//! `cargo test -p mcp-cron` runs 1,000 seeds. `SEEDS=100000 cargo test -p mcp-cron sim` runs more of them, and
//! `SEED=17 cargo test -p mcp-cron one_seed -- --nocapture` prints the trace of one.

mod checker;
mod owner;
mod plan;
mod store;
mod tests;
mod truth;
mod world;

use std::collections::BTreeMap;

use self::world::World;
use crate::faults::Fault;

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    digest: u64,
    commits: u64,
    fires: u64,
    /// How often it came across what.
    seen: BTreeMap<String, u64>,
}

/// Runs one seed.
fn simulate(seed: u64, fault: Option<Fault>) -> Result<Run, String> {
    let mut world = World::new(seed, fault, false);
    world.run().map_err(|broken| format!("SEED={seed} at {} ms: {broken}", world.now))?;
    Ok(Run {
        digest: world.digest,
        commits: world.commits,
        fires: world.checker.fires_checked,
        seen: std::mem::take(&mut world.checker.seen),
    })
}

/// Runs one seed and tells everything that happened.
fn trace(seed: u64) -> (String, Result<(), String>) {
    let mut world = World::new(seed, None, true);
    let verdict = world.run();
    (world.take_trace(), verdict)
}
