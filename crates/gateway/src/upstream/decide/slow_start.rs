//! How much of its share an instance takes that has just come, or come back.

use std::time::Duration;

/// The share at the beginning.
const SHARE_MIN: f64 = 0.1;

/// The share of an instance that has been there for `age`; 1 once `window` has passed.
pub(crate) fn share(age: Duration, window: Duration) -> f64 {
    if age >= window {
        return 1.0;
    }
    SHARE_MIN + (1.0 - SHARE_MIN) * age.as_secs_f64() / window.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_evenly_from_a_tenth_to_all() {
        let seconds = Duration::from_secs;
        for (age, expected) in [(0, 0.1), (5, 0.55), (10, 1.0), (60, 1.0)] {
            assert!((share(seconds(age), seconds(10)) - expected).abs() < 1e-9, "{age}");
        }
        assert!(share(Duration::ZERO, Duration::ZERO) >= 1.0, "it can be turned off");
    }
}
