//! What is written to a partition, and what is read when it is opened.

use bytes::Bytes;
use mcp_proto::TaskId;

use super::record::{Fixed, KeyRecord, LogChunk, Moving, Stored};

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
    /// The end of a task. Written again for a finished one, it replaces the record.
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
    /// An entry, in place of the one under the same key.
    Put(Entry),
    /// No entry from now on. Nothing happens when there is none.
    Delete {
        /// Its table.
        table: Table,
        /// Its key.
        key: Bytes,
    },
}

/// What a partition keeps besides tasks. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Rules of a queue. Key: namespace, NUL, queue.
    Queue = 1,
    /// Tasks that failed for good. Key: namespace, NUL, queue, NUL, task id.
    DeadLetter = 2,
    /// Schedules. Key: namespace, NUL, name.
    Schedule = 3,
    /// Fire times of a schedule and what became of them. Key: namespace, NUL, name, NUL, time in ms, big-endian.
    Fire = 4,
    /// Unfinished runs of workflows, and their idempotency keys. Key: workflow id, and a byte for which part of it.
    Workflow = 5,
    /// Steps of unfinished runs. Key: workflow id, numbers of step and item, big-endian.
    Step = 6,
    /// Finished runs of workflows. Key: a byte for which part of it, workflow id.
    WorkflowDone = 7,
    /// What is to be told to the owner of another partition. Key: task id, and a byte for what it is.
    Notice = 8,
    /// Idempotency keys of submits that were merged into a task with their unique key. Key: namespace, NUL, queue, NUL,
    /// idempotency key.
    MergedKey = 9,
    /// What may run of a partition that its owner closed in order; gone when the next owner has begun. One key.
    Closed = 10,
}

impl Table {
    /// Every table, in the order in which they are loaded.
    pub const ALL: [Self; 10] = [
        Self::Queue,
        Self::DeadLetter,
        Self::Schedule,
        Self::Fire,
        Self::Workflow,
        Self::Step,
        Self::WorkflowDone,
        Self::Notice,
        Self::MergedKey,
        Self::Closed,
    ];

    /// True when the loop holds its entries in memory, so that a load visits them.
    pub const fn is_loaded(self) -> bool {
        match self {
            Self::Queue
            | Self::Schedule
            | Self::Workflow
            | Self::Step
            | Self::Notice
            | Self::MergedKey
            | Self::Closed => true,
            Self::DeadLetter | Self::Fire | Self::WorkflowDone => false,
        }
    }

    /// The table with a stored number.
    pub fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == number)
    }
}

/// Longest key of an entry, in bytes.
pub const ENTRY_KEY_BYTES_MAX: usize = 1024;

/// A value under a key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its table.
    pub table: Table,
    /// Its key, 1 byte to [`ENTRY_KEY_BYTES_MAX`]. Entries are ordered by it, byte by byte.
    pub key: Bytes,
    /// What is kept.
    pub value: Bytes,
    /// When a sweep may remove it, milliseconds since 1970; 0 for never. Until then, and until the sweep, it is there.
    pub expires_ms: u64,
}

/// What a load visits.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// An entry of a table that is loaded.
    Entry(Entry),
    /// An unfinished task.
    Unfinished(Box<Stored>),
    /// An idempotency key.
    Key(KeyRecord),
}

/// What a worker needs to run a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToRun {
    /// As submitted.
    pub fixed: Fixed,
    /// The whole spec, encoded.
    pub spec: Bytes,
}
