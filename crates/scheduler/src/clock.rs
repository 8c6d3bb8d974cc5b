//! The time of the scheduler.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 that never go back: the wall clock at the start, and from there the monotonic clock. A
/// wall clock that is set later has no effect until the next start. Used for liveness only, never for safety.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
    start_unix_ms: u64,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { start: Instant::now(), start_unix_ms: millis(unix) }
    }

    /// Now, in milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.start_unix_ms + millis(self.start.elapsed())
    }

    /// The moment `at`, in milliseconds since 1970, on the monotonic clock; a past one is now.
    pub(crate) fn instant(&self, at: u64) -> Instant {
        self.start + Duration::from_millis(at.saturating_sub(self.start_unix_ms))
    }
}

/// A duration in milliseconds; one that is too long is as long as can be.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A moment as the wire has it.
pub(crate) fn wire_time(unix_ms: u64) -> prost_types::Timestamp {
    let seconds = i64::try_from(unix_ms / 1_000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(unix_ms % 1_000).unwrap_or_default() * 1_000_000;
    prost_types::Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Clock;

    #[test]
    fn a_moment_is_found_again_on_the_monotonic_clock() {
        let clock = Clock::start();
        let soon = clock.instant(clock.now() + 1_000).duration_since(Instant::now());
        assert!(soon > Duration::from_millis(900) && soon <= Duration::from_millis(1_001), "{soon:?}");
        assert!(clock.instant(0) <= Instant::now());
        assert!(clock.now() > 1_700_000_000_000);
    }
}
