//! Pauses that grow and never fall together: no two processes wait for the same time.

use std::time::Duration;

/// A pause between retries that doubles from `first` to `max`, each with jitter.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, max: Duration) -> Self {
        Self { first, max, next: first }
    }

    /// The next pause: between half and all of the time whose turn it is.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        jittered(pause)
    }

    /// Starts again with the shortest pause.
    pub(crate) const fn reset(&mut self) {
        self.next = self.first;
    }
}

/// Between half and all of `time`.
pub(crate) fn jittered(time: Duration) -> Duration {
    time.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_start_again() {
        let (first, max) = (Duration::from_millis(100), Duration::from_millis(350));
        let mut backoff = Backoff::new(first, max);
        for expected in [100, 200, 350, 350] {
            let pause = backoff.pause().as_millis();
            assert!((expected / 2..=expected).contains(&pause), "{pause} ms for {expected} ms");
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }
}
