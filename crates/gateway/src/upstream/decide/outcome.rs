//! What the end of a call says about the instance.

use std::time::Duration;

use tonic::Code;

use crate::upstream::policy::Codes;

/// A deadline that left an instance less time than this says nothing about it.
pub(crate) const TOLD_MIN: Duration = Duration::from_millis(250);

/// A caller that breaks off when this share of its time is over has run out of time: its clock began before ours.
const GIVEN_UP: f64 = 0.9;

/// How a call ended, as far as the instance is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It did what it should, or refused what the caller should not have asked.
    Fine,
    /// It is in trouble.
    Failed,
    /// Nothing can be said.
    Unknown,
}

/// What a status says. `waited`: how long the instance had; `measured`: it should have answered as soon as it could.
pub(crate) fn of_status(code: Code, failures: Codes, waited: Duration, measured: bool) -> Outcome {
    match code {
        Code::DeadlineExceeded => of_timeout(waited, measured),
        Code::Cancelled => Outcome::Unknown,
        code if failures.has(code) => Outcome::Failed,
        _ => Outcome::Fine,
    }
}

/// What a call that ran out of time says.
pub(crate) fn of_timeout(waited: Duration, measured: bool) -> Outcome {
    if measured && waited >= TOLD_MIN { Outcome::Failed } else { Outcome::Unknown }
}

/// What a call says that the caller broke off. `allowed`: how long it might have waited, if it said so.
pub(crate) fn of_abandoned(waited: Duration, allowed: Option<Duration>, measured: bool) -> Outcome {
    match allowed {
        Some(allowed) if waited >= allowed.mul_f64(GIVEN_UP) => of_timeout(waited, measured),
        _ => Outcome::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_judged_by_what_is_its_own_fault() {
        let failures = Codes::from([Code::Unavailable]);
        let second = Duration::from_secs(1);
        for (code, waited, measured, expected) in [
            (Code::Ok, second, true, Outcome::Fine),
            (Code::NotFound, second, true, Outcome::Fine),
            (Code::Unavailable, Duration::ZERO, false, Outcome::Failed),
            (Code::Cancelled, second, true, Outcome::Unknown),
            (Code::DeadlineExceeded, second, true, Outcome::Failed),
            (Code::DeadlineExceeded, second, false, Outcome::Unknown),
            (Code::DeadlineExceeded, TOLD_MIN / 2, true, Outcome::Unknown),
        ] {
            assert_eq!(of_status(code, failures, waited, measured), expected, "{code:?} {waited:?} {measured}");
        }
    }

    #[test]
    fn a_caller_that_gives_up_at_its_deadline_has_run_out_of_time() {
        let second = Duration::from_secs(1);
        for (millis, allowed, expected) in [
            (990, Some(second), Outcome::Failed),
            (500, Some(second), Outcome::Unknown),
            (990, None, Outcome::Unknown),
            (200, Some(second / 5), Outcome::Unknown),
        ] {
            let waited = Duration::from_millis(millis);
            assert_eq!(of_abandoned(waited, allowed, true), expected, "{millis} {allowed:?}");
        }
    }
}
