//! Many seeds, one seed, and bugs planted to see that they are found.

use std::{
    env, panic,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use super::{Run, coverage::WANTED, simulate, trace};
use crate::faults::Fault;

const SEEDS: u64 = 1_000;

fn variable(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")))
}

/// Runs seeds on every core; gives the runs, or the lowest seed that failed.
fn simulate_all(seeds: u64, fault: Option<Fault>) -> Result<Vec<Run>, String> {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let results = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut results = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            return results;
                        }
                        // The engine's own asserts panic; the seed must be told all the same.
                        let result = panic::catch_unwind(|| simulate(seed, fault))
                            .unwrap_or_else(|_| Err(format!("SEED={seed}: the engine panicked")));
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
    let mut results = results;
    results.sort_by_key(|(seed, _)| *seed);
    results.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn the_promises_hold_for_every_seed() {
    let seeds = variable("SEEDS").unwrap_or(SEEDS);
    let runs = simulate_all(seeds, None).unwrap_or_else(|broken| panic!("{broken}"));
    let sum = |part: fn(&Run) -> u64| runs.iter().map(part).sum::<u64>();
    let [acknowledged, succeeded, failed, cancelled] =
        [0, 1, 2, 3].map(|of| runs.iter().map(|run| run.tasks[of]).sum::<usize>());
    println!(
        "{seeds} seeds: {} steps, {} processes, {} epochs, {acknowledged} tasks acknowledged; {succeeded} succeeded, {failed} failed, \
         {cancelled} cancelled",
        sum(|run| run.steps),
        sum(|run| run.owners as u64),
        sum(|run| run.epochs),
    );
    let runs_len = usize::try_from(seeds).unwrap();
    assert!(acknowledged > 10 * runs_len && succeeded > 5 * runs_len, "most tasks get through");
    assert!(failed > runs_len / 2 && cancelled > runs_len / 4, "every way to end is taken");
    assert!(sum(|run| run.owners as u64) > 4 * seeds && sum(|run| run.epochs) > 8 * seeds, "owners change often");
    let never = WANTED.iter().filter(|wanted| !runs.iter().any(|run| run.seen.contains(**wanted)));
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

/// The checker finds a bug that is planted; only it: the engine does not look at its own invariants here.
fn assert_found(fault: Fault) {
    let Err(found) = simulate_all(SEEDS, Some(fault)) else { panic!("{fault:?} was not found in {SEEDS} seeds") };
    assert!(!found.contains("panicked"), "the checker finds it, not the engine itself: {found}");
    println!("{fault:?}: {found}");
}

#[test]
fn a_result_under_an_outdated_token_is_found() {
    assert_found(Fault::TokenUnchecked);
}

#[test]
fn a_slot_that_is_not_taken_is_found() {
    assert_found(Fault::SlotNotTaken);
}

#[test]
fn a_lease_that_ends_without_effect_is_found() {
    assert_found(Fault::LeaseEndIgnored);
}

#[test]
fn an_earlier_owners_attempt_that_counts_again_is_found() {
    assert_found(Fault::RestoredNotVoided);
}

#[test]
fn a_failed_attempt_that_counts_again_is_found() {
    assert_found(Fault::RetryNotVoided);
}

#[test]
fn an_end_without_a_record_is_found() {
    assert_found(Fault::FinishNotPersisted);
}

#[test]
fn a_forgotten_key_is_found() {
    assert_found(Fault::KeyForgotten);
}

#[test]
fn a_lost_cancel_is_found() {
    assert_found(Fault::CancelLost);
}

#[test]
fn an_overfull_queue_is_found() {
    assert_found(Fault::QueueUnbounded);
}

#[test]
fn a_permit_that_leaks_is_found() {
    assert_found(Fault::PermitLeaked);
}

#[test]
fn an_earlier_owners_attempt_that_does_not_count_is_found() {
    assert_found(Fault::HeldNotCounted);
}

#[test]
fn a_key_that_never_opens_again_is_found() {
    assert_found(Fault::LaneNotWoken);
}

#[test]
fn a_pause_without_effect_is_found() {
    assert_found(Fault::PauseIgnored);
}

#[test]
fn a_rate_without_effect_is_found() {
    assert_found(Fault::RateIgnored);
}

#[test]
fn a_rate_that_a_change_of_owners_exceeds_is_found() {
    assert_found(Fault::RateStartsFull);
}

#[test]
fn a_name_that_stays_taken_is_found() {
    assert_found(Fault::UniqueKept);
}

#[test]
fn a_name_of_two_tasks_is_found() {
    assert_found(Fault::UniqueUnchecked);
}

#[test]
fn a_start_without_a_record_is_found() {
    assert_found(Fault::StartNotPersisted);
}

#[test]
fn a_second_start_of_what_runs_once_is_found() {
    assert_found(Fault::StartedAgain);
}

#[test]
fn a_retry_that_is_not_allowed_is_found() {
    assert_found(Fault::RetriedAnyway);
}

#[test]
fn a_priority_that_starves_others_is_found() {
    assert_found(Fault::AgeIgnored);
}

#[test]
fn a_key_that_starves_others_is_found() {
    assert_found(Fault::TurnsFree);
}

#[test]
fn a_token_with_another_partitions_epoch_is_found() {
    assert_found(Fault::EpochsMixed);
}

#[test]
fn a_partition_that_leaves_something_behind_is_found() {
    assert_found(Fault::NamesNotClosed);
}

#[test]
fn a_merged_key_without_a_record_is_found() {
    assert_found(Fault::MergedKeyNotKept);
}

#[test]
fn an_orderly_close_that_does_not_name_what_runs_is_found() {
    assert_found(Fault::ClosedUnnamed);
}

#[test]
fn an_orderly_close_that_is_believed_twice_is_found() {
    assert_found(Fault::ClosingBelieved);
}
