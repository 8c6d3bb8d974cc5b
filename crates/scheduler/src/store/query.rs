//! What is asked of a store, and its answers.

use mcp_proto::{TaskId, scheduler::v1::TaskState};

use super::{
    error::Error,
    record::{Fixed, Stored},
};

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
        self.iter().any(|state| state.is_final() == is_final)
    }

    /// The states in it.
    pub fn iter(self) -> impl Iterator<Item = TaskState> {
        (1..=TaskState::Cancelled as i32)
            .filter_map(|number| TaskState::try_from(number).ok())
            .filter(move |state| self.has(*state))
    }
}

/// Which tasks to list: those that every filter lets pass.
#[derive(Debug, Clone)]
pub struct ListQuery {
    /// Only in these recorded states.
    pub states: States,
    /// Only of this namespace.
    pub namespace: Option<String>,
    /// Only of this queue.
    pub queue: Option<String>,
    /// Only with all of these labels.
    pub labels: Vec<(String, String)>,
    /// Only with this in their name; empty lets all pass.
    pub name_contains: String,
    /// Only older than this task.
    pub before: Option<TaskId>,
    /// Most tasks to return; at least 1.
    pub limit: usize,
    /// Most records to look at; at least 1. A page may end there with few tasks, or none, and yet not be the last.
    pub scan_max: usize,
}

impl ListQuery {
    /// True when all filters but the states let a task pass. Decodes as little as it can.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn takes(&self, fixed: &Fixed) -> Result<bool, Error> {
        let differs = |wanted: &Option<String>, has: &str| wanted.as_ref().is_some_and(|wanted| wanted != has);
        if self.name_contains.is_empty() && self.labels.is_empty() {
            if self.namespace.is_none() && self.queue.is_none() {
                return Ok(true);
            }
            let head = fixed.head()?;
            return Ok(!differs(&self.namespace, &head.namespace) && !differs(&self.queue, &head.queue));
        }
        let marks = fixed.marks()?;
        Ok(!differs(&self.namespace, &marks.namespace)
            && !differs(&self.queue, &marks.queue)
            && marks.name.contains(&self.name_contains)
            && self.labels.iter().all(|(key, value)| marks.labels.get(key) == Some(value)))
    }
}

/// A page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The tasks, newest first.
    pub tasks: Vec<Stored>,
    /// Where to go on (`before` of the next query); `None` at the end.
    pub next: Option<TaskId>,
    /// Records that were looked at. Those that an index kept out do not count.
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
    /// Expired entries removed.
    pub entries: usize,
    /// True when the next call may find more at once.
    pub more: bool,
}
