//! Token buckets, in whole numbers: no rounding adds up, so no rate is ever exceeded.

use crate::types::{Millis, Rate};

/// Parts of a token.
const UNITS: u64 = 1_000_000_000;

/// Units in a millisecond at one token in a second.
const UNITS_PER_MILLI: f64 = 1_000_000.0;

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenBucket {
    /// Units that come in with each millisecond.
    per_milli: u64,
    units_max: u64,
    /// What was there at the time `at`.
    units: u64,
    at: Millis,
}

impl TokenBucket {
    /// A bucket that was empty at `since`.
    pub(crate) fn empty(rate: Rate, since: Millis) -> Self {
        Self { per_milli: per_milli(rate), units_max: units_max(rate), units: 0, at: since }
    }

    /// Changes the rate; what was saved up stays, as far as there is room for it.
    pub(crate) fn change(&mut self, rate: Rate, now: Millis) {
        let units = self.units_at(now).min(units_max(rate));
        *self = Self { per_milli: per_milli(rate), units_max: units_max(rate), units, at: now.max(self.at) };
    }

    fn units_at(&self, now: Millis) -> u64 {
        let passed = now.saturating_sub(self.at);
        self.units.saturating_add(passed.saturating_mul(self.per_milli)).min(self.units_max)
    }

    /// When a token is there; `None` when one is there at `now`.
    pub(crate) fn next(&self, now: Millis) -> Option<Millis> {
        (self.units_at(now) < UNITS).then(|| self.reaches(UNITS))
    }

    /// When it is full.
    pub(crate) fn full_at(&self) -> Millis {
        self.reaches(self.units_max)
    }

    fn reaches(&self, units: u64) -> Millis {
        self.at.saturating_add(units.saturating_sub(self.units).div_ceil(self.per_milli))
    }

    /// Takes a token, which must be there.
    pub(crate) fn take(&mut self, now: Millis) {
        let units = self.units_at(now);
        debug_assert!(units >= UNITS, "a token is taken that is not there");
        (self.units, self.at) = (units.saturating_sub(UNITS), now.max(self.at));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates, and 0 becomes 1")]
fn per_milli(rate: Rate) -> u64 {
    ((rate.per_second * UNITS_PER_MILLI).round() as u64).max(1)
}

fn units_max(rate: Rate) -> u64 {
    u64::from(rate.burst.max(1)) * UNITS
}

#[cfg(test)]
mod tests {
    use super::TokenBucket;
    use crate::types::Rate;

    fn rate(per_second: f64, burst: u32) -> Rate {
        Rate { per_second, burst }
    }

    #[test]
    fn a_bucket_starts_empty_and_saves_up_to_its_burst() {
        let mut bucket = TokenBucket::empty(rate(10.0, 3), 1_000);
        assert_eq!((bucket.next(1_000), bucket.full_at()), (Some(1_100), 1_300));
        assert_eq!((bucket.next(1_099), bucket.next(1_100)), (Some(1_100), None));
        for _ in 0..3 {
            bucket.take(9_000);
        }
        assert_eq!(bucket.next(9_000), Some(9_100));
    }

    #[test]
    fn no_rounding_adds_up() {
        // A third of a token in each millisecond and a bit less: after an hour exactly as many as there may be.
        let mut bucket = TokenBucket::empty(rate(333.333_333, 2), 0);
        let mut taken = 0;
        while let Some(at) = bucket.next(bucket.at).filter(|at| *at <= 3_600_000) {
            bucket.take(at);
            taken += 1;
        }
        assert_eq!(taken, 1_199_999);
        let mut slow = TokenBucket::empty(rate(0.000_1, 1), 0);
        assert_eq!(slow.next(0), Some(10_000_000));
        slow.take(10_000_000);
        assert_eq!(slow.next(10_000_000), Some(20_000_000));
    }

    #[test]
    fn the_ends_of_the_range_do_no_harm() {
        for (per_second, burst) in [(0.0, 0), (-1.0, 1), (f64::NAN, 1), (f64::INFINITY, u32::MAX), (1e-9, u32::MAX)] {
            let mut bucket = TokenBucket::empty(rate(per_second, burst), 5);
            assert!(bucket.next(0).is_some_and(|at| at > 5), "{per_second}");
            assert_eq!(bucket.next(u64::MAX), None, "{per_second}");
            bucket.take(u64::MAX);
        }
    }

    #[test]
    fn a_change_keeps_what_was_saved_up() {
        let mut bucket = TokenBucket::empty(rate(10.0, 5), 0);
        bucket.change(rate(1.0, 2), 10_000);
        bucket.take(10_000);
        bucket.take(10_000);
        assert_eq!(bucket.next(10_000), Some(11_000));
    }
}
