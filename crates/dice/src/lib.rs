//! The randomness of simulations: from a seed, and the same for that seed after every upgrade, which a generator of
//! somebody else does not promise. A development dependency of the crates that are simulated.

/// Random choices from a seed (xorshift64*).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Those of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        // Small seeds must not give similar runs, and zero is the one state that xorshift cannot leave.
        let mixed = seed.wrapping_add(0x1234_5678_9ABC_DEF1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((mixed ^ (mixed >> 29)) | 1)
    }

    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number of `low..=high`.
    pub const fn range(&mut self, low: u64, high: u64) -> u64 {
        low + (self.number() >> 8) % (high - low + 1)
    }

    /// True in `percent` of 100 cases.
    pub const fn percent(&mut self, percent: u64) -> bool {
        self.range(0, 99) < percent
    }

    /// True in `permille` of 1,000 cases.
    pub const fn permille(&mut self, permille: u64) -> bool {
        self.range(0, 999) < permille
    }

    /// A place in something that is so long.
    ///
    /// # Panics
    /// It is empty.
    pub fn place(&mut self, len: usize) -> usize {
        assert!(len > 0, "nothing to pick from");
        usize::try_from(self.range(0, len as u64 - 1)).expect("it is below a usize")
    }

    /// One of several.
    ///
    /// # Panics
    /// There are none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.place(from.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_choices_for_ever() {
        let choices = |seed| {
            let mut dice = Dice::new(seed);
            [dice.range(0, 99), dice.range(5, 5), u64::from(dice.percent(50)), dice.pick(&[1, 2, 3])]
        };
        assert_eq!([choices(0), choices(17)], [choices(0), choices(17)]);
        assert_ne!(choices(0), choices(17));
        assert!((0..1_000).all(|seed| Dice::new(seed).range(3, 9) <= 9));
    }
}
