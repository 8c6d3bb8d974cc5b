//! Counts of two kinds over the last ten seconds.

use std::time::Duration;

use tokio::time::Instant;

/// Seconds that are counted.
pub(crate) const SECONDS: usize = 10;

/// Two counts of the last [`SECONDS`], in slots of a second: what is older falls out a second at a time.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    slots: [[u32; 2]; SECONDS],
    sums: [u32; 2],
    /// Where the newest slot begins.
    newest: Instant,
    at: usize,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// All of them.
    All = 0,
    /// Those that are marked: failed calls, or repeats.
    Marked = 1,
}

impl Window {
    /// Nothing is counted yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { slots: [[0; 2]; SECONDS], sums: [0; 2], newest: now, at: 0 }
    }

    /// One more.
    pub(crate) fn add(&mut self, kind: Kind, now: Instant) {
        self.advance(now);
        // In sum they are fewer than one data-plane thread can make in ten seconds.
        self.slots[self.at][kind as usize] += 1;
        self.sums[kind as usize] += 1;
    }

    /// How many there are.
    pub(crate) fn count(&mut self, kind: Kind, now: Instant) -> u32 {
        self.advance(now);
        self.sums[kind as usize]
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// Lets go of what is too old.
    fn advance(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.newest);
        if age < Duration::from_secs(1) {
            return;
        }
        let seconds = age.as_secs();
        if seconds >= SECONDS as u64 {
            return self.clear(now);
        }
        for _ in 0..seconds {
            self.at = (self.at + 1) % SECONDS;
            let gone = std::mem::take(&mut self.slots[self.at]);
            self.sums[0] -= gone[0];
            self.sums[1] -= gone[1];
        }
        self.newest += Duration::from_secs(seconds);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compared with a list of what happened: never more than the last ten seconds, never less than the last nine.
        #[test]
        fn it_holds_the_last_ten_seconds(steps in prop::collection::vec((0_u64..4_000, any::<bool>()), 1..100)) {
            let mut now = Instant::now();
            let mut window = Window::new(now);
            let mut happened = Vec::new();
            for (millis, marked) in steps {
                now += Duration::from_millis(millis);
                let kind = if marked { Kind::Marked } else { Kind::All };
                window.add(kind, now);
                happened.push((now, kind));
                for kind in [Kind::All, Kind::Marked] {
                    let within = |seconds| {
                        let recent = |at: Instant| now - at < Duration::from_secs(seconds);
                        let found = happened.iter().filter(|(at, of)| *of == kind && recent(*at)).count();
                        u32::try_from(found).unwrap()
                    };
                    let count = window.count(kind, now);
                    prop_assert!((within(9)..=within(10)).contains(&count), "{count} {} {}", within(9), within(10));
                }
            }
        }
    }
}
