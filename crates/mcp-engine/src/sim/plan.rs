//! What a seed decides before its run begins.

use super::dice::Dice;
use crate::{
    faults::Fault,
    types::{Config, Millis, Partition, WorkerSpec},
};

/// The one partition.
pub(super) const PARTITION: Partition = Partition(5);

/// When faults stop; from then on everything must come to its end.
pub(super) const FAULTS_END: Millis = 12_000;

/// When everything must have ended: the longest retries and leases fit in many times over.
pub(super) const DEADLINE: Millis = FAULTS_END + 120_000;

/// How a run goes.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) config: Config,
    pub(super) fault: Option<Fault>,
    /// How long an idempotency key is remembered.
    pub(super) window: Millis,
    /// Tasks that clients want.
    pub(super) submits: u64,
    /// Workers and what they serve; the first one serves everything.
    pub(super) workers: Vec<(WorkerSpec, u32)>,
    /// Messages lost, of 1,000.
    pub(super) loss: u64,
    /// Messages doubled, of 1,000.
    pub(super) doubling: u64,
    /// Messages delayed for long, of 1,000.
    pub(super) delaying: u64,
    /// Longest usual way of a message.
    pub(super) latency: Millis,
    /// Longest wait of a batch for its commit.
    pub(super) commit_time: Millis,
    /// Commits during which the owner crashes, of 1,000.
    pub(super) crashing: u64,
    /// How often something breaks.
    pub(super) fault_interval: Millis,
    /// Longest work of an attempt.
    pub(super) work_time: Millis,
}

impl Plan {
    pub(super) fn new(dice: &mut Dice, fault: Option<Fault>) -> Self {
        let calm = dice.percent(10);
        let often = |dice: &mut Dice, most| if calm { 0 } else { dice.range(0, most) };
        let mut workers = vec![(serving(true, &["a", "b"], &[]), u32::try_from(dice.range(1, 4)).unwrap())];
        for _ in 0..dice.range(0, 3) {
            let spec = match dice.range(0, 3) {
                0 => serving(true, &[], &[]),
                1 => serving(false, &["a"], &[]),
                2 => serving(true, &["b"], &["q1"]),
                _ => serving(true, &["a", "b"], &[]),
            };
            workers.push((spec, u32::try_from(dice.range(1, 4)).unwrap()));
        }
        let config = Config {
            seed: dice.range(0, u64::MAX >> 9),
            worker_lease: dice.range(300, 1_500),
            run_timeout_grace: dice.range(50, 500),
            lost_attempts_max: u32::try_from(dice.range(1, 6)).unwrap(),
            queue_len_max: usize::try_from(dice.pick(&[4, 8, 1_000])).unwrap(),
            queues_max: usize::try_from(dice.pick(&[3, 1_000])).unwrap(),
            idempotency_keys_max: 1_000,
            timers_per_tick_max: usize::try_from(dice.pick(&[1, 3, 1_000])).unwrap(),
            ..Config::default()
        };
        let window = if dice.percent(20) { dice.range(200, 3_000) } else { 10 * DEADLINE };
        Self {
            config,
            window,
            fault,
            submits: dice.range(5, 40),
            workers,
            loss: often(dice, 80),
            doubling: often(dice, 100),
            delaying: often(dice, 60),
            latency: dice.range(2, 40),
            commit_time: dice.range(1, 20),
            crashing: often(dice, 15),
            fault_interval: if calm { FAULTS_END } else { dice.range(150, 2_500) },
            work_time: dice.range(20, 1_200),
        }
    }

    /// True when a key that was acknowledged is known until the end of the run.
    pub(super) fn keys_last(&self) -> bool {
        self.window >= 10 * DEADLINE
    }
}

fn serving(processes: bool, handlers: &[&str], queues: &[&str]) -> WorkerSpec {
    WorkerSpec {
        queues: queues.iter().map(|name| (*name).into()).collect(),
        processes,
        handlers: handlers.iter().map(|name| (*name).into()).collect(),
        ..WorkerSpec::default()
    }
}
