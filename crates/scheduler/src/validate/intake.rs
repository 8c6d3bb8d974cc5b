//! Submitted tasks on their way in: from the wire's spec to what the engine and the store take.

use std::sync::Arc;

use bytes::Bytes;
use mcp_engine::{Idempotency, QueueKey, RetryPolicy, Submission, TaskId as EngineId, WorkKind};
use mcp_proto::{
    Code, Error, MESSAGE_BYTES_MAX,
    scheduler::v1::{TaskSpec, task_spec::Work},
};
use prost::Message as _;

use super::{
    fields::{Violations, duration},
    spec::{Root, normalise},
};
use crate::{clock::millis, store::Fixed};

/// Tasks of one batch.
pub(crate) const TASKS_PER_BATCH_MAX: usize = 10_000;

/// A checked task without an id.
#[derive(Debug)]
pub(crate) struct NewTask {
    /// For the engine; the id is still to be given.
    pub(crate) submission: Submission,
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
}

/// Checks the tasks of one request. Names that follow each other are shared.
#[derive(Debug)]
pub(crate) struct Intake<'a> {
    now: u64,
    traceparent: &'a str,
    names: Names,
}

impl<'a> Intake<'a> {
    /// For a request that came at `now`, in milliseconds since 1970, in a span with this traceparent.
    pub(crate) fn new(now: u64, traceparent: &'a str) -> Self {
        Self { now, traceparent, names: Names::default() }
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
        self.take(spec, len)
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
                checked.push(self.take(spec, len)?);
            }
        }
        violations.into_result()?;
        Ok(checked)
    }

    fn take(&mut self, spec: TaskSpec, len: usize) -> Result<NewTask, Error> {
        let delay = spec.delay.and_then(|delay| duration(delay).ok()).map_or(0, millis);
        let not_before = if delay == 0 { 0 } else { self.now.saturating_add(delay) };
        let mut submission = self.names.submission(&spec, EngineId(0), not_before, 0);
        let (fixed, whole) = Fixed::encode(spec, len, not_before, self.traceparent);
        if let Some(idempotency) = &mut submission.idempotency {
            idempotency.body_hash = fixed.body_hash();
        }
        Ok(NewTask { submission, fixed, whole })
    }
}

fn check_size(bytes: usize) -> Result<(), Error> {
    if bytes <= MESSAGE_BYTES_MAX {
        return Ok(());
    }
    let message = format!("the tasks take {bytes} bytes with their defaults; at most {MESSAGE_BYTES_MAX} are allowed");
    Err(Error::new(Code::PayloadTooLarge, message))
}

/// What the engine is to know of a spec that was checked before.
pub(crate) fn submission_of(names: &mut Names, spec: &TaskSpec, id: EngineId, fixed: &Fixed) -> Submission {
    names.submission(spec, id, fixed.not_before(), fixed.body_hash())
}

/// The latest names, so that tasks of one queue share them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    queue: Option<QueueKey>,
    handler: Option<Arc<str>>,
}

impl Names {
    /// The key of a queue.
    pub(crate) fn queue(&mut self, namespace: &str, queue: &str) -> QueueKey {
        if let Some(latest) = self.queue.as_ref().filter(|key| &*key.namespace == namespace && &*key.queue == queue) {
            return latest.clone();
        }
        let key = QueueKey { namespace: namespace.into(), queue: queue.into() };
        self.queue = Some(key.clone());
        key
    }

    fn kind(&mut self, spec: &TaskSpec) -> WorkKind {
        let Some(Work::Handler(work)) = &spec.work else { return WorkKind::Process };
        if let Some(latest) = self.handler.as_ref().filter(|name| ***name == *work.handler) {
            return WorkKind::Handler(Arc::clone(latest));
        }
        let name: Arc<str> = work.handler.as_str().into();
        self.handler = Some(Arc::clone(&name));
        WorkKind::Handler(name)
    }

    fn submission(&mut self, spec: &TaskSpec, id: EngineId, not_before: u64, body_hash: u64) -> Submission {
        let time = |wire: Option<prost_types::Duration>| wire.and_then(|wire| duration(wire).ok()).map(millis);
        let retry = spec.retry.unwrap_or_default();
        Submission {
            id,
            queue: self.queue(&spec.namespace, &spec.queue),
            kind: self.kind(spec),
            priority: i16::try_from(spec.priority).unwrap_or_default(),
            retry: RetryPolicy {
                max_attempts: retry.max_attempts.max(1),
                initial_backoff: time(retry.initial_backoff).unwrap_or_default(),
                max_backoff: time(retry.max_backoff).unwrap_or_default(),
                multiplier: retry.multiplier.max(1.0),
                jitter: retry.jitter.unwrap_or_default(),
            },
            run_timeout: time(spec.run_timeout).unwrap_or(u64::MAX),
            queue_timeout: time(spec.queue_timeout),
            not_before,
            idempotency: (!spec.idempotency_key.is_empty())
                .then(|| Idempotency { key: spec.idempotency_key.as_str().into(), body_hash }),
        }
    }
}
