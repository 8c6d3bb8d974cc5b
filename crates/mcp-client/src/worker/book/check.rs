//! The invariants of the book.

use super::{Book, record::Phase, seat::Unacked};

impl Book {
    /// Panics when an invariant is broken.
    pub(super) fn check(&self) {
        let idle: usize = self.seats.values().map(|seat| seat.idle).sum();
        assert_eq!(self.free + idle + self.running, self.slots, "{self:#?}");
        let running = self.attempts.values().filter(|attempt| attempt.is_running()).count();
        assert_eq!(self.running, running, "{self:#?}");
        for (id, seat) in &self.seats {
            let at_home = || self.attempts.values().filter(|attempt| attempt.home == Some(*id));
            assert_eq!(seat.running, at_home().filter(|attempt| attempt.is_running()).count(), "{self:#?}");
            let mut unacked = Unacked::default();
            at_home().filter_map(|attempt| attempt.end()).for_each(|end| unacked.add(end));
            assert_eq!(seat.unacked, unacked, "{self:#?}");
            assert!(seat.joined || (seat.idle == 0 && seat.asked.is_none()), "{self:#?}");
        }
        let mut homeless = Unacked::default();
        let mut log_bytes = 0;
        for attempt in self.attempts.values() {
            match attempt.home {
                Some(home) => {
                    assert!(self.seats.contains_key(&home) && attempt.held.is_none(), "{self:#?}");
                }
                None => {
                    log_bytes += attempt.held_log_bytes();
                    if let Phase::Ended(end) = &attempt.phase {
                        homeless.add(end);
                    }
                }
            }
        }
        assert_eq!((self.homeless, self.homeless_log_bytes), (homeless, log_bytes), "{self:#?}");
    }
}
