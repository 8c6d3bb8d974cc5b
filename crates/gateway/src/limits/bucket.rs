//! One token bucket, as a single number. Pure: the time is an argument.
//!
//! The number is the moment at which the bucket will be full again (the "theoretical arrival time" of GCRA, ITU-T I.371):
//! each request moves it on by what a token takes to come back, and is refused when that would be too far ahead.

use std::time::Duration;

use super::settings::RateLimit;

/// What a limit comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Nanoseconds until a token is back.
    interval: u64,
    /// Tokens of a full bucket.
    burst: u32,
}

/// When a bucket is full again, in nanoseconds of a clock that only goes on.
pub(crate) type FullAt = u64;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taken {
    /// The bucket after it.
    pub(crate) full_at: FullAt,
    /// Tokens that are left.
    pub(crate) remaining: u32,
    /// How long until the bucket is full.
    pub(crate) full_in: Duration,
    /// How long to wait for the next token; `None`: the request had one.
    pub(crate) retry_after: Option<Duration>,
}

impl Rate {
    /// The rate of a limit.
    pub(crate) fn of(limit: &RateLimit) -> Self {
        let window = u64::try_from(limit.window.as_nanos()).unwrap_or(u64::MAX);
        Self { interval: (window / u64::from(limit.requests.max(1))).max(1), burst: limit.burst().max(1) }
    }

    /// Takes a token at `now` from a bucket; one that was never used is full (`0`).
    pub(crate) fn take(self, full_at: FullAt, now: u64) -> Taken {
        let capacity = self.interval.saturating_mul(u64::from(self.burst));
        // A clock never goes back here, but a rate may have changed: no bucket is emptier than empty.
        let full_at = full_at.clamp(now, now.saturating_add(capacity));
        let after = full_at.saturating_add(self.interval);
        let wait = after.saturating_sub(now.saturating_add(capacity));
        let (full_at, retry_after) =
            if wait == 0 { (after, None) } else { (full_at, Some(Duration::from_nanos(wait))) };
        let remaining = (now.saturating_add(capacity) - full_at) / self.interval;
        Taken {
            full_at,
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            full_in: Duration::from_nanos(full_at - now),
            retry_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(requests: u32, window: Duration, burst: u32) -> Rate {
        Rate::of(&RateLimit { requests, window, burst, ..RateLimit::default() })
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let rate = rate(10, Duration::from_secs(1), 3);
        let (mut full_at, now) = (0, 5 * SECOND);
        for left in [2, 1, 0] {
            let taken = rate.take(full_at, now);
            assert_eq!((taken.remaining, taken.retry_after), (left, None));
            full_at = taken.full_at;
        }
        let refused = rate.take(full_at, now);
        assert_eq!(refused.retry_after, Some(Duration::from_millis(100)));
        assert_eq!((refused.full_at, refused.remaining), (full_at, 0), "a refusal costs nothing");
        assert_eq!(refused.full_in, Duration::from_millis(300));
        assert_eq!(rate.take(full_at, now + SECOND / 10).retry_after, None);
        assert_eq!(rate.take(full_at, now + SECOND).remaining, 2, "it is full after a quiet time and no fuller");
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_a_burst_and_its_rate(
            requests in 1_u32..50, burst in 1_u32..50, gaps in prop::collection::vec(0_u64..SECOND / 4, 1..300),
        ) {
            let rate = rate(requests, Duration::from_secs(1), burst);
            let (mut full_at, mut now, mut accepted) = (0, SECOND, Vec::new());
            for gap in gaps {
                now += gap;
                let taken = rate.take(full_at, now);
                full_at = taken.full_at;
                if taken.retry_after.is_none() {
                    accepted.push(now);
                }
            }
            for (index, start) in accepted.iter().enumerate() {
                let within = accepted[index..].iter().filter(|at| **at - start < SECOND).count();
                prop_assert!(within <= (burst + requests + 1) as usize, "{within} of {requests}/s, burst {burst}");
            }
        }
    }
}
