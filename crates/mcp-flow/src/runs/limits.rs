//! How much there may be, and how much is done at a time.

/// Bounds of all runs together and of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most runs that are not final.
    pub runs_max: usize,
    /// Most things that one [`Runs::tick`](super::Runs::tick) starts, stops or skips.
    pub starts_per_tick: u32,
    /// Most of them that one run may have before others get their turn.
    pub starts_per_turn: u32,
    /// Most work that the expressions of one tick do, give or take one expression: a million is about 0.1 s.
    pub effort_per_tick: u64,
    /// What the outputs of one run may weigh together, in bytes.
    pub output_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            runs_max: 100_000,
            starts_per_tick: 1_000,
            starts_per_turn: 200,
            effort_per_tick: 1_000_000,
            output_bytes_max: 64 << 20,
        }
    }
}
