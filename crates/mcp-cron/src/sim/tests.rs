//! Many seeds, one seed, and bugs planted to see that they are found.

use std::{
    collections::BTreeMap,
    env, panic,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::{Run, simulate, trace};
use crate::faults::Fault;

const SEEDS: u64 = 1_000;

/// Everything that must happen somewhere among the seeds: a simulation that does not get there proves nothing.
const WANTED: &[&str] = &[
    "backfill",
    "backfill ran",
    "backfill skipped: deleted",
    "backfill skipped: refused",
    "backfill skipped: rules changed",
    "cancel",
    "catchup ran",
    "catchup skipped: overlap",
    "catchup skipped: replaced",
    "catchup skipped: too many running",
    "catchup skipped: waiting taken",
    "regular missed: too late",
    "regular missed: too many",
    "regular ran",
    "regular skipped: deleted",
    "regular skipped: overlap",
    "regular skipped: paused",
    "regular skipped: refused",
    "regular skipped: replaced",
    "regular skipped: rules changed",
    "regular skipped: too many running",
    "regular skipped: waiting taken",
    "trigger ran",
    "trigger skipped: overlap",
];

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")))
}

/// Runs seeds on every core; gives the runs, or the lowest seed that failed.
fn simulate_all(seeds: u64, fault: Option<Fault>) -> Result<Vec<Run>, String> {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut results = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            return results;
                        }
                        let result = panic::catch_unwind(|| simulate(seed, fault))
                            .unwrap_or_else(|_| Err(format!("SEED={seed}: the book panicked")));
                        if result.is_err() {
                            next.store(seeds, Ordering::Relaxed);
                        }
                        results.push((seed, result));
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect::<Vec<_>>()
    });
    results.sort_by_key(|(seed, _)| *seed);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn the_promises_hold_for_every_seed() {
    let seeds = variable("SEEDS").unwrap_or(SEEDS);
    let runs = simulate_all(seeds, None).unwrap_or_else(|broken| panic!("{broken}"));
    let sum = |part: fn(&Run) -> u64| runs.iter().map(part).sum::<u64>();
    let mut seen = BTreeMap::<&str, u64>::new();
    for (what, times) in runs.iter().flat_map(|run| &run.seen) {
        *seen.entry(what).or_default() += times;
    }
    println!(
        "{seeds} seeds: {} commits, {} fire times checked; {seen:#?}",
        sum(|run| run.commits),
        sum(|run| run.fires)
    );
    assert!(sum(|run| run.fires) > 50 * seeds, "there is much to check");
    let never = WANTED.iter().filter(|wanted| !seen.contains_key(**wanted));
    assert_eq!(never.collect::<Vec<_>>(), [] as [&&str; 0], "what must happen somewhere among the seeds");
}

#[test]
fn one_seed_is_the_same_for_ever() {
    let seed = variable("SEED").unwrap_or(17);
    let (told, verdict) = trace(seed);
    if variable("SEED").is_some() {
        println!("{told}");
    }
    verdict.unwrap_or_else(|broken| panic!("SEED={seed}: {broken}"));
    assert_eq!(trace(seed).0, told);
    assert_eq!(simulate(seed, None), simulate(seed, None));
}

/// The checker finds a bug that is planted.
fn assert_found(fault: Fault) {
    let found = simulate_all(SEEDS, Some(fault)).expect_err("a planted bug is found");
    assert!(!found.contains("panicked"), "the checker finds it: {found}");
    println!("{fault:?}: {found}");
}

#[test]
fn a_position_that_is_not_saved_is_found() {
    assert_found(Fault::PositionNotSaved);
}

#[test]
fn a_waiting_fire_that_is_not_saved_is_found() {
    assert_found(Fault::WaitingNotSaved);
}

#[test]
fn a_new_owner_that_forgets_what_runs_is_found() {
    assert_found(Fault::RunsForgotten);
}

#[test]
fn rules_that_reach_back_are_found() {
    assert_found(Fault::ChangeReachesBack);
}

#[test]
fn a_pause_that_is_not_accounted_for_is_found() {
    assert_found(Fault::PauseUnaccounted);
}

#[test]
fn a_range_that_counts_one_too_few_is_found() {
    assert_found(Fault::RangeShort);
}

#[test]
fn jitter_beyond_its_limit_is_found() {
    assert_found(Fault::JitterUnbounded);
}

#[test]
fn a_backfill_that_runs_again_what_ran_is_found() {
    assert_found(Fault::BackfillRepeats);
}

#[test]
fn a_replacement_that_does_not_wait_is_found() {
    assert_found(Fault::CancelNotAwaited);
}

#[test]
fn a_fixed_time_that_fires_twice_in_a_doubled_hour_is_found() {
    assert_found(Fault::DoubledHourTwice);
}
