//! How slow an instance is: the peak-EWMA of its latency.
//!
//! A slow answer counts at once, a fast one only little by little, so that an instance that gets into trouble is
//! avoided after one answer and comes back over seconds. A failed call counts as a slow answer: else an instance that
//! fails fast would draw every call to itself.

use std::time::Duration;

use tokio::time::Instant;

/// Time in which the weight of what was seen falls to 1/e.
const DECAY: Duration = Duration::from_secs(10);

/// Latency of an instance of which nothing is known, and the least that any has, in seconds. Below it, differences are
/// noise: one slow first answer must not keep calls away for seconds.
const SECONDS_MIN: f64 = 0.005;

/// What a failure counts as at least, in seconds.
const SECONDS_FAILED: f64 = 1.0;

/// The latency of one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ewma {
    seconds: f64,
    seen: Instant,
}

impl Ewma {
    /// Nothing is known yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { seconds: SECONDS_MIN, seen: now }
    }

    /// An answer came after this time.
    #[must_use]
    pub(crate) fn answered(self, latency: Duration, now: Instant) -> Self {
        self.observe(latency.as_secs_f64(), now)
    }

    /// A call failed. It never makes the instance look better than it did.
    #[must_use]
    pub(crate) fn failed(self, now: Instant) -> Self {
        self.observe(SECONDS_FAILED.max(self.seconds), now)
    }

    /// How long an answer takes, in seconds, as far as that is known; never 0.
    pub(crate) fn seconds(self, now: Instant) -> f64 {
        (self.seconds * self.fade(now)).max(SECONDS_MIN)
    }

    fn observe(self, seconds: f64, now: Instant) -> Self {
        let fade = self.fade(now);
        let before = self.seconds;
        let after = if seconds >= before { seconds } else { before * fade + seconds * (1.0 - fade) };
        Self { seconds: after.max(SECONDS_MIN), seen: now }
    }

    /// What is left of the weight of what was seen last.
    fn fade(self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.seen).as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_slowly() {
        let start = Instant::now();
        let ewma = Ewma::new(start).answered(100 * MS, start);
        let slow = ewma.seconds(start);
        let ewma = ewma.answered(MS, start + MS);
        assert!(ewma.seconds(start + MS) > slow * 0.9);
        assert!(ewma.seconds(start + 10 * DECAY) < slow * 0.1);
    }

    #[test]
    fn a_failure_is_a_slow_answer_and_never_a_good_one() {
        let now = Instant::now();
        let new = Ewma::new(now);
        assert!(new.failed(now).seconds(now) > new.answered(100 * MS, now).seconds(now));
        let slow = new.answered(5_000 * MS, now);
        let later = now + 5 * DECAY;
        assert!(slow.failed(later).seconds(later) >= slow.seconds(later));
        assert!(slow.failed(later).seconds(later) >= 5.0);
    }

    proptest! {
        /// However it was before: without news it falls, with fast answers it stays between them and what was.
        #[test]
        fn it_decays(millis in prop::collection::vec(1_u64..10_000, 1..20), idle in 1_u64..100_000) {
            let mut now = Instant::now();
            let mut ewma = Ewma::new(now);
            for latency in millis {
                let before = ewma.seconds(now);
                let seen = latency as f64 / 1_000.0;
                now += 10 * MS;
                ewma = ewma.answered(Duration::from_millis(latency), now);
                let after = ewma.seconds(now);
                prop_assert!(after >= seen.max(SECONDS_MIN).min(before) - 1e-9, "{before} {seen} {after}");
                prop_assert!(after <= seen.max(before).max(SECONDS_MIN) + 1e-9, "{before} {seen} {after}");
            }
            let (peak, later) = (ewma.seconds(now), now + Duration::from_millis(idle));
            prop_assert!(ewma.seconds(later) <= peak);
            prop_assert!(ewma.seconds(now + 20 * DECAY) <= SECONDS_MIN);
        }
    }
}
