//! How much of everything there may be.

use crate::id::Millis;

/// A fire that starts this much after its moment is still regular; one that starts later is caught up with. It is also
/// the shortest catch-up window, so that a busy moment misses nothing.
pub const ON_TIME: Millis = 10_000;

/// How much of everything a book may hold or do at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Schedules in the book; more are refused. Restoring is not limited.
    pub schedules_max: usize,
    /// Decisions of one tick over all schedules.
    pub tick_steps_max: usize,
    /// Decisions for one schedule before others have their turn.
    pub schedule_steps_max: usize,
    /// Tasks of one schedule at the same time under [`Overlap::AllowAll`](crate::Overlap::AllowAll); a fire time beyond
    /// is skipped.
    pub running_max: usize,
    /// Fire times in one backfill, those included that ran already, and in the whole backlog of a schedule.
    pub backfill_max: usize,
    /// Unbroken ranges of fire times in the backlog of a schedule.
    pub backlog_ranges_max: usize,
    /// Fire times that a schedule remembers to have run lately, for backfills that read the ledger a while ago.
    pub recent_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            schedules_max: 100_000,
            tick_steps_max: 1_000,
            schedule_steps_max: 100,
            running_max: 1_000,
            backfill_max: 10_000,
            backlog_ranges_max: 100,
            recent_max: 256,
        }
    }
}

impl Limits {
    /// Limits that tests reach.
    #[cfg(test)]
    pub(crate) fn tiny() -> Self {
        Self {
            schedules_max: 3,
            tick_steps_max: 7,
            schedule_steps_max: 3,
            running_max: 2,
            backfill_max: 20,
            backlog_ranges_max: 2,
            recent_max: 2,
        }
    }
}
