//! Where tasks are kept: the traits, their clauses, and two backends.
//!
//! - [`EmbeddedStore`]: a fjall database in a folder, for one machine.
//! - [`PostgresStore`]: a PostgreSQL schema that the replicas of a cluster share.
//!
//! A backend knows records, never rules: what may follow what is the engine's business. Calls block; the shell makes
//! them on its own thread, queries on the blocking pool.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod embedded;
mod error;
mod postgres;
mod query;
mod record;
mod write;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use mcp_proto::{TaskId, scheduler::v1::LogLine};

pub use embedded::EmbeddedStore;
pub use error::Error;
pub use postgres::{PostgresSettings, PostgresStore, SettingsError};
pub use query::{ListQuery, LogEnd, Page, States, Swept};
pub(crate) use record::brief;
pub use record::{
    FAILURE_MESSAGE_BYTES_MAX, FAILURES_FIRST_MAX, FAILURES_LATEST_MAX, FailedAttempt, FireOf, Fixed, Head, KeyRecord,
    LogChunk, Moving, Origin, SPEC_INLINE_MAX, StepOf, Stored,
};
pub use write::{ENTRY_KEY_BYTES_MAX, Entry, Loaded, Table, ToRun, Write};

/// Opens partitions, and commits to several of them at once.
pub trait Store: Send + Sync + fmt::Debug {
    /// Opens a partition for the owner of `epoch`. Creates it when it is new.
    ///
    /// - Every partition that was opened before, under the same or an older epoch, is fenced from now on: its
    ///   commits fail and change nothing.
    ///
    /// # Errors
    /// [`Error::Fenced`]: it was opened under a newer epoch. [`Error::Unavailable`]: try again with backoff.
    fn open(&self, partition: u32, epoch: u64) -> Result<Arc<dyn PartitionStore>, Error>;

    /// Makes the batches of several partitions durable in one step, each in its order: all of them are there or none,
    /// whatever crashes. A partition is named at most once. When nothing is written, nothing is touched, the fences
    /// included.
    ///
    /// - Every part is checked against its fence; one that is fenced refuses all.
    ///
    /// # Errors
    /// [`Error::Fenced`]: nothing was written; a partition has a newer owner. [`Error::Unavailable`]: it may or may
    /// not be there; open the partitions again and load what is true.
    fn commit(&self, parts: &[Part<'_>]) -> Result<(), Error>;

    /// The newest epoch under which a partition was opened or to which it advanced; 0 when it never was. Whoever
    /// counts epochs must go on above it, also after losing his count.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn newest_epoch(&self, partition: u32) -> Result<u64, Error>;
}

/// What a commit writes to one partition.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Where, as opened by the same store.
    pub partition: &'a dyn PartitionStore,
    /// What, in order.
    pub writes: &'a [Write],
}

/// One opening of one partition: what its fence compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// The partition.
    pub partition: u32,
    /// The epoch it was opened under, or advanced to.
    pub epoch: u64,
    /// Which opening it is; no two of a partition are the same.
    pub opening: u64,
}

/// The records of one partition. Every clause below is a function of the conformance suite.
///
/// - A commit is durable when it returns, and a whole batch is there or none of it, whatever crashes.
/// - A commit after a newer opening fails with [`Error::Fenced`] and changes nothing.
/// - A task is in one place: unfinished until a [`Write::Finished`], finished for good after it. Reads that run beside
///   a commit see it in exactly one of the two.
/// - A later record of a task replaces its earlier one, except that the spec is kept.
/// - Lists are ordered by id, newest first; a cursor continues exactly where the page before ended, whatever was
///   submitted or finished in between.
/// - Entries belong to one partition; a put replaces, a delete removes, a scan is in the order of the keys.
/// - Lists, logs, scans and sweeps do a bounded amount of work per call.
pub trait PartitionStore: Send + Sync + fmt::Debug {
    /// Which opening this is.
    fn ticket(&self) -> Ticket;

    /// Moves this handle, still the latest, to a newer epoch, so that a re-claimed ownership goes on without a reload.
    ///
    /// # Errors
    /// [`Error::Fenced`]: someone opened the partition since, or `epoch` is older than the one it has.
    fn advance(&self, epoch: u64) -> Result<(), Error>;

    /// Makes a batch durable, in its order: [`Store::commit`] of one part. An empty one touches nothing.
    ///
    /// # Errors
    /// As [`Store::commit`].
    fn commit(&self, batch: &[Write]) -> Result<(), Error>;

    /// Visits the entries of every table that [is loaded](Table::is_loaded), by table and key; then every unfinished
    /// task, oldest first; then every idempotency key to be remembered beyond `now` (milliseconds since 1970). Holds
    /// a bounded part of it in memory. Finished tasks are not read.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn load(&self, now: u64, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error>;

    /// A task as recorded, or `None`. An output that was stored apart is filled in.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn get(&self, id: TaskId) -> Result<Option<Stored>, Error>;

    /// The whole spec of a task, encoded, or `None`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn spec(&self, id: TaskId) -> Result<Option<Bytes>, Error>;

    /// What workers need to run unfinished tasks, in the order of `ids`; `None` for one that is not on record. Ends once
    /// it is `bytes_max` large, or before that: at least the first is answered, the others are to be asked for again.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn to_run(&self, ids: &[TaskId], bytes_max: usize) -> Result<Vec<Option<ToRun>>, Error>;

    /// A page of tasks, newest first. An output that was stored apart is left out.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn list(&self, query: &ListQuery) -> Result<Page, Error>;

    /// Lines of a task's log after line `after_seq`, in order: at most `lines_max`, and no more once they are larger
    /// than [`LOG_READ_BYTES_MAX`] together.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn logs(&self, id: TaskId, after_seq: u64, lines_max: usize) -> Result<Vec<LogLine>, Error>;

    /// Where a task's log ends.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn log_end(&self, id: TaskId) -> Result<LogEnd, Error>;

    /// The value of an entry, or `None`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn entry(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error>;

    /// Keys and values of a table, ascending: those whose key begins with `prefix` and is greater than `after`, at
    /// most `limit`, and no more once the values are larger than [`SCAN_BYTES_MAX`] together. The end is where nothing
    /// comes back.
    ///
    /// # Errors
    /// [`Error::Unavailable`] or [`Error::Corrupt`].
    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error>;

    /// Removes what finished before `finished_before` with its logs, and idempotency keys and entries that may go by
    /// `now` (both milliseconds since 1970): a bounded part of it, so call again while `more`. Writes nothing when
    /// there is nothing to remove.
    ///
    /// # Errors
    /// [`Error::Fenced`] or [`Error::Unavailable`].
    fn sweep(&self, now: u64, finished_before: u64) -> Result<Swept, Error>;
}

/// Bytes of log text after which a read ends.
pub const LOG_READ_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of values after which a scan ends.
pub const SCAN_BYTES_MAX: usize = 4 * 1024 * 1024;
