//! A seeded simulation of conductors: owners that crash and change, messages that are lost, doubled and late.
//!
//! `SEED=17 cargo test -p scheduler --lib conductor_seed -- --nocapture` runs one seed; `SEEDS=10000` runs more of them.

mod disk;
mod node;
mod world;

use std::panic::resume_unwind;

use self::world::World;

/// Seeds of a usual run.
const SEEDS: u64 = 1_000;
/// Things that happen in a run before everything comes to rest.
const STEPS: usize = 300;

/// What happened, so that a simulation in which nothing happens is noticed.
#[derive(Debug, Default)]
struct Tally {
    started: usize,
    handed_over: usize,
    crashes: usize,
}

impl Tally {
    fn plus(self, more: Self) -> Self {
        Self {
            started: self.started + more.started,
            handed_over: self.handed_over + more.handed_over,
            crashes: self.crashes + more.crashes,
        }
    }
}

fn run_seed(seed: u64) -> Tally {
    let mut world = World::new(seed);
    (0..STEPS).for_each(|_| world.step());
    world.come_to_rest();
    world.check();
    Tally { started: world.disk.tasks.len(), handed_over: world.handed_over, crashes: world.crashes }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_fire_is_lost_or_doubled_whatever_crashes_and_gets_lost_in_any_conductor_seed() {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let tallies = std::thread::scope(|scope| {
        let run = |offset| {
            let mine = seeds.clone().skip(offset).step_by(threads);
            scope.spawn(move || mine.map(run_seed).fold(Tally::default(), Tally::plus))
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .fold(Tally::default(), Tally::plus)
    });
    let Tally { started, handed_over, crashes } = tallies;
    let seeds = usize::try_from(seeds.end - seeds.start).unwrap();
    assert!(seeds < 10 || (started > seeds * 20 && handed_over > seeds * 5 && crashes > seeds * 2));
}
