//! Which of the workers with room gets a task.

use super::{Score, difference, room};
use crate::types::Resources;

/// A worker that has room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer {
    /// What it has in all.
    pub(crate) capacity: Resources,
    /// What is free of that.
    pub(crate) free: Resources,
    /// Free slots.
    pub(crate) slots: u32,
    /// Attempts that it runs.
    pub(crate) attempts: usize,
}

impl Offer {
    /// How much is free when the request is taken out, in thousandths; of the slots if it has no capacity.
    fn left(&self, request: Resources) -> i64 {
        if self.capacity == Resources::default() {
            let slots = i64::from(self.slots);
            let attempts = i64::try_from(self.attempts).unwrap_or(i64::MAX);
            return (slots - 1) * 1_000 / slots.saturating_add(attempts).max(1);
        }
        i64::from(room(difference(self.free, request), self.capacity))
    }
}

/// As full as it gets.
pub(super) struct BinPack;

impl Score for BinPack {
    fn score(&self, request: Resources, offer: &Offer) -> i64 {
        -offer.left(request)
    }
}

/// As few attempts beside it as can be.
pub(super) struct Spread;

impl Score for Spread {
    fn score(&self, _: Resources, offer: &Offer) -> i64 {
        -i64::try_from(offer.attempts).unwrap_or(i64::MAX)
    }
}

/// As much room left as can be.
pub(super) struct LeastLoaded;

impl Score for LeastLoaded {
    fn score(&self, request: Resources, offer: &Offer) -> i64 {
        offer.left(request)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::score, Offer};
    use crate::types::{Placement, Resources, Strategy};

    fn of(cpu_millis: u64, memory_bytes: u64) -> Resources {
        Resources { cpu_millis, memory_bytes }
    }

    fn best(strategy: Strategy, offers: &[Offer]) -> usize {
        let placement = Placement { request: of(100, 10), strategy: Some(strategy), ..Placement::default() };
        let scores: Vec<i64> = offers.iter().map(|offer| score(&placement, offer)).collect();
        (0..offers.len()).max_by_key(|at| scores[*at]).unwrap()
    }

    #[test]
    fn each_strategy_prefers_its_own() {
        let offer = |free, attempts| Offer { capacity: of(1_000, 100), free, slots: 4, attempts };
        let offers = [offer(of(900, 90), 5), offer(of(100, 60), 3), offer(of(500, 20), 1)];
        assert_eq!(best(Strategy::BinPack, &offers), 1);
        assert_eq!(best(Strategy::LeastLoaded, &offers), 0);
        assert_eq!(best(Strategy::Spread, &offers), 2);
    }

    #[test]
    fn without_a_capacity_the_slots_count() {
        let offer = |slots, attempts| Offer { capacity: of(0, 0), free: of(0, 0), slots, attempts };
        let offers = [offer(1, 1), offer(3, 2), offer(1, 0)];
        assert_eq!(best(Strategy::LeastLoaded, &offers), 1);
        assert_ne!(best(Strategy::BinPack, &offers), 1);
    }
}
