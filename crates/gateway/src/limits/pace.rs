//! The least speed of a request's body, against callers who send a byte now and then and hold what that takes. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// How fast a body must come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    started: Instant,
    grace: Duration,
    bytes_per_second: u32,
}

impl Pace {
    /// A body that began at `started`: so many bytes a second on average, once `grace` has passed. 0: any speed.
    pub(crate) fn new(started: Instant, grace: Duration, bytes_per_second: u32) -> Self {
        Self { started, grace, bytes_per_second }
    }

    /// When the next bytes must have come, after so many; `None`: whenever they like.
    pub(crate) fn due(&self, bytes: usize) -> Option<Instant> {
        let rate = u64::from(self.bytes_per_second);
        let millis = (bytes as u64).saturating_mul(1_000).checked_div(rate)?;
        self.started.checked_add(self.grace)?.checked_add(Duration::from_millis(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_bytes_buy_more_time() {
        let started = Instant::now();
        let pace = Pace::new(started, Duration::from_secs(10), 1_000);
        let due = |bytes| pace.due(bytes).map(|at| (at - started).as_secs());
        assert_eq!((due(0), due(5_000), due(60_000)), (Some(10), Some(15), Some(70)));
        assert_eq!(Pace::new(started, Duration::ZERO, 0).due(7), None);
    }
}
