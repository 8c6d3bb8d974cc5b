//! How many calls an instance has at a time: the limit follows the gradient of its latency.
//!
//! While answers take as long as usual, the limit grows by about its square root; when they take longer because calls
//! queue up in the instance, it falls by as much as they are slower. What is usual is learnt while the limit does not
//! matter: an average over all answers would get used to the queue. When the limit has been low for long, it is made
//! as low as can be for a moment, to learn it anew. Sources: Netflix, concurrency-limits; Envoy, adaptive concurrency.

use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::policy::Concurrency as Settings;

/// Weight in what is usual of an answer that was faster.
const FASTER: f64 = 0.1;

/// Weight in what is usual of an answer that was slower although nothing queued up.
const SLOWER: f64 = 0.02;

/// Weight of the newest limit in the next one.
const SMOOTH: f64 = 0.2;

/// Answers under a limit lower than it began with, after which what is usual is learnt anew.
const LOW_MAX: u32 = 500;

/// Answers from which it is learnt.
const SAMPLES: u32 = 20;

/// Calls at a time meanwhile, at least: so few do not queue up anywhere.
const SAMPLED_MIN: u32 = 3;

/// Longest time that this may take: calls that hang must not keep all others away.
const SAMPLING_MAX: Duration = Duration::from_secs(1);

/// What is left of the limit after a failure.
const BACKOFF: f64 = 0.9;

/// The limit of one instance.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gradient {
    limit: f64,
    /// What is usual, in seconds; 0 before the first answer.
    usual: f64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The limit follows the gradient; so many answers came while it was low.
    Following { low: u32 },
    /// What is usual is learnt from these answers.
    Sampling { samples: u32, seconds: f64, calls: u32, until: Instant },
}

impl Gradient {
    /// Where the settings say that it begins.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { limit: f64::from(settings.initial), usual: 0.0, phase: Phase::Following { low: 0 } }
    }

    /// Calls that may be in flight.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within `min` and `max`")]
    pub(crate) fn limit(self, now: Instant) -> u32 {
        match self.phase {
            Phase::Sampling { calls, until, .. } if now < until => calls,
            Phase::Sampling { .. } | Phase::Following { .. } => self.limit as u32,
        }
    }

    /// An answer came after this time, while so many calls were in flight.
    #[must_use]
    pub(crate) fn answered(mut self, latency: Duration, in_flight: u32, now: Instant, settings: &Settings) -> Self {
        let taken = latency.as_secs_f64().max(1e-9);
        match self.phase {
            Phase::Following { low } => self.follow(taken, in_flight, (low, now), settings),
            Phase::Sampling { until, .. } if now >= until => self.phase = Phase::Following { low: 0 },
            // Those that came before it queue up yet.
            Phase::Sampling { calls, .. } if in_flight > calls => {}
            Phase::Sampling { samples, seconds, calls, until } if samples + 1 < SAMPLES => {
                self.phase = Phase::Sampling { samples: samples + 1, seconds: seconds + taken, calls, until };
            }
            Phase::Sampling { seconds, .. } => {
                self.usual = (seconds + taken) / f64::from(SAMPLES);
                self.phase = Phase::Following { low: 0 };
            }
        }
        self
    }

    fn follow(&mut self, seconds: f64, in_flight: u32, (low, now): (u32, Instant), settings: &Settings) {
        // Calls that did not need the limit tell nothing about a higher one.
        let is_idle = f64::from(in_flight) < self.limit / 2.0;
        self.usual += match seconds - self.usual {
            _ if self.usual == 0.0 => seconds,
            less if less < 0.0 => less * FASTER,
            more if is_idle => more * SLOWER,
            _ => 0.0,
        };
        if is_idle {
            return;
        }
        let tolerance = f64::from(settings.tolerance_percent) / 100.0;
        let gradient = (tolerance * self.usual / seconds).clamp(0.5, 1.0);
        let target = self.limit * gradient + self.limit.sqrt();
        *self = self.bounded(self.limit * (1.0 - SMOOTH) + target * SMOOTH, settings);
        let low = if self.limit < f64::from(settings.initial) { low + 1 } else { 0 };
        self.phase = if low < LOW_MAX {
            Phase::Following { low }
        } else {
            let calls = SAMPLED_MIN.clamp(settings.min, settings.max);
            Phase::Sampling { samples: 0, seconds: 0.0, calls, until: now + SAMPLING_MAX }
        };
    }

    /// A call failed.
    #[must_use]
    pub(crate) fn failed(self, settings: &Settings) -> Self {
        self.bounded(self.limit * BACKOFF, settings)
    }

    fn bounded(mut self, limit: f64, settings: &Settings) -> Self {
        self.limit = limit.clamp(f64::from(settings.min), f64::from(settings.max));
        self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An instance with so many workers that take 10 ms for a call: what is more waits in its queue.
    fn settled(workers: u32, settings: &Settings) -> u32 {
        let (now, mut gradient) = (Instant::now(), Gradient::new(settings));
        for _ in 0..5_000 {
            let in_flight = gradient.limit(now);
            let queued = f64::from(in_flight.max(workers)) / f64::from(workers);
            gradient = gradient.answered(Duration::from_secs_f64(0.01 * queued), in_flight, now, settings);
        }
        gradient.limit(now)
    }

    #[test]
    fn it_finds_what_an_instance_can_do() {
        let settings = Settings { min: 1, max: 1_000, initial: 20, tolerance_percent: 150 };
        let (small, large) = (settled(10, &settings), settled(200, &settings));
        assert!((10..=100).contains(&small), "{small}");
        assert!((200..=1_000).contains(&large), "{large}");
    }

    #[test]
    fn it_gets_used_to_an_instance_that_is_slower_than_it_was() {
        let settings = Settings { min: 2, max: 100, initial: 50, tolerance_percent: 120 };
        let now = Instant::now();
        let answered = |gradient: Gradient, millis| {
            gradient.answered(Duration::from_millis(millis), gradient.limit(now), now, &settings)
        };
        let fast = (0..100).fold(Gradient::new(&settings), |gradient, _| answered(gradient, 10));
        let slower = (0..200).fold(fast, |gradient, _| answered(gradient, 50));
        assert!(slower.limit(now) < 20, "{}", slower.limit(now));
        let used_to_it = (0..1_000).fold(slower, |gradient, _| answered(gradient, 50));
        assert_eq!(used_to_it.limit(now), 100);
    }

    #[test]
    fn calls_that_hang_while_it_learns_keep_others_away_for_a_second_only() {
        let settings = Settings { min: 2, max: 100, initial: 50, tolerance_percent: 120 };
        let now = Instant::now();
        let mut gradient = Gradient::new(&settings).answered(Duration::from_millis(1), 50, now, &settings);
        while !matches!(gradient.phase, Phase::Sampling { .. }) {
            gradient = gradient.answered(Duration::from_millis(10), gradient.limit(now), now, &settings);
        }
        assert_eq!(gradient.limit(now), 3);
        assert!(gradient.limit(now + SAMPLING_MAX) > 3);
        let gradient = gradient.answered(Duration::from_millis(10), 9, now + SAMPLING_MAX, &settings);
        assert!(matches!(gradient.phase, Phase::Following { low: 0 }));
    }

    #[test]
    fn it_does_not_grow_on_calls_that_do_not_need_it() {
        let (now, settings) = (Instant::now(), Settings::default());
        let mut gradient = Gradient::new(&settings);
        for _ in 0..1_000 {
            gradient = gradient.answered(Duration::from_millis(1), 2, now, &settings);
        }
        assert_eq!(gradient.limit(now), settings.initial);
    }

    #[test]
    fn it_falls_when_answers_get_slow_and_when_calls_fail() {
        let (now, settings) = (Instant::now(), Settings::default());
        let steady = (0..100).fold(Gradient::new(&settings), |gradient, _| {
            gradient.answered(Duration::from_millis(10), gradient.limit(now), now, &settings)
        });
        let slow = (0..10).fold(steady, |gradient, _| {
            gradient.answered(Duration::from_millis(100), gradient.limit(now), now, &settings)
        });
        assert!(slow.limit(now) < steady.limit(now) / 2, "{} {}", slow.limit(now), steady.limit(now));
        let failing = (0..10).fold(steady, |gradient, _| gradient.failed(&settings));
        assert!(failing.limit(now) < steady.limit(now) / 2);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(ends in prop::collection::vec((0_u64..10_000, 0_u32..500), 0..500)) {
            let settings = Settings { min: 3, max: 90, initial: 10, tolerance_percent: 120 };
            let (mut now, mut gradient) = (Instant::now(), Gradient::new(&settings));
            for (micros, in_flight) in ends {
                now += Duration::from_millis(1);
                gradient = match micros {
                    0 => gradient.failed(&settings),
                    _ => gradient.answered(Duration::from_micros(micros), in_flight, now, &settings),
                };
                prop_assert!((settings.min..=settings.max).contains(&gradient.limit(now)));
            }
        }
    }
}
