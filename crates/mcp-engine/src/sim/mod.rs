//! A cluster in one thread and virtual time: clients, processes that own partitions, a durable store and workers, with a
//! network that loses, doubles, delays and reorders, sessions that break, workers and owners that crash, partitions that
//! are handed over and stolen, and owners that sleep through their replacement. Every seed is one run, the same for ever.
//!
//! Promises, checked after every step by a checker that shares no code with the engine: what was acknowledged is never
//! lost (P1); a task ends once, by its newest attempt, and tokens only grow (P2); a task is in one place (S-1) and
//! moves as S2 allows; slots and queues are not overfilled, limits and rates hold across changes of owners, and nothing
//! waits that nothing keeps back; no priority and no key starves the others (S8); keys and names are honoured (S4); what runs at most once does; a task that is not
//! done has a reason; once faults stop, everything ends (L-1).
//!
//! `cargo test -p mcp-engine` runs 1,000 seeds. `SEEDS=100000 cargo test -p mcp-engine sim` runs more of them, and
//! `SEED=17 cargo test -p mcp-engine one_seed -- --nocapture` prints the trace of one.

mod admin;
mod checker;
mod client;
mod coverage;
mod hearing;
mod moves;
mod owner;
mod plan;
mod store;
mod tests;
mod worker;
mod world;

use std::collections::BTreeSet;

use self::world::World;
use crate::{faults::Fault, types::Millis};

/// What a run came to.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    ended_at: Millis,
    steps: u64,
    /// Processes, and epochs of all partitions.
    owners: usize,
    epochs: u64,
    /// Tasks acknowledged, succeeded, failed, cancelled.
    tasks: [usize; 4],
    digest: u64,
    seen: BTreeSet<&'static str>,
}

/// Runs one seed.
fn simulate(seed: u64, fault: Option<Fault>) -> Result<Run, String> {
    let mut world = World::new(seed, fault, false);
    world.run().map_err(|broken| format!("SEED={seed} at {} ms: {broken}", world.now))?;
    Ok(Run {
        ended_at: world.now,
        steps: world.steps,
        owners: world.owners.len(),
        epochs: world.plan.partitions().map(|partition| world.store.epoch(partition)).sum(),
        tasks: world.checker.durable.summary(),
        digest: world.digest,
        seen: world.seen,
    })
}

/// Runs one seed and tells everything that happened.
fn trace(seed: u64) -> (String, Result<(), String>) {
    let mut world = World::new(seed, None, true);
    let verdict = world.run();
    (world.take_trace(), verdict)
}
