//! How many calls of a service may be repeated: a share of those that came, so that repeats cannot multiply an outage.

use tokio::time::Instant;

use super::window::{Kind, SECONDS, Window};
use crate::upstream::policy::Retry;

/// The calls and the repeats of one service.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Window);

impl Budget {
    /// Nothing has come yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self(Window::new(now))
    }

    /// A call has come.
    pub(crate) fn call(&mut self, now: Instant) {
        self.0.add(Kind::All, now);
    }

    /// How many calls, or repeats, there were in the last ten seconds.
    pub(crate) fn count(&mut self, kind: Kind, now: Instant) -> u32 {
        self.0.count(kind, now)
    }

    /// True when a call may be repeated; it then counts as repeated.
    pub(crate) fn take(&mut self, now: Instant, settings: &Retry) -> bool {
        let (calls, repeats) = (self.0.count(Kind::All, now), self.0.count(Kind::Marked, now));
        let share = u64::from(calls) * u64::from(settings.budget_percent) / 100;
        let least = u64::from(settings.budget_min_per_second) * SECONDS as u64;
        let allowed = u64::from(repeats) < share.max(least);
        if allowed {
            self.0.add(Kind::Marked, now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn few_calls_can_be_repeated_too() {
        let mut now = Instant::now();
        let mut budget = Budget::new(now);
        let settings = Retry { budget_min_per_second: 1, ..Retry::default() };
        let taken = |budget: &mut Budget, now| (0..100).filter(|_| budget.take(now, &settings)).count();
        assert_eq!(taken(&mut budget, now), 10);
        now += Duration::from_secs(10);
        assert_eq!(taken(&mut budget, now), 10);
    }

    proptest! {
        /// Every call fails and wants three repeats: the repeats stay within the share, and what is allowed is used.
        #[test]
        fn repeats_stay_within_the_share(gaps in prop::collection::vec(0_u64..20, 500..2_000), percent in 1_u8..=100) {
            let settings = Retry { budget_percent: percent, budget_min_per_second: 0, ..Retry::default() };
            let mut now = Instant::now();
            let (start, mut budget, mut repeats) = (now, Budget::new(now), 0);
            for gap in &gaps {
                now += Duration::from_millis(*gap);
                budget.call(now);
                repeats += (0..3).filter(|_| budget.take(now, &settings)).count();
            }
            let share = gaps.len() * usize::from(percent) / 100;
            // A window that moves on lets go of a slot at a time: calls may count for up to two of them.
            let windows = usize::try_from((now - start).as_secs()).unwrap() / SECONDS + 1;
            prop_assert!(repeats <= 2 * share + windows, "{repeats} of {share}");
            if windows == 1 {
                prop_assert_eq!(repeats, share);
            }
        }
    }
}
