//! What passes between a backfill and its caller.

use std::collections::BTreeSet;

use crate::id::Millis;

/// What the caller of a backfill read from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// Fire times within the range whose entry ([`FireRecord::key_of_fire`](crate::FireRecord::key_of_fire)) says that
    /// they ran.
    pub ran: BTreeSet<Millis>,
    /// [`ScheduleRecord::revision`](crate::ScheduleRecord::revision) as it was saved when the ledger was read, or earlier.
    pub as_of: u64,
}

/// What a backfill took in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backfilled {
    /// Fire times that will start.
    pub accepted: u32,
    /// Fire times that ran already.
    pub ran_before: u32,
}
