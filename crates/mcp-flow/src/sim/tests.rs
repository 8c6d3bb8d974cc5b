//! The simulation over many seeds, and the proof that it finds what it is there for.

use std::{collections::BTreeSet, env, panic};

use super::world::World;
use crate::faults::{Fault, plant};

/// Seeds of a usual run.
const SEEDS: u64 = 1_000;

fn variable(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Simulates one seed: what was seen in it, or what went wrong.
fn simulate(seed: u64, fault: Option<Fault>) -> Result<BTreeSet<&'static str>, String> {
    plant(fault);
    let mut world = World::new(seed, false);
    let verdict = panic::catch_unwind(panic::AssertUnwindSafe(|| world.run()));
    plant(None);
    let verdict = verdict.unwrap_or_else(|_| Err("a panic".to_owned()));
    verdict.map(|()| world.seen).map_err(|error| format!("SEED={seed}: {error}"))
}

#[test]
fn the_promises_hold_for_every_seed() {
    let seeds = variable("SEEDS").unwrap_or(SEEDS);
    let mut seen = BTreeSet::new();
    for seed in 0..seeds {
        seen.extend(simulate(seed, None).unwrap());
    }
    let expected = ["cancelled", "failed", "paused", "refused", "rerun", "restarted", "succeeded", "told again"];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected, "all of it must have happened, and nothing else");
}

#[test]
fn one_seed_is_the_same_for_ever() {
    let seed = variable("SEED").unwrap_or(17);
    let trace = |_| {
        let mut world = World::new(seed, true);
        let verdict = world.run();
        (verdict, world.take_trace())
    };
    let (verdict, first) = trace(0);
    if variable("SEED").is_some() {
        println!("{first}");
    }
    assert_eq!(verdict, Ok(()));
    assert!(first == trace(1).1, "the same seed gave another run");
}

fn assert_found(fault: Fault) {
    let found = (0..SEEDS).find_map(|seed| simulate(seed, Some(fault)).err());
    let found = found.unwrap_or_else(|| panic!("{fault:?} was not found in {SEEDS} seeds"));
    println!("{fault:?}: {found}");
}

#[test]
fn a_task_forgotten_by_a_restart_is_found() {
    assert_found(Fault::TaskForgotten);
}

#[test]
fn a_step_that_starts_too_early_is_found() {
    assert_found(Fault::OneDependencyIsEnough);
}

#[test]
fn an_end_that_counts_twice_is_found() {
    assert_found(Fault::RepeatedEndCounts);
}

#[test]
fn an_end_of_another_task_that_counts_is_found() {
    assert_found(Fault::OtherTaskCounts);
}

#[test]
fn an_end_without_a_record_is_found() {
    assert_found(Fault::ItemEndNotSaved);
}

#[test]
fn a_pause_without_effect_is_found() {
    assert_found(Fault::PauseIgnored);
}

#[test]
fn a_refused_item_that_is_forgotten_is_found() {
    assert_found(Fault::RefusedForgotten);
}
