//! What became of fire times and workflows in one batch.

/// Counts of one batch.
#[derive(Debug, Default)]
pub(crate) struct Conducted {
    /// Fire times that started what they had to.
    pub(crate) ran: u64,
    /// Fire times that were left out by the rules. One that was to run and was refused later is counted twice.
    pub(crate) skipped: u64,
    /// Fire times that could not be served in time.
    pub(crate) missed: u64,
    /// Workflows that became durable.
    pub(crate) submitted: u64,
    /// Workflows that became final: their state, and for how many milliseconds they were there.
    pub(crate) ended: Vec<(&'static str, u64)>,
}

impl Conducted {
    /// Both together.
    pub(crate) fn plus(mut self, more: Self) -> Self {
        self.ran += more.ran;
        self.skipped += more.skipped;
        self.missed += more.missed;
        self.submitted += more.submitted;
        self.ended.extend(more.ended);
        self
    }
}
