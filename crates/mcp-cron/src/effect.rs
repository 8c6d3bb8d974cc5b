//! What comes out of the book.

use crate::{
    id::{Partition, ScheduleId, TaskId},
    ledger::FireRecord,
    record::{Fire, ScheduleRecord},
};

/// An order of the book.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Put a schedule on record, in place of what was there.
    Save {
        /// Where it is kept.
        partition: Partition,
        /// The schedule, under the key [`ScheduleId::key`].
        record: Box<ScheduleRecord>,
    },
    /// Take a schedule off the record.
    Remove {
        /// Where it is kept.
        partition: Partition,
        /// Which.
        id: ScheduleId,
    },
    /// Put an entry into a schedule's ledger, in place of one under the same key.
    Ledger {
        /// Where the schedule is kept.
        partition: Partition,
        /// Whose ledger.
        id: ScheduleId,
        /// The entry, under the key [`FireRecord::key`].
        entry: FireRecord,
    },
    /// Start what the schedule starts. Answered with [`Schedules::started`](crate::Schedules::started) or
    /// [`Schedules::refused`](crate::Schedules::refused), within the same batch.
    Start {
        /// Where the schedule is kept.
        partition: Partition,
        /// Which.
        id: ScheduleId,
        /// For which fire.
        fire: Fire,
    },
    /// Cancel what an earlier fire started; a repeat does no harm. Its end is told with
    /// [`Schedules::run_ended`](crate::Schedules::run_ended) as any other.
    CancelRun {
        /// Where the schedule is kept.
        partition: Partition,
        /// Whose.
        id: ScheduleId,
        /// What to cancel.
        task: TaskId,
    },
}
