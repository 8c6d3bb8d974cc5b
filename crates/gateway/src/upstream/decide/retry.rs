//! Whether a call is repeated, and when.

use std::time::Duration;

use crate::upstream::policy::Retry as Settings;

/// A wait doubles this many times at most; the configured limit is reached before.
const DOUBLINGS_MAX: u32 = 16;

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The instance went away before it looked at the call: nothing was done, and that happens once a connection.
    GoneAway,
    /// The instance refused the call unread: nothing was done.
    Refused,
    /// The connection broke, or the answer did not begin in time: what was done is not known.
    Broken,
    /// It answered with this status, and nothing else.
    Answered(tonic::Code),
}

/// An attempt that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt {
    /// Its number, from 1.
    pub(crate) number: u32,
    /// How it failed.
    pub(crate) fault: Fault,
    /// True when the call may be carried out more than once.
    pub(crate) safe: bool,
    /// True when everything that was sent can be sent again.
    pub(crate) kept: bool,
    /// Time that the call has left; `None`: as much as it likes.
    pub(crate) left: Option<Duration>,
    /// What the instance says about repeats, if anything.
    pub(crate) pushback: Option<Pushback>,
}

/// What an instance says about repeats. Source: gRFC A6, `grpc-retry-pushback-ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushback {
    /// After this time.
    Wait(Duration),
    /// Not at all.
    Never,
}

impl Pushback {
    /// Reads the value of `grpc-retry-pushback-ms`: what is not a number of milliseconds means no repeat.
    pub(crate) fn parse(value: &[u8]) -> Self {
        let millis = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u32>().ok());
        millis.map_or(Self::Never, |millis| Self::Wait(Duration::from_millis(millis.into())))
    }
}

/// What comes after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The caller gets the failure.
    GiveUp,
    /// Another attempt after a wait; `budgeted` when it must be taken from the budget.
    Again {
        /// The wait.
        after: Duration,
        /// False for a call that nobody has looked at, the first time.
        budgeted: bool,
    },
}

/// Decides. `roll` is random, from 0 up to but not 1.
pub(crate) fn verdict(attempt: Attempt, settings: &Settings, roll: f64) -> Verdict {
    let allowed = match attempt.fault {
        Fault::GoneAway | Fault::Refused => true,
        Fault::Broken => attempt.safe,
        Fault::Answered(code) => attempt.safe && settings.codes.has(code),
    };
    if !allowed || !attempt.kept || attempt.number >= settings.attempts || attempt.pushback == Some(Pushback::Never) {
        return Verdict::GiveUp;
    }
    let budgeted = attempt.fault != Fault::GoneAway || attempt.number > 1;
    let after = match attempt.pushback {
        Some(Pushback::Wait(wait)) => wait,
        _ if !budgeted => Duration::ZERO,
        _ => backoff(attempt.number, settings).mul_f64(roll),
    };
    // A repeat that could not be answered in time would only be one call more.
    if attempt.left.is_some_and(|left| after >= left) {
        return Verdict::GiveUp;
    }
    Verdict::Again { after, budgeted }
}

/// The longest wait after this attempt.
fn backoff(number: u32, settings: &Settings) -> Duration {
    let doubled = settings.backoff.saturating_mul(1 << number.saturating_sub(1).min(DOUBLINGS_MAX));
    doubled.min(settings.backoff_max)
}

/// How long this attempt may take to begin its answer; the last has what is left.
pub(crate) fn attempt_timeout(number: u32, settings: &Settings) -> Option<Duration> {
    settings.attempt_timeout.filter(|_| number < settings.attempts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tonic::Code;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn attempt(fault: Fault) -> Attempt {
        Attempt { number: 1, fault, safe: true, kept: true, left: None, pushback: None }
    }

    fn again(attempt: Attempt) -> bool {
        verdict(attempt, &Settings::default(), 0.5) != Verdict::GiveUp
    }

    #[test]
    fn only_what_is_safe_is_repeated_unless_nobody_looked_at_it() {
        for (fault, safe, unsafe_too) in [
            (Fault::GoneAway, true, true),
            (Fault::Refused, true, true),
            (Fault::Broken, true, false),
            (Fault::Answered(Code::Unavailable), true, false),
            (Fault::Answered(Code::ResourceExhausted), false, false),
            (Fault::Answered(Code::NotFound), false, false),
            (Fault::Answered(Code::Ok), false, false),
        ] {
            let attempt = attempt(fault);
            assert_eq!(again(attempt), safe, "{fault:?}");
            assert_eq!(again(Attempt { safe: false, ..attempt }), unsafe_too, "{fault:?}");
            assert!(!again(Attempt { kept: false, ..attempt }), "{fault:?}");
            assert!(!again(Attempt { number: 3, ..attempt }), "{fault:?}");
        }
    }

    #[test]
    fn a_call_that_nobody_looked_at_goes_on_at_once_and_outside_of_the_budget_but_once() {
        let settings = Settings::default();
        let first = attempt(Fault::GoneAway);
        let free = Verdict::Again { after: Duration::ZERO, budgeted: false };
        assert_eq!(verdict(first, &settings, 0.5), free);
        let second = Attempt { number: 2, ..first };
        assert!(matches!(verdict(second, &settings, 0.5), Verdict::Again { budgeted: true, .. }));
        assert!(matches!(verdict(attempt(Fault::Refused), &settings, 0.5), Verdict::Again { budgeted: true, .. }));
    }

    #[test]
    fn the_instance_may_say_when_or_never() {
        let settings = Settings::default();
        let answered = attempt(Fault::Answered(Code::Unavailable));
        let said = |value: &[u8]| Attempt { pushback: Some(Pushback::parse(value)), ..answered };
        let after = 70 * MS;
        assert_eq!(verdict(said(b"70"), &settings, 0.0), Verdict::Again { after, budgeted: true });
        for never in [&b"-1"[..], b"soon", b""] {
            assert_eq!(verdict(said(never), &settings, 0.0), Verdict::GiveUp);
        }
    }

    #[test]
    fn the_last_attempt_has_the_rest_of_the_deadline() {
        let settings = Settings { attempts: 3, attempt_timeout: Some(MS), ..Settings::default() };
        assert_eq!([1, 2, 3].map(|number| attempt_timeout(number, &settings)), [Some(MS), Some(MS), None]);
    }

    proptest! {
        /// The wait is random from nothing up to a limit that doubles, and never longer than what is left.
        #[test]
        fn waits_have_full_jitter(number in 1_u32..10, roll in 0.0_f64..1.0, left in 0_u64..2_000) {
            let settings = Settings { attempts: 10, backoff: 10 * MS, backoff_max: 500 * MS, ..Settings::default() };
            let left = Duration::from_millis(left);
            let attempt = Attempt { number, left: Some(left), ..attempt(Fault::Broken) };
            let limit = (10 * MS * (1 << (number - 1))).min(500 * MS);
            match verdict(attempt, &settings, roll) {
                Verdict::Again { after, .. } => prop_assert!(after <= limit && after < left),
                Verdict::GiveUp => prop_assert!(number == 10 || left <= limit),
            }
        }
    }
}
