//! Where tasks are kept: the trait, its clauses, and the embedded backend.
//!
//! A backend knows records, never rules: what may follow what is the engine's business. Calls block; the shell makes
//! them on its own thread, queries on the blocking pool.

#[cfg(any(test, feature = "test-util"))]
pub mod conformance;
mod embedded;
mod record;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use mcp_proto::{
    TaskId,
    scheduler::v1::{LogLine, TaskState},
};

pub use embedded::EmbeddedStore;
pub(crate) use record::brief;
pub use record::{Fixed, Head, KeyRecord, LogChunk, Moving, SPEC_INLINE_MAX, Stored};

/// Opens partitions.
pub trait Store: Send + Sync + fmt::Debug {
    /// Opens a partition for the owner of `epoch`. Creates it when it is new.
    ///
    /// - Every partition that was opened before, under the same or an older epoch, is fenced from now on: its
    ///   commits fail and change nothing.
    ///
    /// # Errors
    /// [`Error::Fenced`]: it was opened under a newer epoch. [`Error::Unavailable`]: try again with backoff.
    fn open(&self, partition: u32, epoch: u64) -> Result<Arc<dyn PartitionStore>, Error>;
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
/// - Lists, logs and sweeps do a bounded amount of work per call.
pub trait PartitionStore: Send + Sync + fmt::Debug {
    /// Moves this handle, still the latest, to a newer epoch, so that a re-claimed ownership goes on without a reload.
    ///
    /// # Errors
    /// [`Error::Fenced`]: someone opened the partition since, or `epoch` is older than the one it has.
    fn advance(&self, epoch: u64) -> Result<(), Error>;

    /// Makes a batch durable, in its order. An empty one touches nothing.
    ///
    /// # Errors
    /// [`Error::Fenced`]: nothing was written; the partition has a newer owner. [`Error::Unavailable`]: it may or may
    /// not be there; open the partition again and load what is true.
    fn commit(&self, batch: &[Write]) -> Result<(), Error>;

    /// Visits every unfinished task, then every idempotency key to be remembered beyond `now` (milliseconds since
    /// 1970). Finished tasks are not read.
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

    /// A page of tasks, newest first.
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

    /// Removes what finished before `finished_before` with its logs, and idempotency keys forgotten by `now` (both
    /// milliseconds since 1970): a bounded part of it, so call again while `more`. Writes nothing when there is
    /// nothing to remove.
    ///
    /// # Errors
    /// [`Error::Fenced`] or [`Error::Unavailable`].
    fn sweep(&self, now: u64, finished_before: u64) -> Result<Swept, Error>;
}

/// Bytes of log text after which a read ends.
pub const LOG_READ_BYTES_MAX: usize = 1024 * 1024;

/// A record to make durable.
#[derive(Debug, Clone)]
pub enum Write {
    /// A new task.
    Submitted {
        /// Its id.
        id: TaskId,
        /// What was submitted.
        fixed: Fixed,
        /// The whole spec, encoded, when `fixed` holds only its brief.
        whole: Option<Bytes>,
        /// Where it stands.
        moving: Moving,
        /// The idempotency key to remember.
        key: Option<KeyRecord>,
    },
    /// How far an unfinished task got.
    Updated {
        /// Its id.
        id: TaskId,
        /// As submitted.
        fixed: Fixed,
        /// Where it stands.
        moving: Moving,
    },
    /// The end of a task.
    Finished {
        /// Its id.
        id: TaskId,
        /// As submitted.
        fixed: Fixed,
        /// How it ended.
        moving: Moving,
    },
    /// Lines of a task's log, which follow those already there.
    Logs {
        /// The task.
        id: TaskId,
        /// The lines.
        chunk: LogChunk,
    },
}

/// What [`PartitionStore::load`] visits.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// An unfinished task.
    Unfinished(Box<Stored>),
    /// An idempotency key.
    Key(KeyRecord),
}

/// A set of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct States(u16);

impl States {
    /// Every state.
    pub const ALL: Self = Self(u16::MAX);
    /// No state.
    pub const NONE: Self = Self(0);

    /// This set and `state`.
    #[must_use]
    pub const fn with(self, state: TaskState) -> Self {
        Self(self.0 | 1 << state as u16)
    }

    /// True when `state` is in it.
    pub const fn has(self, state: TaskState) -> bool {
        self.0 & (1 << state as u16) != 0
    }

    /// True when a state that is final, or one that is not, is in it.
    pub fn has_final(self, is_final: bool) -> bool {
        (0..=TaskState::Cancelled as i32)
            .filter_map(|number| TaskState::try_from(number).ok())
            .any(|state| state != TaskState::Unspecified && self.has(state) && state.is_final() == is_final)
    }
}

/// Which tasks to list.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Only in these recorded states.
    pub states: States,
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only older than this task.
    pub before: Option<TaskId>,
    /// Most tasks to return.
    pub limit: usize,
    /// Most records to look at.
    pub scan_max: usize,
}

/// A page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The tasks, newest first.
    pub tasks: Vec<Stored>,
    /// Where to go on (`before` of the next query); `None` at the end.
    pub next: Option<TaskId>,
    /// Records that were looked at.
    pub scanned: usize,
}

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogEnd {
    /// Number of its last line; 0 when it has none.
    pub seq: u64,
    /// Bytes of text so far.
    pub bytes: u64,
    /// True when lines were left out because it was full.
    pub truncated: bool,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Tasks removed.
    pub tasks: usize,
    /// Idempotency keys removed.
    pub keys: usize,
    /// True when the next call may find more at once.
    pub more: bool,
}

/// Why a store call failed. One variant for each thing a caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The partition has a newer owner. Stop writing.
    #[error("epoch {epoch} was superseded by epoch {newest}")]
    Fenced {
        /// Ours.
        epoch: u64,
        /// The newest one.
        newest: u64,
    },
    /// The store does not answer or cannot write. Open again, with backoff.
    #[error("the store failed to {what}")]
    Unavailable {
        /// What it was to do.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record cannot be read. Needs a person.
    #[error("record `{key}` cannot be decoded: {reason}")]
    Corrupt {
        /// The record.
        key: String,
        /// Why.
        reason: String,
    },
}
