//! A simulation of the book with several schedulers that take partitions from each other, by seed.
//!
//! The schedulers are a model of their own, which shares nothing with the book: each has what it was told and what it
//! believes to own; the truth is which replica owns a partition now. Sessions break, replicas freeze and come back late,
//! messages of a broken session are lost. Checked all the time: the invariants of the book, and that no scheduler gives
//! out more than it was granted. Checked at the end, when the faults are over: every attempt that was started ended at
//! the owner of the moment, exactly once, and all slots are credits again.

mod dice;
mod scheduler;
mod world;

use self::world::{Plan, World};

const SEEDS: u64 = 300;

fn run(plan: Plan) {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, plan);
        for _ in 0..plan.steps {
            world.step();
        }
        world.heal();
    }
}

#[test]
fn every_end_reaches_the_owner_of_the_moment_once() {
    run(Plan { steps: 400, slots: 6, forgets: false });
}

#[test]
fn attempts_that_owners_give_away_are_given_up() {
    run(Plan { steps: 400, slots: 6, forgets: true });
}

#[test]
fn fewer_slots_than_replicas_are_enough() {
    run(Plan { steps: 200, slots: 2, forgets: true });
}
