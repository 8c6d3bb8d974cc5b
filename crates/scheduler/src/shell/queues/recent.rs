//! What started and ended in the queues over the last minute, for the rates that scaling goes by.

use std::collections::HashMap;

use mcp_engine::QueueKey;

use crate::metrics::Tally;

/// Length of a step.
const STEP_MS: u64 = 5_000;
/// Steps that are kept: a minute.
const STEPS: usize = 12;
/// The minute.
const WINDOW_MS: u64 = STEP_MS * STEPS as u64;
/// Queues that are counted apart. When there are more, those that were still for a minute make room.
const QUEUES_MAX: usize = 10_000;

/// What happened in one step.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    starts: u64,
    ends: u64,
    run_ms: u64,
}

/// The last minute of one queue.
#[derive(Debug)]
struct Window {
    steps: [Step; STEPS],
    /// Number of the newest step.
    newest: u64,
    /// When counting began, milliseconds since 1970.
    since: u64,
}

impl Window {
    fn new(now: u64) -> Self {
        Self { steps: [Step::default(); STEPS], newest: now / STEP_MS, since: now }
    }

    /// Empties the steps between the newest one and `now`.
    fn advance(&mut self, now: u64) {
        let number = now / STEP_MS;
        for passed in (self.newest + 1..=number).rev().take(STEPS) {
            self.steps[index(passed)] = Step::default();
        }
        self.newest = self.newest.max(number);
    }

    /// The steps that are within a minute of `now`.
    fn within(&self, now: u64) -> Step {
        let numbers = self.newest.saturating_sub(STEPS as u64 - 1)..=self.newest;
        let recent = numbers.filter(|number| number * STEP_MS + WINDOW_MS > now);
        recent.fold(Step::default(), |sum, number| {
            let step = self.steps[index(number)];
            Step { starts: sum.starts + step.starts, ends: sum.ends + step.ends, run_ms: sum.run_ms + step.run_ms }
        })
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number % STEPS as u64).unwrap_or_default()
}

/// The last minute of the queues.
#[derive(Debug, Default)]
pub(in crate::shell) struct Recent {
    windows: HashMap<QueueKey, Window>,
    /// When room was last made.
    swept_at: u64,
}

impl Recent {
    /// Counts what a batch brought.
    pub(in crate::shell) fn count(&mut self, tally: &Tally, now: u64) {
        for (queue, starts, runs) in tally.attempts() {
            let step =
                Step { starts, ends: runs.len() as u64, run_ms: runs.iter().map(|millis| u64::from(*millis)).sum() };
            self.add(queue, step, now);
        }
    }

    fn add(&mut self, queue: &QueueKey, step: Step, now: u64) {
        if step.starts == 0 && step.ends == 0 {
            return;
        }
        if !self.windows.contains_key(queue) {
            self.make_room(now);
            if self.windows.len() >= QUEUES_MAX {
                return;
            }
            self.windows.insert(queue.clone(), Window::new(now));
        }
        if let Some(window) = self.windows.get_mut(queue) {
            window.advance(now);
            let newest = &mut window.steps[index(now / STEP_MS)];
            newest.starts += step.starts;
            newest.ends += step.ends;
            newest.run_ms += step.run_ms;
        }
    }

    fn make_room(&mut self, now: u64) {
        if self.windows.len() >= QUEUES_MAX && now >= self.swept_at + STEP_MS {
            self.swept_at = now;
            self.windows.retain(|_, window| (window.newest + 1) * STEP_MS + WINDOW_MS > now);
        }
    }

    /// Starts in a second, and seconds that an attempt ran on average.
    #[expect(clippy::cast_precision_loss, reason = "an average")]
    pub(super) fn rates(&self, queue: &QueueKey, now: u64) -> (f64, f64) {
        let Some(window) = self.windows.get(queue) else { return (0.0, 0.0) };
        let sum = window.within(now);
        let seconds = now.saturating_sub(window.since).clamp(STEP_MS, WINDOW_MS) as f64 / 1_000.0;
        let run_seconds = if sum.ends == 0 { 0.0 } else { sum.run_ms as f64 / sum.ends as f64 / 1_000.0 };
        (sum.starts as f64 / seconds, run_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> QueueKey {
        QueueKey { namespace: "n".into(), queue: name.into() }
    }

    fn step(starts: u64, ends: u64, run_ms: u64) -> Step {
        Step { starts, ends, run_ms }
    }

    #[test]
    fn rates_are_those_of_the_last_minute() {
        let (mut recent, start) = (Recent::default(), 1_000_000_000);
        recent.add(&queue("q"), step(60, 2, 3_000), start);
        assert_eq!(recent.rates(&queue("q"), start + 10_000), (6.0, 1.5), "of the ten seconds since it is counted");
        recent.add(&queue("q"), step(60, 0, 0), start + 30_000);
        assert_eq!(recent.rates(&queue("q"), start + 59_000).0, 120.0 / 59.0);
        assert_eq!(recent.rates(&queue("q"), start + 70_000), (1.0, 0.0), "the first ones are too long ago");
        recent.add(&queue("q"), step(6, 1, 500), start + 600_000);
        assert_eq!(recent.rates(&queue("q"), start + 600_000), (0.1, 0.5));
        assert_eq!(recent.rates(&queue("other"), start), (0.0, 0.0));
    }

    #[test]
    fn still_queues_make_room_for_new_ones() {
        let mut recent = Recent::default();
        for n in 0..QUEUES_MAX + 10 {
            recent.add(&queue(&n.to_string()), step(1, 0, 0), 1_000_000);
        }
        assert_eq!(recent.windows.len(), QUEUES_MAX);
        recent.add(&queue("new"), step(1, 0, 0), 1_000_000 + WINDOW_MS + STEP_MS);
        assert_eq!(recent.windows.len(), 1);
    }
}
