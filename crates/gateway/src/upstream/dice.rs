//! Random numbers that need no lock and no secrecy.

use std::cell::Cell;

use super::decide::pair;

/// xorshift64*, with a seed of its own.
#[derive(Debug)]
pub(crate) struct Dice(Cell<u64>);

impl Dice {
    /// Dice with a seed of their own.
    pub(crate) fn new() -> Self {
        Self(Cell::new(rand::random::<u64>() | 1))
    }

    /// The next 32 random bits.
    fn next(&self) -> u64 {
        let mut state = self.0.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.0.set(state);
        state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }
}

impl pair::Dice for Dice {
    fn below(&self, bound: usize) -> usize {
        usize::try_from((self.next() * bound as u64) >> 32).expect("less than `bound`")
    }

    fn share(&self) -> f64 {
        self.next() as f64 / (1_u64 << 32) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{pair::Dice as _, *};

    #[test]
    fn dice_reach_every_number_below_the_bound() {
        let dice = Dice::new();
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[dice.below(5)] += 1;
        }
        assert!(seen.iter().all(|count| (800..1_200).contains(count)), "{seen:?}");
        assert!((0..1_000).map(|_| dice.share()).all(|share| (0.0..1.0).contains(&share)));
    }
}
