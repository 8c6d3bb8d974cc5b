//! Ids of new tasks.

use mcp_proto::TaskId;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

/// Ids within one millisecond.
const COUNTER_MAX: u16 = 0x0FFF;

/// Makes ids that sort in the order in which they were made.
#[derive(Debug)]
pub(super) struct Ids {
    unix_ms: u64,
    counter: u16,
    random: StdRng,
}

impl Ids {
    /// A maker whose ids are unlike any other's.
    pub(super) fn new() -> Self {
        Self { unix_ms: 0, counter: 0, random: StdRng::from_os_rng() }
    }

    /// The next id, made at `now` in milliseconds since 1970, for a task with this home. More than 4,096 in one
    /// millisecond are dated ahead.
    pub(super) fn next(&mut self, now: u64, home: u16) -> TaskId {
        if now > self.unix_ms {
            (self.unix_ms, self.counter) = (now, 0);
        } else if self.counter == COUNTER_MAX {
            (self.unix_ms, self.counter) = (self.unix_ms + 1, 0);
        } else {
            self.counter += 1;
        }
        TaskId::new(self.unix_ms, self.counter, home, self.random.random())
    }

    /// A seed for the engine.
    pub(super) fn seed(&mut self) -> u64 {
        self.random.random()
    }
}

#[cfg(test)]
mod tests {
    use super::Ids;

    #[test]
    fn ids_grow_even_when_the_clock_does_not() {
        let mut ids = Ids::new();
        let made: Vec<_> = (0..20_000).map(|n| ids.next(1_000 - n % 3, 7)).collect();
        assert!(made.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!((made[0].unix_ms(), made[19_999].unix_ms(), made[5].home()), (1_000, 1_004, 7));
    }
}
