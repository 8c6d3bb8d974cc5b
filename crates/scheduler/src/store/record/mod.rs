//! The form in which tasks, keys and logs are stored.
//!
//! A task has a part that never changes ([`Fixed`]) and one that does ([`Moving`]). The fixed part is encoded once, at
//! the submit; its bytes are then stored, cached, sent to workers and copied into the final record as they are.

mod fixed;
mod moving;
mod origin;

use bytes::{BufMut as _, Bytes};
use mcp_proto::{TaskId, scheduler::v1::LogLine};
use prost::Message;

pub(crate) use self::fixed::brief;
pub use self::{
    fixed::{Fixed, Head, SPEC_INLINE_MAX},
    moving::{FAILURE_MESSAGE_BYTES_MAX, FAILURES_FIRST_MAX, FAILURES_LATEST_MAX, FailedAttempt, Moving},
    origin::{FireOf, Origin, StepOf},
};
use super::error::{Error, corrupt};

/// Version of the layout, first byte of every task record.
const VERSION: u8 = 2;

/// A task as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its id.
    pub id: TaskId,
    /// What was submitted.
    pub fixed: Fixed,
    /// How far it got.
    pub moving: Moving,
}

impl Stored {
    /// Appends the record's bytes: version, length of the fixed part, fixed part, moving part.
    pub fn encode(fixed: &Fixed, moving: &Moving, bytes: &mut Vec<u8>) {
        bytes.put_u8(VERSION);
        bytes.put_u32_le(u32::try_from(fixed.len()).expect("a message is at most 16 MiB"));
        bytes.put_slice(fixed.bytes());
        moving.encode_raw(bytes);
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn decode(id: TaskId, bytes: &Bytes) -> Result<Self, Error> {
        let (fixed, moving) = Self::split(id, bytes)?;
        let moving = Moving::decode(moving).map_err(|error| corrupt(&id.to_string(), &error))?;
        Ok(Self { id, fixed, moving })
    }

    /// The parts of a record, the moving one still encoded.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn split(id: TaskId, bytes: &Bytes) -> Result<(Fixed, Bytes), Error> {
        let bad = |reason: &str| corrupt(&id.to_string(), &reason);
        if bytes.len() < 5 || bytes[0] != VERSION {
            return Err(bad("not a task record of this version"));
        }
        let fixed_len = usize::try_from(u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]))
            .map_err(|_| bad("too long"))?;
        if bytes.len() - 5 < fixed_len {
            return Err(bad("cut off"));
        }
        let fixed = Fixed::parse(bytes.slice(5..5 + fixed_len)).ok_or_else(|| bad("cut off"))?;
        Ok((fixed, bytes.slice(5 + fixed_len..)))
    }
}

/// An idempotency key and the task it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The task.
    pub task: TaskId,
    /// Namespace of the task.
    pub namespace: String,
    /// Queue of the task.
    pub queue: String,
    /// The caller's key.
    pub key: String,
    /// Hash of the spec.
    pub body_hash: u64,
    /// Until when it is remembered, milliseconds since 1970.
    pub forget_at: u64,
}

/// The stored form of a [`KeyRecord`]; the rest of it is in its place.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) namespace: String,
    #[prost(string, tag = "2")]
    pub(super) queue: String,
    #[prost(string, tag = "3")]
    pub(super) key: String,
    #[prost(fixed64, tag = "4")]
    pub(super) body_hash: u64,
}

impl From<&KeyRecord> for KeyValue {
    fn from(record: &KeyRecord) -> Self {
        let KeyRecord { task: _, namespace, queue, key, body_hash, forget_at: _ } = record;
        Self { namespace: namespace.clone(), queue: queue.clone(), key: key.clone(), body_hash: *body_hash }
    }
}

impl KeyValue {
    /// The whole, with what its place says.
    pub(super) fn record(self, task: TaskId, forget_at: u64) -> KeyRecord {
        let Self { namespace, queue, key, body_hash } = self;
        KeyRecord { task, namespace, queue, key, body_hash, forget_at }
    }
}

/// Lines of a log that were stored together.
#[derive(Clone, PartialEq, Message)]
pub struct LogChunk {
    /// The lines, numbered; at least one.
    #[prost(message, repeated, tag = "1")]
    pub lines: Vec<LogLine>,
    /// Bytes of text of the log up to and with these lines.
    #[prost(uint64, tag = "2")]
    pub bytes_total: u64,
    /// The log was full: the last of these lines says so, and none follows.
    #[prost(bool, tag = "3")]
    pub truncated: bool,
}
