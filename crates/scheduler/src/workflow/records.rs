//! What the store keeps of runs.
//!
//! An unfinished run has a part that never changes (what was submitted), written once, and one that does. Its steps and
//! items have an entry each. A final run has three entries, which expire: a brief for lists, whose keys are ordered from
//! the newest to the oldest; how it ended, with its steps; and what was submitted. An idempotency key is an entry of the
//! first table, too: its key is longer than those of runs.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use bytes::Bytes;
use mcp_flow::{
    Cause, Definition, Json, Millis, Progress, RawDefinition, RunId, RunRecord, RunState, RunView, STEP_KEY_BYTES,
    StepRecord, Stop,
};
use mcp_proto::TaskId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Brief;
use crate::store::{Entry, Error, Table, Write};

/// Bytes of an id in a key.
const ID_BYTES: usize = 16;
/// Follows the id in the key of the part that never changes.
const FIXED: u8 = 1;
/// First byte of the key of a final run's brief; the id follows, inverted.
const DONE_BRIEF: u8 = 0;
/// First byte of the key of how a final run ended; the id follows.
const DONE_END: u8 = 1;
/// First byte of the key of what was submitted of a final run; the id follows.
const DONE_FIXED: u8 = 2;
/// How the key of an idempotency key begins. With what follows it is longer than a run's.
const IDEMPOTENCY: &[u8] = b"idempotency\0";

/// The part of a run that never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fixed {
    /// What runs.
    pub(crate) definition: Arc<RawDefinition>,
    /// What expressions see as `input`.
    pub(crate) input: Json,
    /// Queue, labels and the like.
    pub(crate) extra: Json,
    /// W3C `traceparent` of the submit; empty when there was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) trace: String,
    /// The run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rerun_of: Option<RunId>,
}

/// The part of a run that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moving {
    created: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout_at: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished: Option<Millis>,
    state: RunState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<Cause>,
    #[serde(default)]
    stop: Stop,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Json>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Json>,
    /// Why a caller cancelled it; empty when nobody did, or said nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) cancel_reason: String,
}

impl Fixed {
    /// Of a run.
    pub(crate) fn of(record: &RunRecord) -> Self {
        Self {
            definition: Arc::clone(&record.definition),
            input: record.input.clone(),
            extra: record.extra.clone(),
            trace: record.trace.clone(),
            rerun_of: record.rerun_of,
        }
    }

    /// As it is kept.
    pub(crate) fn encode(&self) -> Bytes {
        encode(self)
    }
}

impl Moving {
    /// Of a run.
    pub(crate) fn of(record: &RunRecord, cancel_reason: &str) -> Self {
        Self {
            created: record.created,
            timeout_at: record.timeout_at,
            finished: record.finished,
            state: record.state,
            cause: record.cause,
            stop: record.stop,
            error: record.error.clone(),
            output: record.output.clone(),
            cancel_reason: cancel_reason.to_owned(),
        }
    }

    /// The whole record, with the other part.
    pub(crate) fn record(self, id: RunId, partition: u16, fixed: Fixed) -> RunRecord {
        RunRecord {
            id,
            partition,
            definition: fixed.definition,
            input: fixed.input,
            extra: fixed.extra,
            trace: fixed.trace,
            rerun_of: fixed.rerun_of,
            created: self.created,
            timeout_at: self.timeout_at,
            finished: self.finished,
            state: self.state,
            cause: self.cause,
            stop: self.stop,
            error: self.error,
            output: self.output,
        }
    }
}

/// How a final run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    moving: Moving,
    steps: Vec<Progress>,
}

/// An idempotency key and the run it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunKey {
    /// Namespace of the run.
    pub(crate) namespace: String,
    /// Queue of the run.
    pub(crate) queue: String,
    /// The caller's key.
    pub(crate) key: String,
    /// Hash of what was submitted.
    pub(crate) body_hash: u64,
    /// The run.
    pub(crate) run: RunId,
    /// Until when it is remembered, milliseconds since 1970.
    pub(crate) forget_at: u64,
}

impl RunKey {
    /// The entry to keep.
    pub(crate) fn write(&self) -> Write {
        let parts = [self.namespace.as_bytes(), b"\0", self.queue.as_bytes(), b"\0", self.key.as_bytes()].concat();
        let key = [IDEMPOTENCY, &parts].concat().into();
        Write::Put(Entry { table: Table::Workflow, key, value: encode(self), expires_ms: self.forget_at })
    }
}

/// What an entry of the tables of unfinished runs is.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// The part of a run that never changes, and its definition, if that passes today's check.
    Fixed(RunId, Fixed, Option<Arc<Definition>>),
    /// The other part.
    Moving(RunId, Moving),
    /// A step or an item.
    Step(StepRecord),
    /// An idempotency key.
    Key(RunKey),
}

/// Reads entries of unfinished runs, on a thread that may take its time: definitions are checked here.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Definitions that were read, by a hash of their records.
    known: HashMap<u64, Arc<Definition>>,
}

/// Definitions that a [`Reader`] remembers.
const KNOWN_MAX: usize = 1_000;

impl Reader {
    /// Reads an entry.
    ///
    /// # Errors
    /// [`Error::Corrupt`].
    pub(crate) fn read(&mut self, entry: &Entry) -> Result<Found, Error> {
        if entry.table == Table::Step {
            let found = step_of(&entry.key).ok_or_else(|| corrupt(&entry.key, &"no key of a step"));
            let (run, step, item) = found?;
            return Ok(Found::Step(StepRecord { run, step, item, progress: decode(&entry.key, &entry.value)? }));
        }
        match (run_of(&entry.key), entry.key.len()) {
            (Some(run), ID_BYTES) => Ok(Found::Moving(run, decode(&entry.key, &entry.value)?)),
            (Some(run), len) if len == ID_BYTES + 1 && entry.key[ID_BYTES] == FIXED => {
                let mut fixed: Fixed = decode(&entry.key, &entry.value)?;
                let definition = self.definition(&fixed.definition);
                if let Some(definition) = &definition {
                    fixed.definition = Arc::clone(definition.raw());
                }
                Ok(Found::Fixed(run, fixed, definition))
            }
            _ if entry.key.starts_with(IDEMPOTENCY) => Ok(Found::Key(decode(&entry.key, &entry.value)?)),
            _ => Err(corrupt(&entry.key, &"no key of a workflow")),
        }
    }

    fn definition(&mut self, raw: &RawDefinition) -> Option<Arc<Definition>> {
        let mut hasher = DefaultHasher::new();
        raw.hash(&mut hasher);
        let hash = hasher.finish();
        if let Some(known) = self.known.get(&hash).filter(|known| **known.raw() == *raw) {
            return Some(Arc::clone(known));
        }
        let definition = Arc::new(Definition::check(raw.clone()).ok()?);
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(hash, Arc::clone(&definition));
        Some(definition)
    }
}

/// Keeps what was submitted of a run.
pub(crate) fn put_fixed(run: RunId, encoded: Bytes) -> Write {
    put(Table::Workflow, fixed_key(run), encoded, 0)
}

/// Keeps where a run stands.
pub(crate) fn put_moving(run: RunId, moving: &Moving) -> Write {
    put(Table::Workflow, Bytes::copy_from_slice(&run.0.to_be_bytes()), encode(moving), 0)
}

/// Keeps where a step or an item stands.
pub(crate) fn put_step(record: &StepRecord) -> Write {
    put(Table::Step, Bytes::copy_from_slice(&record.key()), encode(&record.progress), 0)
}

/// Removes a step or an item.
pub(crate) fn delete_step(run: RunId, step: u32, item: Option<u32>) -> Write {
    Write::Delete { table: Table::Step, key: Bytes::copy_from_slice(&StepRecord::key_of(run, step, item)) }
}

/// Moves a run to the final ones, where it stays until `expires_ms`. Its steps' entries are not touched.
pub(crate) fn finish(view: &RunView, cancel_reason: &str, brief: &Brief, expires_ms: u64) -> [Write; 5] {
    let id = view.run.id;
    let end = End { moving: Moving::of(&view.run, cancel_reason), steps: view.steps.clone() };
    let fixed = Fixed::of(&view.run).encode();
    let remove = |key| Write::Delete { table: Table::Workflow, key };
    [
        remove(Bytes::copy_from_slice(&id.0.to_be_bytes())),
        remove(fixed_key(id)),
        put(Table::WorkflowDone, brief_key(workflow(id)), encode(brief), expires_ms),
        put(Table::WorkflowDone, done_key(DONE_END, id), encode(&end), expires_ms),
        put(Table::WorkflowDone, done_key(DONE_FIXED, id), fixed, expires_ms),
    ]
}

/// A final run, from the values under [`done_keys`], with the reason of its cancel.
///
/// # Errors
/// [`Error::Corrupt`].
pub(crate) fn final_run(id: TaskId, partition: u16, end: &Bytes, fixed: &Bytes) -> Result<(RunView, String), Error> {
    let run = super::run_id(id);
    let end: End = decode(&done_key(DONE_END, run), end)?;
    let fixed: Fixed = decode(&done_key(DONE_FIXED, run), fixed)?;
    let reason = end.moving.cancel_reason.clone();
    Ok((RunView { run: end.moving.record(run, partition, fixed), steps: end.steps }, reason))
}

/// Keys of how a final run ended and of what was submitted.
pub(crate) fn done_keys(id: TaskId) -> [Bytes; 2] {
    let run = super::run_id(id);
    [done_key(DONE_END, run), done_key(DONE_FIXED, run)]
}

/// What the keys of the briefs of final runs begin with.
pub(crate) const BRIEFS: &[u8] = &[DONE_BRIEF];

/// Key of a final run's brief: a newer run has a smaller one.
pub(crate) fn brief_key(id: TaskId) -> Bytes {
    done_key(DONE_BRIEF, RunId(!id.as_u128()))
}

/// The brief of a final run.
///
/// # Errors
/// [`Error::Corrupt`].
pub(crate) fn brief(key: &[u8], value: &Bytes) -> Result<Brief, Error> {
    decode(key, value)
}

fn workflow(id: RunId) -> TaskId {
    super::workflow_id(id)
}

fn put(table: Table, key: Bytes, value: Bytes, expires_ms: u64) -> Write {
    Write::Put(Entry { table, key, value, expires_ms })
}

fn fixed_key(run: RunId) -> Bytes {
    [&run.0.to_be_bytes()[..], &[FIXED]].concat().into()
}

fn done_key(first: u8, run: RunId) -> Bytes {
    [&[first][..], &run.0.to_be_bytes()].concat().into()
}

fn run_of(key: &[u8]) -> Option<RunId> {
    let id = key.first_chunk::<ID_BYTES>()?;
    (key.len() <= ID_BYTES + 1).then_some(RunId(u128::from_be_bytes(*id)))
}

fn step_of(key: &[u8]) -> Option<(RunId, u32, Option<u32>)> {
    let key: &[u8; STEP_KEY_BYTES] = key.try_into().ok()?;
    let number = |at: usize| u32::from_be_bytes([key[at], key[at + 1], key[at + 2], key[at + 3]]);
    let run = RunId(u128::from_be_bytes(*key.first_chunk::<ID_BYTES>()?));
    Some((run, number(ID_BYTES), number(ID_BYTES + 4).checked_sub(1)))
}

fn encode(record: &impl Serialize) -> Bytes {
    serde_json::to_vec(record).expect("its keys are text").into()
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(value).map_err(|error| corrupt(key, &error))
}

fn corrupt(key: &[u8], reason: &dyn std::fmt::Display) -> Error {
    Error::Corrupt { key: key.escape_ascii().to_string(), reason: reason.to_string() }
}
