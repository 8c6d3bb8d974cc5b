//! The part of a task that never changes, encoded once, at the submit.

use std::collections::BTreeMap;

use bytes::{BufMut as _, Bytes, BytesMut};
use mcp_proto::scheduler::v1::{TaskSpec, task_spec::Work};
use prost::Message;

use super::origin::Origin;
use crate::store::error::{Error, corrupt};

/// Largest encoded spec that is stored beside the task's state; a larger one is stored apart, so that lists and
/// recovery do not read it.
pub const SPEC_INLINE_MAX: usize = 1024;

/// The spec in [`Fixed`] is a brief: without stdin, env and input.
const FLAG_BRIEF: u8 = 1;
/// An origin, with its length before it, follows the traceparent.
const FLAG_ORIGIN: u8 = 2;
/// Flags, not-before, body hash, length of the traceparent.
const FIXED_HEAD_LEN: usize = 1 + 8 + 8 + 1;
/// Bytes of an origin's length.
const ORIGIN_HEAD_LEN: usize = 4;

/// What never changes of a task: flags, due time, body hash, traceparent and the spec (or its brief), encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed(Bytes);

impl Fixed {
    /// Encodes a checked spec whose encoding takes `spec_len` bytes. A spec over [`SPEC_INLINE_MAX`] comes back apart,
    /// encoded whole, and only its brief is in the fixed part.
    ///
    /// `not_before` is in milliseconds since 1970, 0 for at once; a hash is kept when the spec has an idempotency key.
    pub fn encode(
        spec: TaskSpec,
        spec_len: usize,
        not_before: u64,
        traceparent: &str,
        origin: Option<&Origin>,
    ) -> (Self, Option<Bytes>) {
        let origin = origin.map(Origin::encode);
        let build = |spec: &TaskSpec, spec_len: usize, flags: u8, hash: u64| {
            let head = FixedHead { flags, not_before, hash, traceparent, origin: origin.as_deref() };
            let mut bytes = head.encode(spec_len);
            spec.encode_raw(&mut bytes);
            Self(bytes.freeze())
        };
        if spec_len <= SPEC_INLINE_MAX {
            return (build(&spec, spec_len, 0, body_hash_of(&spec, None)), None);
        }
        let whole = Bytes::from(spec.encode_to_vec());
        let hash = body_hash_of(&spec, Some(&whole));
        let brief = brief(spec);
        (build(&brief, brief.encoded_len(), FLAG_BRIEF, hash), Some(whole))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// `None` when the bytes are too few.
    pub(super) fn parse(bytes: Bytes) -> Option<Self> {
        let traceparent_len = usize::from(*bytes.get(FIXED_HEAD_LEN - 1)?);
        let mut head_len = FIXED_HEAD_LEN + traceparent_len;
        if bytes[0] & FLAG_ORIGIN != 0 {
            head_len += ORIGIN_HEAD_LEN + origin_len(bytes.get(head_len..)?)?;
        }
        (bytes.len() >= head_len).then_some(Self(bytes))
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
        self.0.slice(FIXED_HEAD_LEN..self.traceparent_end())
    }

    /// What the task is part of, or made from. Mostly `None`.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn origin(&self) -> Result<Option<Origin>, Error> {
        if self.0[0] & FLAG_ORIGIN == 0 {
            return Ok(None);
        }
        let encoded = &self.0[self.traceparent_end() + ORIGIN_HEAD_LEN..self.spec_at()];
        Origin::decode(encoded).map(Some).ok_or_else(|| corrupt("origin", &"not an origin"))
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

    pub(in crate::store) fn marks(&self) -> Result<Marks, Error> {
        Marks::decode(&self.0[self.spec_at()..]).map_err(|error| corrupt("spec", &error))
    }

    /// The spec, or its brief.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub fn decode_spec(&self) -> Result<TaskSpec, Error> {
        TaskSpec::decode(self.spec()).map_err(|error| corrupt("spec", &error))
    }

    fn traceparent_end(&self) -> usize {
        FIXED_HEAD_LEN + usize::from(self.0[FIXED_HEAD_LEN - 1])
    }

    fn spec_at(&self) -> usize {
        let end = self.traceparent_end();
        if self.0[0] & FLAG_ORIGIN == 0 {
            return end;
        }
        end + ORIGIN_HEAD_LEN + origin_len(&self.0[end..]).expect("checked when it was parsed or built")
    }

    fn number(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[at..at + 8]);
        u64::from_le_bytes(bytes)
    }
}

/// What precedes the spec in [`Fixed`].
struct FixedHead<'a> {
    flags: u8,
    not_before: u64,
    hash: u64,
    traceparent: &'a str,
    origin: Option<&'a [u8]>,
}

impl FixedHead<'_> {
    /// The head's bytes, with room for a spec of `spec_len` bytes.
    fn encode(&self, spec_len: usize) -> BytesMut {
        let traceparent = self.traceparent.get(..usize::from(u8::MAX)).unwrap_or(self.traceparent);
        let traceparent_len = u8::try_from(traceparent.len()).unwrap_or(0);
        let traceparent = &traceparent.as_bytes()[..usize::from(traceparent_len)];
        let origin_len = self.origin.map_or(0, |origin| ORIGIN_HEAD_LEN + origin.len());
        let mut bytes = BytesMut::with_capacity(FIXED_HEAD_LEN + traceparent.len() + origin_len + spec_len);
        bytes.put_u8(self.flags | if self.origin.is_some() { FLAG_ORIGIN } else { 0 });
        bytes.put_u64_le(self.not_before);
        bytes.put_u64_le(self.hash);
        bytes.put_u8(traceparent_len);
        bytes.put_slice(traceparent);
        if let Some(origin) = self.origin {
            bytes.put_u32_le(u32::try_from(origin.len()).expect("it holds three short names"));
            bytes.put_slice(origin);
        }
        bytes
    }
}

/// The length of an origin, from the bytes that begin with it.
fn origin_len(bytes: &[u8]) -> Option<usize> {
    let len = u32::from_le_bytes(bytes.get(..ORIGIN_HEAD_LEN)?.try_into().ok()?);
    usize::try_from(len).ok()
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

/// The fields of a `TaskSpec` that people search by.
#[derive(Clone, PartialEq, Eq, Message)]
pub(in crate::store) struct Marks {
    #[prost(string, tag = "1")]
    pub(in crate::store) namespace: String,
    #[prost(string, tag = "2")]
    pub(in crate::store) queue: String,
    #[prost(string, tag = "3")]
    pub(in crate::store) name: String,
    #[prost(btree_map = "string, string", tag = "12")]
    pub(in crate::store) labels: BTreeMap<String, String>,
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

#[cfg(test)]
mod tests {
    use super::{
        super::{FireOf, StepOf},
        *,
    };

    #[test]
    fn an_origin_comes_back_and_costs_nothing_when_there_is_none() {
        let spec = || TaskSpec { queue: "q".to_owned(), ..TaskSpec::default() };
        let len = spec().encoded_len();
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (plain, _) = Fixed::encode(spec(), len, 7, trace, None);
        assert_eq!(plain.len(), FIXED_HEAD_LEN + trace.len() + len);
        assert_eq!(plain.origin().unwrap(), None);

        let origin = Origin {
            step: Some(StepOf { workflow: [3; 16], step: 9, item: 4, name: "load".to_owned() }),
            fire: Some(FireOf { schedule: "nightly".to_owned(), fire_ms: 8 }),
            replay_of: Some(mcp_proto::TaskId::from_u128(5)),
        };
        let (fixed, _) = Fixed::encode(spec(), len, 7, trace, Some(&origin));
        assert_eq!(fixed.origin().unwrap(), Some(origin));
        assert_eq!((&fixed.traceparent()[..], fixed.not_before()), (trace.as_bytes(), 7));
        assert_eq!(fixed.decode_spec().unwrap(), spec());
        for cut in 0..fixed.len() - len {
            assert!(Fixed::parse(fixed.bytes().to_vec()[..cut].to_vec().into()).is_none(), "cut at {cut}");
        }
    }
}
