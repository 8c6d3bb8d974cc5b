//! The power of two choices: two are drawn at random, the better one is taken.

/// Random numbers: one below the bound, which is not 0.
pub(crate) trait Dice {
    /// The next number, less than `bound`.
    fn below(&self, bound: usize) -> usize;

    /// The next number from 0 up to but not 1.
    fn share(&self) -> f64;
}

/// Two different numbers below `count`, which is at least 2.
pub(crate) fn draw(count: usize, dice: &impl Dice) -> (usize, usize) {
    let first = dice.below(count);
    (first, (first + 1 + dice.below(count - 1)) % count)
}

/// What one of the two is worth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    /// What a call costs there; less is better.
    pub(crate) cost: f64,
    /// The share of its calls that it takes while it warms up, 0 to 1.
    pub(crate) share: f64,
}

/// True when the second of the two is taken. One that warms up is passed over at random, as often as its share says,
/// unless the other is passed over too.
pub(crate) fn takes_second(first: Candidate, second: Candidate, dice: &impl Dice) -> bool {
    let passed = |candidate: Candidate| candidate.share < 1.0 && dice.share() >= candidate.share;
    match (passed(first), passed(second)) {
        (true, false) => true,
        (false, true) => false,
        _ => second.cost < first.cost,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    /// Dice that can be thrown again: the same seed, the same numbers.
    #[derive(Debug)]
    pub(crate) struct Seeded(Cell<u64>);

    impl Seeded {
        pub(crate) fn new(seed: u64) -> Self {
            Self(Cell::new(seed))
        }

        fn next(&self) -> u64 {
            // SplitMix64.
            let state = self.0.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
            self.0.set(state);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }
    }

    impl Dice for Seeded {
        fn below(&self, bound: usize) -> usize {
            usize::try_from(self.next() % bound as u64).unwrap()
        }

        fn share(&self) -> f64 {
            (self.next() >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    #[test]
    fn two_different_ones_are_drawn_and_every_pair_comes() {
        let dice = Seeded::new(1);
        let mut seen = [[0; 4]; 4];
        for _ in 0..12_000 {
            let (first, second) = draw(4, &dice);
            seen[first][second] += 1;
        }
        for (first, row) in seen.iter().enumerate() {
            for (second, count) in row.iter().enumerate() {
                let expected = if first == second { 0..=0 } else { 850..=1_150 };
                assert!(expected.contains(count), "{seen:?}");
            }
        }
    }

    #[test]
    fn the_cheaper_one_is_taken_and_one_that_warms_up_only_now_and_then() {
        let dice = Seeded::new(2);
        let warm = |cost| Candidate { cost, share: 1.0 };
        assert!(takes_second(warm(2.0), warm(1.0), &dice) && !takes_second(warm(1.0), warm(2.0), &dice));
        let cold = Candidate { cost: 0.1, share: 0.25 };
        let taken = (0..10_000).filter(|_| takes_second(warm(1.0), cold, &dice)).count();
        assert!((2_300..2_700).contains(&taken), "{taken}");
        let taken = (0..10_000).filter(|_| !takes_second(cold, warm(1.0), &dice)).count();
        assert!((2_300..2_700).contains(&taken), "{taken}");
    }
}
