//! Submitted tasks on their way in: from the wire's spec to what the engine and the store take.

use std::time::Duration;

use bytes::Bytes;
use mcp_engine::{Submission, TaskId as EngineId};
use mcp_proto::{Code, Error, MESSAGE_BYTES_MAX, TaskId, scheduler::v1::TaskSpec};
use prost::Message as _;

use super::{
    fields::{Violations, duration},
    mapping::Mapping,
    spec::{IDEMPOTENCY_WINDOW, Root, normalise},
};
use crate::{
    clock::millis,
    config::Settings,
    store::{Fixed, Origin},
};

/// Tasks of one batch.
pub(crate) const TASKS_PER_BATCH_MAX: usize = 10_000;

/// What the idempotency key of a replay begins with; the id of the old task follows.
const REPLAY_KEY: &str = "replay-of:";

/// A checked task without an id.
#[derive(Debug)]
pub(crate) struct NewTask {
    /// For the engine; the id is still to be given.
    pub(crate) submission: Submission,
    /// Hash of its home, for its id.
    pub(crate) home: u16,
    /// Where it is in its request, from 0.
    pub(crate) position: usize,
    /// For the store.
    pub(crate) fixed: Fixed,
    /// The encoded spec, when it is too large for the fixed part.
    pub(crate) whole: Option<Bytes>,
}

impl NewTask {
    /// Bytes it takes while it waits for the loop.
    pub(crate) fn len(&self) -> usize {
        self.fixed.len() + self.whole.as_ref().map_or(0, Bytes::len)
    }

    /// The partition of its queue.
    pub(crate) fn partition(&self) -> u16 {
        self.submission.partition.0
    }

    /// Its spec with the defaults filled in, for another replica.
    ///
    /// # Errors
    /// `INTERNAL`: it cannot be decoded, which is a fault of ours.
    pub(crate) fn spec(&self) -> Result<TaskSpec, Error> {
        let encoded = self.whole.clone().unwrap_or_else(|| self.fixed.spec());
        TaskSpec::decode(encoded).map_err(Error::internal)
    }
}

/// Checks the tasks of one request. Names that follow each other are shared.
#[derive(Debug)]
pub(crate) struct Intake<'a> {
    now: u64,
    traceparent: &'a str,
    mapping: Mapping,
}

impl<'a> Intake<'a> {
    /// For a request that came at `now`, in milliseconds since 1970, in a span with this traceparent.
    pub(crate) fn new(settings: &Settings, now: u64, traceparent: &'a str) -> Self {
        Self { now, traceparent, mapping: Mapping::new(settings) }
    }

    /// Checks a single task.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `PAYLOAD_TOO_LARGE`.
    pub(crate) fn single(mut self, task: Option<TaskSpec>) -> Result<NewTask, Error> {
        let mut spec = task.ok_or_else(|| Error::invalid("task", "is missing"))?;
        let mut violations = Violations::default();
        normalise(&mut spec, Root::Single, &mut violations);
        violations.into_result()?;
        let len = spec.encoded_len();
        check_size(len)?;
        Ok(self.take(spec, len, 0))
    }

    /// Checks a task that a schedule or a workflow starts.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `PAYLOAD_TOO_LARGE`.
    pub(crate) fn part_of(mut self, mut spec: TaskSpec, origin: &Origin) -> Result<NewTask, Error> {
        let mut violations = Violations::default();
        normalise(&mut spec, Root::Single, &mut violations);
        violations.into_result()?;
        let len = spec.encoded_len();
        check_size(len)?;
        Ok(self.take_from(spec, len, 0, Some(origin)))
    }

    /// Checks the tasks of a batch.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `PAYLOAD_TOO_LARGE`.
    pub(crate) fn batch(mut self, tasks: Vec<TaskSpec>) -> Result<Vec<NewTask>, Error> {
        if !(1..=TASKS_PER_BATCH_MAX).contains(&tasks.len()) {
            let fault = format!("has {} elements; it must have 1 to {TASKS_PER_BATCH_MAX}", tasks.len());
            return Err(Error::invalid("tasks", fault));
        }
        let mut violations = Violations::default();
        let mut checked = Vec::with_capacity(tasks.len());
        let mut bytes = 0;
        let mut is_right = true;
        for (index, mut spec) in tasks.into_iter().enumerate() {
            normalise(&mut spec, Root::InBatch(index), &mut violations);
            is_right &= violations.is_empty();
            if violations.is_full() {
                break;
            }
            if is_right {
                let len = spec.encoded_len();
                bytes += len;
                check_size(bytes)?;
                checked.push(self.take(spec, len, index));
            }
        }
        violations.into_result()?;
        Ok(checked)
    }

    /// The task that replays `old`: its work under its rules, due at once, and under an idempotency key that only its
    /// replays have, so that a repeat finds this one. The key is remembered for `window`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` or `PAYLOAD_TOO_LARGE`: this version does not take such a task any more.
    pub(crate) fn replay(&mut self, mut spec: TaskSpec, old: TaskId, window: Duration) -> Result<NewTask, Error> {
        spec.delay = None;
        spec.idempotency_key = format!("{REPLAY_KEY}{old}");
        let window = window.clamp(*IDEMPOTENCY_WINDOW.start(), *IDEMPOTENCY_WINDOW.end());
        spec.idempotency_window = window.try_into().ok();
        let mut violations = Violations::default();
        normalise(&mut spec, Root::Single, &mut violations);
        violations.into_result()?;
        let len = spec.encoded_len();
        check_size(len)?;
        Ok(self.take_from(spec, len, 0, Some(&Origin { replay_of: Some(old), ..Origin::default() })))
    }

    fn take(&mut self, spec: TaskSpec, len: usize, position: usize) -> NewTask {
        self.take_from(spec, len, position, None)
    }

    fn take_from(&mut self, spec: TaskSpec, len: usize, position: usize, origin: Option<&Origin>) -> NewTask {
        let delay = spec.delay.and_then(|delay| duration(delay).ok()).map_or(0, millis);
        let not_before = if delay == 0 { 0 } else { self.now.saturating_add(delay) };
        let (mut submission, home) = self.mapping.submission(&spec, EngineId(0), not_before, 0);
        let (fixed, whole) = Fixed::encode(spec, len, not_before, self.traceparent, origin);
        if let Some(idempotency) = &mut submission.idempotency {
            idempotency.body_hash = fixed.body_hash();
        }
        NewTask { submission, home, position, fixed, whole }
    }
}

fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the tasks take {bytes} bytes with their defaults; at most {MESSAGE_BYTES_MAX} are allowed");
    Err(Error::new(Code::PayloadTooLarge, message))
}
