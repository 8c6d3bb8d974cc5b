//! The form in which tasks, keys and logs are stored.
//!
//! A task has a part that never changes ([`Fixed`]) and one that does ([`Moving`]). The fixed part is encoded once, at
//! the submit; its bytes are then stored, cached, sent to workers and copied into the final record as they are.

use bytes::{BufMut as _, Bytes, BytesMut};
use mcp_proto::{
    TaskId,
    common::v1::Error as WireError,
    scheduler::v1::{LogLine, TaskSpec, TaskState, task_spec::Work},
};
use prost::Message;

use super::Error;

/// Largest encoded spec that is stored beside the task's state; a larger one is stored apart, so that lists and
/// recovery do not read it.
pub const SPEC_INLINE_MAX: usize = 1024;

/// Version of the layout, first byte of every task record.
const VERSION: u8 = 1;
/// The spec in [`Fixed`] is a brief: without stdin, env and input.
const FLAG_BRIEF: u8 = 1;
/// Flags, not-before, body hash, length of the traceparent.
const FIXED_HEAD_LEN: usize = 1 + 8 + 8 + 1;

/// What never changes of a task: flags, due time, body hash, traceparent and the spec (or its brief), encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed(Bytes);

impl Fixed {
    /// Encodes a checked spec whose encoding takes `spec_len` bytes. A spec over [`SPEC_INLINE_MAX`] comes back apart,
    /// encoded whole, and only its brief is in the fixed part.
    ///
    /// `not_before` is in milliseconds since 1970, 0 for at once; `hash` is kept when the spec has an idempotency key.
    pub fn encode(spec: TaskSpec, spec_len: usize, not_before: u64, traceparent: &str) -> (Self, Option<Bytes>) {
        let traceparent = traceparent.get(..usize::from(u8::MAX)).unwrap_or(traceparent);
        if spec_len <= SPEC_INLINE_MAX {
            return (Self::build(&spec, spec_len, 0, not_before, body_hash_of(&spec, None), traceparent), None);
        }
        let whole = Bytes::from(spec.encode_to_vec());
        let hash = body_hash_of(&spec, Some(&whole));
        let brief = brief(spec);
        let brief_len = brief.encoded_len();
        (Self::build(&brief, brief_len, FLAG_BRIEF, not_before, hash, traceparent), Some(whole))
    }

    fn build(spec: &TaskSpec, spec_len: usize, flags: u8, not_before: u64, hash: u64, traceparent: &str) -> Self {
        let mut bytes = BytesMut::with_capacity(FIXED_HEAD_LEN + traceparent.len() + spec_len);
        bytes.put_u8(flags);
        bytes.put_u64_le(not_before);
        bytes.put_u64_le(hash);
        bytes.put_u8(u8::try_from(traceparent.len()).expect("cut to the length that fits"));
        bytes.put_slice(traceparent.as_bytes());
        spec.encode_raw(&mut bytes);
        Self(bytes.freeze())
    }

    fn parse(bytes: Bytes) -> Option<Self> {
        let traceparent_len = usize::from(*bytes.get(FIXED_HEAD_LEN - 1)?);
        (bytes.len() >= FIXED_HEAD_LEN + traceparent_len).then_some(Self(bytes))
    }

    /// When the task is due first, milliseconds since 1970; 0 means at once.
    pub fn not_before(&self) -> u64 {
        self.number(1)
    }

    /// Hash of the spec, for its idempotency key; 0 when it has none.
    pub fn body_hash(&self) -> u64 {
        self.number(9)
    }

    /// W3C `traceparent` of the submit; empty when there was none.
    pub fn traceparent(&self) -> Bytes {
        self.0.slice(FIXED_HEAD_LEN..self.spec_at())
    }

    /// The spec, encoded, or its brief.
    pub fn spec(&self) -> Bytes {
        self.0.slice(self.spec_at()..)
    }

    /// True when [`spec`](Self::spec) lacks stdin, env and input; the whole one is stored apart.
    pub fn is_brief(&self) -> bool {
        self.0[0] & FLAG_BRIEF != 0
    }

    /// Bytes it takes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true; there is always a head.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The spec's namespace and queue, without decoding the rest.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn head(&self) -> Result<Head, Error> {
        Head::decode(&self.0[self.spec_at()..]).map_err(|error| corrupt("spec", &error))
    }

    /// The spec, or its brief.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn decode_spec(&self) -> Result<TaskSpec, Error> {
        TaskSpec::decode(self.spec()).map_err(|error| corrupt("spec", &error))
    }

    fn spec_at(&self) -> usize {
        FIXED_HEAD_LEN + usize::from(self.0[FIXED_HEAD_LEN - 1])
    }

    fn number(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }
}

/// The first fields of a `TaskSpec`.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Head {
    /// Namespace of the task.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// Queue of the task.
    #[prost(string, tag = "2")]
    pub queue: String,
}

/// What changes of a task.
#[derive(Clone, PartialEq, Message)]
pub struct Moving {
    /// Where it stands; never RUNNING, because a dispatch is not recorded.
    #[prost(enumeration = "TaskState", tag = "1")]
    pub state: i32,
    /// Attempts started.
    #[prost(uint32, tag = "2")]
    pub started: u32,
    /// Attempts failed by themselves.
    #[prost(uint32, tag = "3")]
    pub failed: u32,
    /// Attempts lost with their worker.
    #[prost(uint32, tag = "4")]
    pub lost: u32,
    /// When the next attempt is due, milliseconds since 1970.
    #[prost(uint64, tag = "5")]
    pub not_before: u64,
    /// Why the latest attempt failed, or the task ended.
    #[prost(message, optional, tag = "6")]
    pub error: Option<WireError>,
    /// Worker of the latest attempt.
    #[prost(string, tag = "7")]
    pub worker_id: String,
    /// When the latest attempt started, milliseconds since 1970; 0 when none has.
    #[prost(uint64, tag = "8")]
    pub start_ms: u64,
    /// When the task became final, milliseconds since 1970; 0 before.
    #[prost(uint64, tag = "9")]
    pub finish_ms: u64,
    /// Exit code of the latest process attempt.
    #[prost(sint32, optional, tag = "10")]
    pub exit_code: Option<i32>,
    /// A cancel was accepted.
    #[prost(bool, tag = "11")]
    pub cancel_requested: bool,
    /// Encoded `google.protobuf.Value`, when the task gave one.
    #[prost(bytes = "bytes", optional, tag = "12")]
    pub output: Option<Bytes>,
    /// The output is stored apart.
    #[prost(bool, tag = "13")]
    pub output_apart: bool,
    /// Epoch of the token up to which attempts are void.
    #[prost(uint64, tag = "14")]
    pub void_epoch: u64,
    /// Sequence of that token; with epoch 0 there is none.
    #[prost(uint64, tag = "15")]
    pub void_sequence: u64,
    /// Why a cancel was asked for.
    #[prost(string, tag = "16")]
    pub cancel_reason: String,
}

impl Moving {
    /// Keeps from an earlier record what this one says nothing of.
    #[must_use]
    pub fn after(mut self, earlier: &Self) -> Self {
        if self.error.is_none() && self.state() != TaskState::Succeeded {
            self.error.clone_from(&earlier.error);
        }
        if self.worker_id.is_empty() {
            self.worker_id.clone_from(&earlier.worker_id);
        }
        if self.start_ms == 0 {
            self.start_ms = earlier.start_ms;
        }
        self.exit_code = self.exit_code.or(earlier.exit_code);
        self.cancel_requested |= earlier.cancel_requested;
        if self.cancel_reason.is_empty() {
            self.cancel_reason.clone_from(&earlier.cancel_reason);
        }
        if self.void_epoch == 0 {
            (self.void_epoch, self.void_sequence) = (earlier.void_epoch, earlier.void_sequence);
        }
        self
    }
}

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
        bytes.put_slice(&fixed.0);
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
            return Err(bad("not a task record of version 1"));
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

/// What lists show of a spec: all but stdin, env and input.
pub(crate) fn brief(mut spec: TaskSpec) -> TaskSpec {
    match &mut spec.work {
        Some(Work::Process(process)) => {
            process.stdin = Bytes::new();
            process.env.clear();
        }
        Some(Work::Handler(handler)) => handler.input = None,
        None => {}
    }
    spec
}

/// Hash of a spec under an idempotency key; it is stored, so it must never change. FNV-1a: nobody gains by a
/// collision with a key of his own.
fn body_hash_of(spec: &TaskSpec, encoded: Option<&Bytes>) -> u64 {
    if spec.idempotency_key.is_empty() {
        return 0;
    }
    let own;
    let bytes: &[u8] = match encoded {
        Some(bytes) => bytes,
        None => {
            own = spec.encode_to_vec();
            &own
        }
    };
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

pub(super) fn corrupt(key: &str, reason: &impl ToString) -> Error {
    Error::Corrupt { key: key.to_owned(), reason: reason.to_string() }
}
