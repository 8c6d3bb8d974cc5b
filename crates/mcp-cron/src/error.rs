//! What can go wrong.

use crate::id::{Partition, ScheduleId};

/// A command that was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Stop: there is no such schedule here.
    #[error("there is no schedule `{id}`")]
    NotFound {
        /// What was asked for.
        id: ScheduleId,
    },
    /// Delete a schedule first.
    #[error("there are {max} schedules already, which is the most")]
    Full {
        /// Most schedules.
        max: usize,
    },
    /// A bug of the caller: a schedule stays in its partition.
    #[error("schedule `{id}` is in partition {}, not in {}", found.0, asked.0)]
    Elsewhere {
        /// The schedule.
        id: ScheduleId,
        /// Where it is.
        found: Partition,
        /// Where it was looked for.
        asked: Partition,
    },
    /// Fix the range of the backfill.
    #[error("a backfill must end after it starts, and not in the future")]
    BackfillRange,
    /// Ask for a shorter range, or wait until the backlog is shorter.
    #[error("a backfill may hold {max} fire times, together with those that still wait")]
    BackfillTooLarge {
        /// Most fire times.
        max: usize,
    },
    /// Ask for a shorter range: too many separate stretches of it ran already.
    #[error("a backlog may hold {max} separate ranges: backfill a shorter range at a time")]
    BackfillScattered {
        /// Most ranges.
        max: usize,
    },
    /// Read the ledger again, as of the revision given or later, and repeat.
    #[error("the ledger was read at revision {as_of}, which is too old; read it again")]
    LedgerStale {
        /// At which revision the caller has read it.
        as_of: u64,
    },
}

/// A field of the rules that cannot be used, and what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct RulesError {
    /// The field, as `cron[1]` or `time_zone`.
    pub field: String,
    /// What is wrong with it, and what is expected.
    pub problem: String,
}

impl RulesError {
    pub(crate) fn new(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }
}

/// A record that cannot be taken up. It should be left in the store, and somebody told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A newer program wrote it.
    #[error("schedule `{id}` has a record of version {found}; this program knows version {known}")]
    Version {
        /// The schedule.
        id: ScheduleId,
        /// Version of the record.
        found: u32,
        /// Newest version known here.
        known: u32,
    },
    /// Its rules are not valid here, for instance because the time zone is not known any more.
    #[error("the rules of schedule `{id}` are not valid")]
    Rules {
        /// The schedule.
        id: ScheduleId,
        /// Why.
        source: RulesError,
    },
    /// It is in the book already: a bug of the caller.
    #[error("schedule `{id}` is in the book already")]
    Twice {
        /// The schedule.
        id: ScheduleId,
    },
}
