//! The simulation's own randomness, so that a seed means the same run for ever.

/// Random choices from a seed (xorshift64*).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        // Small seeds must not give similar runs, and zero is the one state that xorshift cannot leave.
        let mixed = seed.wrapping_add(0x1234_5678_9ABC_DEF1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self((mixed ^ (mixed >> 29)) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number of `low..=high`.
    pub(super) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + (self.next() >> 8) % (high - low + 1)
    }

    /// True in `percent` of 100 cases.
    pub(super) fn percent(&mut self, percent: u64) -> bool {
        self.range(0, 99) < percent
    }

    /// True in `permille` of 1,000 cases.
    pub(super) fn permille(&mut self, permille: u64) -> bool {
        self.range(0, 999) < permille
    }

    /// One of several.
    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let last = from.len() as u64 - 1;
        from[usize::try_from(self.range(0, last)).unwrap()]
    }
}
