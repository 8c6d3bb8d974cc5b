//! A seeded simulation of everything that decides by itself: schedules, backfills and workflows in several partitions,
//! whose owners crash, hand over and change in the midst of it, with errands between them that are lost, doubled and
//! late, and callers that start, pause, cancel and repeat. What must hold is checked after every commit, from outside.
//!
//! `SEED=17 cargo test -p scheduler --lib conductor_seed -- --nocapture` runs one seed; `SEEDS=10000` runs more of them.

mod callers;
mod checker;
mod courier;
mod disk;
mod node;
mod plan;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use self::world::World;
use super::faults::{Fault, plant};

/// Seeds of a usual run.
const SEEDS: u64 = 1_000;
/// Things that happen in a run before everything comes to rest.
const STEPS: usize = 200;
/// Partitions.
const PARTITIONS: u16 = 4;

/// What happened, so that a simulation in which nothing happens is noticed.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    started: usize,
    handed_over: usize,
    crashes: usize,
    workflows: usize,
    backfilled: usize,
}

impl Tally {
    fn plus(self, more: Self) -> Self {
        Self {
            started: self.started + more.started,
            handed_over: self.handed_over + more.handed_over,
            crashes: self.crashes + more.crashes,
            workflows: self.workflows + more.workflows,
            backfilled: self.backfilled + more.backfilled,
        }
    }
}

fn run_seed(seed: u64) -> Tally {
    let mut world = World::new(seed);
    (0..STEPS).for_each(|_| world.step());
    world.come_to_rest();
    world.disk.checker.at_rest(&world.disk.entries, &world.disk.tasks);
    let (workflows, backfilled) = world.disk.checker.tally();
    let (handed_over, crashes) = (world.handed_over, world.crashes);
    Tally { started: world.disk.tasks.len(), handed_over, crashes, workflows, backfilled }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs a seed and says which one it was when it fails.
fn checked(seed: u64) -> Tally {
    catch_unwind(|| run_seed(seed)).unwrap_or_else(|panic| {
        eprintln!("SEED={seed}");
        resume_unwind(panic)
    })
}

#[test]
fn no_fire_and_no_step_is_lost_or_doubled_whatever_crashes_and_gets_lost_in_any_conductor_seed() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let tally = std::thread::scope(|scope| {
        let run = |offset| {
            let mine = seeds.clone().skip(offset).step_by(threads);
            scope.spawn(move || mine.map(checked).fold(Tally::default(), Tally::plus))
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .fold(Tally::default(), Tally::plus)
    });
    let seeds = usize::try_from(seeds.end - seeds.start).unwrap();
    let Tally { started, handed_over, crashes, workflows, backfilled } = tally;
    println!("{seeds} seeds: {tally:?}");
    let enough = started > seeds * 50 && handed_over > seeds * 10 && crashes > seeds * 2;
    assert!(seeds < 10 || (enough && workflows > seeds * 5 && backfilled > seeds / 2), "{tally:?}");
}

fn assert_found(fault: Fault) {
    plant(Some(fault));
    let found = (0..SEEDS).find(|seed| catch_unwind(AssertUnwindSafe(|| run_seed(*seed))).is_err());
    plant(None);
    println!("{fault:?}: SEED={}", found.unwrap_or_else(|| panic!("{fault:?} was not found in {SEEDS} seeds")));
}

#[test]
fn a_start_that_is_sent_but_not_on_record_is_found_in_a_conductor_seed() {
    assert_found(Fault::StartNotKept);
}

#[test]
fn a_start_that_is_not_looked_for_is_found_in_a_conductor_seed() {
    assert_found(Fault::StartNotLookedFor);
}

#[test]
fn an_end_that_is_not_reported_is_found_in_a_conductor_seed() {
    assert_found(Fault::EndNotReported);
}

#[test]
fn steps_that_are_not_restored_are_found_in_a_conductor_seed() {
    assert_found(Fault::StepsNotRestored);
}

#[test]
fn a_final_workflow_that_goes_on_is_found_in_a_conductor_seed() {
    assert_found(Fault::FinalRunKept);
}

#[test]
fn an_idempotency_key_that_is_forgotten_is_found_in_a_conductor_seed() {
    assert_found(Fault::KeyNotKept);
}

#[test]
fn a_workflow_that_is_taken_for_over_is_found_in_a_conductor_seed() {
    assert_found(Fault::WorkflowsTakenForOver);
}

#[test]
fn a_backfill_that_does_not_look_is_found_in_a_conductor_seed() {
    assert_found(Fault::BackfillBlind);
}
