//! Ejection of one instance: it fails where others do not, so it is left alone for a while.

use std::time::Duration;

use tokio::time::Instant;

use super::outcome::Outcome;
use crate::upstream::policy::Ejection as Settings;

/// Whether an instance is ejected, and what it takes until it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ejection {
    /// Failures since the last call that went well.
    consecutive: u32,
    /// Ejections in a row: it was not well in between for as long as it was away.
    times: u32,
    /// When it came back, or comes back.
    until: Option<Instant>,
}

impl Ejection {
    /// How long it is left alone yet; `None` when it is not.
    pub(crate) fn left(self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// When it came back from its last ejection.
    pub(crate) fn returned(self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| *until <= now)
    }

    /// Ejections in a row.
    pub(crate) fn times(self) -> u32 {
        self.times
    }

    /// A call has ended. True when enough have failed in a row: it should be ejected, if that is allowed.
    pub(crate) fn end(&mut self, outcome: Outcome, now: Instant, settings: &Settings) -> bool {
        match outcome {
            Outcome::Unknown => false,
            Outcome::Fine => {
                self.consecutive = 0;
                let away = settings.base.saturating_mul(self.times).min(settings.max);
                if self.until.is_some_and(|until| now >= until + away) {
                    (self.times, self.until) = (0, None);
                }
                false
            }
            Outcome::Failed => {
                self.consecutive = self.consecutive.saturating_add(1);
                let limit = settings.consecutive_failures;
                limit > 0 && self.consecutive >= limit && self.left(now).is_none()
            }
        }
    }

    /// It is ejected now; returns for how long.
    pub(crate) fn eject(&mut self, now: Instant, settings: &Settings) -> Duration {
        self.consecutive = 0;
        self.times = self.times.saturating_add(1);
        let away = settings.base.saturating_mul(self.times).min(settings.max);
        self.until = Some(now + away);
        away
    }
}

/// True when one more of `all` may be ejected besides those that are.
pub(crate) fn is_allowed(ejected: usize, all: usize, settings: &Settings) -> bool {
    let most = all.saturating_mul(usize::from(settings.percent_max)) / 100;
    ejected < most.min(all.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> Settings {
        Settings { consecutive_failures: 3, base: SECOND, max: 2 * SECOND, percent_max: 50 }
    }

    #[test]
    fn failures_in_a_row_eject_and_one_success_breaks_the_row() {
        let (now, settings) = (Instant::now(), settings());
        let mut ejection = Ejection::default();
        let ends =
            [Outcome::Failed, Outcome::Failed, Outcome::Fine, Outcome::Failed, Outcome::Unknown, Outcome::Failed];
        for outcome in ends {
            assert!(!ejection.end(outcome, now, &settings));
        }
        assert!(ejection.end(Outcome::Failed, now, &settings));
        assert_eq!(ejection.eject(now, &settings), SECOND);
        assert_eq!(ejection.left(now), Some(SECOND));
        for _ in 0..5 {
            assert!(!ejection.end(Outcome::Failed, now, &settings), "it is away already");
        }
    }

    #[test]
    fn it_comes_back_by_itself_and_stays_away_longer_each_time_in_a_row() {
        let (mut now, settings) = (Instant::now(), settings());
        let mut ejection = Ejection::default();
        for seconds in [1, 2, 2] {
            assert_eq!(ejection.eject(now, &settings), seconds * SECOND);
            now += seconds * SECOND;
            assert_eq!((ejection.left(now), ejection.returned(now)), (None, Some(now)));
        }
        ejection.end(Outcome::Fine, now, &settings);
        assert_eq!(ejection.times(), 3, "it is not forgiven at once");
        ejection.end(Outcome::Fine, now + 2 * SECOND, &settings);
        assert_eq!(ejection.times(), 0);
        assert_eq!(ejection.eject(now, &settings), SECOND);
    }

    #[test]
    fn only_a_share_is_ejected_and_never_the_last() {
        let settings = settings();
        for (ejected, all, expected) in
            [(0, 1, false), (0, 2, true), (1, 2, false), (0, 3, true), (1, 3, false), (1, 4, true), (2, 4, false)]
        {
            assert_eq!(is_allowed(ejected, all, &settings), expected, "{ejected} of {all}");
        }
        let all_but_one = Settings { percent_max: 100, ..settings };
        assert!(is_allowed(0, 2, &all_but_one) && !is_allowed(1, 2, &all_but_one) && !is_allowed(0, 1, &all_but_one));
    }

    #[test]
    fn it_can_be_turned_off() {
        let settings = Settings { consecutive_failures: 0, ..settings() };
        let mut ejection = Ejection::default();
        assert!((0..100).all(|_| !ejection.end(Outcome::Failed, Instant::now(), &settings)));
    }
}
