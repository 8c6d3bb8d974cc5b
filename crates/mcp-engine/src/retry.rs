//! When a failed attempt is tried again.

use std::sync::Arc;

use crate::types::{Failure, Millis, RetryPolicy, Submission};

/// Longest wait that a worker may ask for: a day, as long as the longest backoff a policy may have.
pub(crate) const RETRY_AFTER_MAX: Millis = 24 * 60 * 60 * 1_000;

/// The terms of a task that many tasks share: how it is tried again, and its timeouts. The fractions are kept as bits,
/// so that terms can be compared and ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Terms {
    pub(crate) run_timeout: Millis,
    pub(crate) queue_timeout: Option<Millis>,
    pub(crate) at_most_once: bool,
    never_retry: Arc<[Arc<str>]>,
    max_attempts: u32,
    initial_backoff: Millis,
    max_backoff: Millis,
    multiplier_bits: u64,
    jitter_bits: u64,
}

impl Terms {
    /// The terms of a submission.
    pub(crate) fn of(submission: &Submission) -> Self {
        let retry = &submission.retry;
        Self {
            run_timeout: submission.run_timeout,
            queue_timeout: submission.queue_timeout,
            at_most_once: submission.at_most_once,
            never_retry: Arc::clone(&submission.never_retry),
            max_attempts: retry.max_attempts,
            initial_backoff: retry.initial_backoff,
            max_backoff: retry.max_backoff,
            multiplier_bits: retry.multiplier.to_bits(),
            jitter_bits: retry.jitter.to_bits(),
        }
    }

    /// True when a failure, the number `failed` of the task, is the end of it.
    pub(crate) fn gives_up(&self, failure: &Failure, failed: u32) -> bool {
        !failure.retryable
            || self.at_most_once
            || failed >= self.max_attempts
            || self.never_retry.iter().any(|name| **name == *failure.name)
    }

    /// The retry policy among them.
    pub(crate) fn retry(&self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.max_attempts,
            initial_backoff: self.initial_backoff,
            max_backoff: self.max_backoff,
            multiplier: f64::from_bits(self.multiplier_bits),
            jitter: f64::from_bits(self.jitter_bits),
        }
    }
}

/// The wait after the failure number `failed` (from 1): `initial_backoff * multiplier^(failed - 1)`, at most
/// `max_backoff`, then shortened or lengthened by up to `jitter`.
pub(crate) fn backoff(policy: &RetryPolicy, failed: u32, random: &mut Random) -> Millis {
    #[expect(clippy::cast_precision_loss, reason = "a wait of more than 2^53 ms may be rounded")]
    let (mut wait, longest) = (policy.initial_backoff as f64, policy.max_backoff as f64);
    // Not `powi`: its result may differ from platform to platform. The loop ends early, as waits grow fast.
    for _ in 1..failed {
        if wait >= longest || wait <= 0.0 || policy.multiplier <= 1.0 {
            break;
        }
        wait *= policy.multiplier;
    }
    let wait = wait.min(longest) * (1.0 + policy.jitter * (2.0 * random.fraction() - 1.0));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole milliseconds; `as` saturates")]
    let wait = wait.round() as Millis;
    wait
}

/// A small generator of random numbers (splitmix64): the same seed gives the same numbers for ever.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// The next number as a fraction, 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Random, backoff};
    use crate::types::RetryPolicy;

    const POLICY: RetryPolicy =
        RetryPolicy { max_attempts: 10, initial_backoff: 100, max_backoff: 1_000, multiplier: 2.0, jitter: 0.0 };

    #[test]
    fn waits_grow_to_the_longest() {
        let waits = |policy: RetryPolicy| -> Vec<u64> {
            (1..=6).map(|failed| backoff(&policy, failed, &mut Random::new(1))).collect()
        };
        assert_eq!(waits(POLICY), [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(waits(RetryPolicy { multiplier: 1.0, ..POLICY }), [100; 6]);
        assert_eq!(waits(RetryPolicy { multiplier: 1.5, ..POLICY }), [100, 150, 225, 338, 506, 759]);
        assert_eq!(waits(RetryPolicy { initial_backoff: 0, ..POLICY }), [0; 6]);
        assert_eq!(backoff(&POLICY, u32::MAX, &mut Random::new(1)), 1_000);
        let long = RetryPolicy { initial_backoff: u64::MAX, max_backoff: u64::MAX, jitter: 1.0, ..POLICY };
        assert!(backoff(&long, 1_000, &mut Random::new(1)) > 0);
    }

    #[test]
    fn jitter_stays_within_its_part_and_comes_from_the_seed() {
        let policy = RetryPolicy { jitter: 0.2, ..POLICY };
        let waits = |seed| -> Vec<u64> {
            let mut random = Random::new(seed);
            (0..1_000).map(|_| backoff(&policy, 1, &mut random)).collect()
        };
        let first = waits(7);
        assert!(first.iter().all(|wait| (80..=120).contains(wait)));
        assert!(first.iter().any(|wait| *wait < 90) && first.iter().any(|wait| *wait > 110));
        assert_eq!(first, waits(7));
        assert_ne!(first, waits(8));
    }
}
