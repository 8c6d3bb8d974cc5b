//! Limits and times.

use super::Millis;

/// Limits and times of the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Seed of the backoff jitter.
    pub seed: u64,
    /// How long a worker without a session keeps its attempts, and how long after the opening of a partition its tasks wait
    /// for a worker to report them before they are dispatched anew.
    pub worker_lease: Millis,
    /// How much longer than its run timeout an attempt may be silent about its end before it counts as timed out
    /// (the worker enforces the timeout itself; this is the scheduler's own net).
    pub run_timeout_grace: Millis,
    /// How often a task may be lost with its worker before it fails.
    pub lost_attempts_max: u32,
    /// Unfinished tasks a queue may hold.
    pub queue_len_max: usize,
    /// Unfinished tasks in all.
    pub tasks_max: usize,
    /// Queues that hold a task, and again as many that have rules.
    pub queues_max: usize,
    /// Idempotency keys in all; the oldest are forgotten first.
    pub idempotency_keys_max: usize,
    /// Timers one tick may fire.
    pub timers_per_tick_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            worker_lease: 10_000,
            run_timeout_grace: 5_000,
            lost_attempts_max: 5,
            queue_len_max: 2_000_000,
            tasks_max: 4_000_000,
            queues_max: 100_000,
            idempotency_keys_max: 1_000_000,
            timers_per_tick_max: 10_000,
        }
    }
}
