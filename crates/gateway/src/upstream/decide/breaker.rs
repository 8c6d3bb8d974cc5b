//! The breaker of one instance: nothing is sent to it while most calls fail.
//!
//! Closed: calls go through and are counted. Open: none does, for a time. Half open: a few probes do; when all of
//! them succeed it closes, when one fails it opens again for twice as long.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    outcome::Outcome,
    window::{Kind, Window},
};
use crate::upstream::policy::Breaker as Settings;

/// A breaker; closed at first.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    calls: Window,
    phase: Phase,
    /// How long it was open the last time in a row.
    wait: Duration,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Closed,
    Open { until: Instant },
    HalfOpen { running: u32, succeeded: u32 },
}

/// What a breaker says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Calls go through.
    Closed,
    /// None does until this much time has passed.
    Open(Duration),
    /// Probes do.
    HalfOpen,
}

/// A call may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// As any other.
    Normal,
    /// As a probe, on whose end the breaker waits.
    Probe,
}

impl Breaker {
    /// A closed one.
    pub(crate) fn new(now: Instant) -> Self {
        Self { calls: Window::new(now), phase: Phase::Closed, wait: Duration::ZERO }
    }

    /// True while it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Its state. An open one whose time has passed is half open.
    pub(crate) fn state(&self, now: Instant) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { until } if now < until => State::Open(until - now),
            Phase::Open { .. } | Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// How a call may go through now; `None` when it may not. Nothing is counted yet: see [`begin`](Self::begin).
    pub(crate) fn admits(&self, now: Instant, settings: &Settings) -> Option<Pass> {
        match self.phase {
            Phase::Closed => Some(Pass::Normal),
            Phase::Open { until } => (now >= until).then_some(Pass::Probe),
            Phase::HalfOpen { running, .. } => (running < settings.probes).then_some(Pass::Probe),
        }
    }

    /// A call goes through. True when the breaker is half open from now on.
    pub(crate) fn begin(&mut self, pass: Pass) -> bool {
        match (pass, &mut self.phase) {
            (Pass::Normal, _) | (Pass::Probe, Phase::Closed) => false,
            (Pass::Probe, Phase::HalfOpen { running, .. }) => {
                *running += 1;
                false
            }
            (Pass::Probe, Phase::Open { .. }) => {
                self.phase = Phase::HalfOpen { running: 1, succeeded: 0 };
                true
            }
        }
    }

    /// A call has ended. Returns the state when it is another from now on.
    pub(crate) fn end(&mut self, pass: Pass, outcome: Outcome, now: Instant, settings: &Settings) -> Option<State> {
        match (&mut self.phase, pass) {
            (Phase::Closed, _) => self.count(outcome, now, settings),
            // Sent before it opened: it was judged with the others.
            (Phase::Open { .. }, _) | (Phase::HalfOpen { .. }, Pass::Normal) => None,
            (Phase::HalfOpen { running, succeeded }, Pass::Probe) => {
                *running = running.saturating_sub(1);
                match outcome {
                    Outcome::Unknown => None,
                    Outcome::Failed => Some(self.open(now, settings)),
                    Outcome::Fine => {
                        *succeeded += 1;
                        (*succeeded >= settings.probes).then(|| self.close(now))
                    }
                }
            }
        }
    }

    fn count(&mut self, outcome: Outcome, now: Instant, settings: &Settings) -> Option<State> {
        if outcome == Outcome::Unknown {
            return None;
        }
        self.calls.add(Kind::All, now);
        if outcome == Outcome::Fine {
            return None;
        }
        self.calls.add(Kind::Marked, now);
        let (all, failed) = (self.calls.count(Kind::All, now), self.calls.count(Kind::Marked, now));
        let most = u64::from(failed) * 100 >= u64::from(all) * u64::from(settings.failure_percent);
        (settings.failure_percent > 0 && all >= settings.calls_min && most).then(|| self.open(now, settings))
    }

    fn open(&mut self, now: Instant, settings: &Settings) -> State {
        self.wait = self.wait.saturating_mul(2).clamp(settings.open, settings.open_max);
        self.phase = Phase::Open { until: now + self.wait };
        State::Open(self.wait)
    }

    fn close(&mut self, now: Instant) -> State {
        self.calls.clear(now);
        self.phase = Phase::Closed;
        self.wait = Duration::ZERO;
        State::Closed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn settings() -> Settings {
        Settings { failure_percent: 50, calls_min: 4, open: SECOND, open_max: 3 * SECOND, probes: 2 }
    }

    fn ended(breaker: &mut Breaker, outcome: Outcome, now: Instant) -> Option<State> {
        let pass = breaker.admits(now, &settings()).expect("it lets the call through");
        breaker.begin(pass);
        breaker.end(pass, outcome, now, &settings())
    }

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(now);
        for outcome in [Outcome::Fine, Outcome::Fine, Outcome::Failed] {
            assert_eq!(ended(&mut breaker, outcome, now), None);
        }
        assert_eq!(ended(&mut breaker, Outcome::Failed, now), Some(State::Open(SECOND)));
        breaker
    }

    #[test]
    fn it_opens_when_enough_calls_have_failed_and_refuses_for_its_time() {
        let now = Instant::now();
        let breaker = opened(now);
        let almost = now + SECOND - Duration::from_nanos(1);
        assert_eq!(breaker.admits(almost, &settings()), None);
        assert_eq!(breaker.state(almost), State::Open(Duration::from_nanos(1)));
        assert_eq!(breaker.admits(now + SECOND, &settings()), Some(Pass::Probe));
    }

    #[test]
    fn it_stays_closed_below_the_share_and_below_the_number() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..3 {
            assert_eq!(ended(&mut breaker, Outcome::Failed, now), None, "too few to tell");
        }
        let mut breaker = Breaker::new(now);
        for count in 0..90 {
            let outcome = if count % 3 == 2 { Outcome::Failed } else { Outcome::Fine };
            assert_eq!(ended(&mut breaker, outcome, now), None, "a third fails");
        }
        let later = now + 11 * SECOND;
        for _ in 0..3 {
            assert_eq!(ended(&mut breaker, Outcome::Failed, later), None, "what was before is forgotten");
        }
    }

    #[test]
    fn half_open_it_lets_few_through_and_closes_when_they_succeed() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + SECOND;
        assert!(breaker.begin(Pass::Probe));
        assert!(!breaker.begin(Pass::Probe));
        assert_eq!(breaker.state(later), State::HalfOpen);
        assert_eq!(breaker.admits(later, &settings()), None, "two probes run");
        assert_eq!(breaker.end(Pass::Probe, Outcome::Fine, later, &settings()), None);
        assert_eq!(breaker.end(Pass::Probe, Outcome::Fine, later, &settings()), Some(State::Closed));
        for _ in 0..3 {
            assert_eq!(ended(&mut breaker, Outcome::Failed, later), None, "it begins from nothing");
        }
    }

    #[test]
    fn a_probe_that_fails_opens_it_for_longer_up_to_the_limit() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for seconds in [2, 3, 3] {
            now += 3 * SECOND;
            assert_eq!(ended(&mut breaker, Outcome::Failed, now), Some(State::Open(seconds * SECOND)));
        }
        now += 3 * SECOND;
        assert_eq!(ended(&mut breaker, Outcome::Fine, now), None);
        assert_eq!(ended(&mut breaker, Outcome::Fine, now), Some(State::Closed));
        for _ in 0..3 {
            ended(&mut breaker, Outcome::Failed, now);
        }
        assert_eq!(ended(&mut breaker, Outcome::Failed, now), Some(State::Open(SECOND)), "it was well in between");
    }

    #[test]
    fn a_probe_that_is_broken_off_makes_room_for_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + SECOND;
        for _ in 0..10 {
            assert_eq!(ended(&mut breaker, Outcome::Unknown, later), None);
        }
        assert_eq!(breaker.state(later), State::HalfOpen);
        assert_eq!(breaker.end(Pass::Normal, Outcome::Failed, later, &settings()), None, "a late end changes nothing");
    }

    proptest! {
        /// Whatever happens in whatever order: never more probes than allowed, and never shut for longer than its time.
        #[test]
        fn it_never_gets_stuck(steps in prop::collection::vec((0_u64..2_000, 0_u8..4), 1..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(now);
            let mut probes = 0_u32;
            for (millis, step) in steps {
                now += Duration::from_millis(millis);
                if step == 0 {
                    if let Some(pass) = breaker.admits(now, &settings()) {
                        breaker.begin(pass);
                        probes += u32::from(pass == Pass::Probe);
                    }
                } else {
                    let pass = if probes > 0 { Pass::Probe } else { Pass::Normal };
                    probes = probes.saturating_sub(1);
                    let outcome = [Outcome::Fine, Outcome::Failed, Outcome::Unknown][usize::from(step - 1)];
                    if let Some(State::Open(_)) = breaker.end(pass, outcome, now, &settings()) {
                        probes = 0; // those that still run end under an open breaker
                    }
                }
                prop_assert!(probes <= settings().probes);
                if let State::Open(left) = breaker.state(now) {
                    prop_assert!(left <= settings().open_max);
                    prop_assert!(breaker.admits(now + left, &settings()).is_some());
                }
            }
        }
    }
}
