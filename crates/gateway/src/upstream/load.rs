//! How busy and how slow an instance is: peak-EWMA latency times calls in flight.
//!
//! A slow answer counts at once, a fast one only little by little, so that an instance that gets into trouble is
//! avoided after one answer and comes back over seconds. A failed call counts as a slow answer: else an instance that
//! fails fast would draw every call to itself.

use std::{cell::Cell, time::Duration};

use tokio::time::Instant;

/// Time in which the weight of what was seen falls to 1/e.
const DECAY: Duration = Duration::from_secs(10);

/// Latency of an instance of which nothing is known, and the least that any has, in seconds. Below it, differences are
/// noise: one slow first answer must not keep calls away for seconds.
const SECONDS_MIN: f64 = 0.005;

/// What a failure counts as, in seconds.
const SECONDS_FAILED: f64 = 1.0;

/// The load of one instance, as one data-plane thread sees it.
#[derive(Debug)]
pub(crate) struct Load {
    in_flight: Cell<u32>,
    seconds: Cell<f64>,
    seen: Cell<Instant>,
    weight: f64,
}

impl Load {
    /// Nothing is known yet. `weight` is its share of the calls compared with others.
    pub(crate) fn new(weight: u32, now: Instant) -> Self {
        Self {
            in_flight: Cell::new(0),
            seconds: Cell::new(SECONDS_MIN),
            seen: Cell::new(now),
            weight: f64::from(weight.max(1)),
        }
    }

    /// A call begins.
    pub(crate) fn begin(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }

    /// A call has ended.
    pub(crate) fn end(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    /// An answer came after this time.
    pub(crate) fn answered(&self, latency: Duration, now: Instant) {
        self.observe(latency.as_secs_f64(), now);
    }

    /// A call failed.
    pub(crate) fn failed(&self, now: Instant) {
        self.observe(SECONDS_FAILED, now);
    }

    /// What one more call here costs compared with elsewhere; less is better.
    pub(crate) fn cost(&self, now: Instant) -> f64 {
        let seconds = (self.seconds.get() * self.fade(now)).max(SECONDS_MIN);
        seconds * f64::from(self.in_flight.get() + 1) / self.weight
    }

    fn observe(&self, seconds: f64, now: Instant) {
        let fade = self.fade(now);
        let before = self.seconds.get();
        let after = if seconds > before { seconds } else { before * fade + seconds * (1.0 - fade) };
        self.seconds.set(after.max(SECONDS_MIN));
        self.seen.set(now);
    }

    /// What is left of the weight of what was seen last.
    fn fade(&self, now: Instant) -> f64 {
        (-now.saturating_duration_since(self.seen.get()).as_secs_f64() / DECAY.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn calls_in_flight_and_a_smaller_weight_cost_more() {
        let now = Instant::now();
        let (light, heavy) = (Load::new(100, now), Load::new(200, now));
        assert!(heavy.cost(now) < light.cost(now));
        heavy.begin();
        heavy.begin();
        assert!(heavy.cost(now) > light.cost(now));
        heavy.end();
        heavy.end();
        assert!(heavy.cost(now) < light.cost(now));
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_is_forgotten_slowly() {
        let start = Instant::now();
        let load = Load::new(100, start);
        load.answered(100 * MS, start);
        let slow = load.cost(start);
        load.answered(MS, start + MS);
        assert!(load.cost(start + MS) > slow * 0.9);
        assert!(load.cost(start + 10 * DECAY) < slow * 0.1);
    }

    #[test]
    fn a_failure_is_a_slow_answer() {
        let now = Instant::now();
        let (failing, working) = (Load::new(100, now), Load::new(100, now));
        failing.failed(now);
        working.answered(100 * MS, now);
        assert!(failing.cost(now) > working.cost(now));
    }
}
