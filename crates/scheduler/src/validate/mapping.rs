//! From a checked spec to the engine's terms.

use std::sync::Arc;

use mcp_engine::{Idempotency, Partition, QueueKey, RetryPolicy, Submission, TaskId as EngineId, WorkKind};
use mcp_proto::{
    TaskId,
    partition::of_home,
    scheduler::v1::{Delivery, TaskSpec, task_spec::Work},
};

use super::{fields::duration, placement};
use crate::{clock::millis, config::Settings, store::Fixed};

/// What the engine is to know of specs. Names that follow each other are shared.
#[derive(Debug)]
pub(crate) struct Mapping {
    names: Names,
    partitions: u16,
    idempotency_window: u64,
}

impl Mapping {
    /// With the defaults of the settings.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            names: Names::default(),
            partitions: settings.partitions,
            idempotency_window: millis(settings.idempotency_window),
        }
    }

    /// The key of a queue.
    pub(crate) fn queue(&mut self, namespace: &str, queue: &str) -> QueueKey {
        self.names.queue(namespace, queue)
    }

    /// The submission of a task on record.
    pub(crate) fn stored(&mut self, spec: &TaskSpec, id: EngineId, fixed: &Fixed) -> Submission {
        self.submission(spec, id, fixed.not_before(), fixed.body_hash()).0
    }

    /// The submission of a checked spec, and the hash of its home.
    pub(super) fn submission(
        &mut self,
        spec: &TaskSpec,
        id: EngineId,
        not_before: u64,
        body_hash: u64,
    ) -> (Submission, u16) {
        let time = |wire: Option<prost_types::Duration>| wire.and_then(|wire| duration(wire).ok()).map(millis);
        let retry = spec.retry.as_ref();
        let (queue, home) = self.names.queue_and_home(&spec.namespace, &spec.queue);
        let submission = Submission {
            id,
            partition: Partition(of_home(home, self.partitions)),
            queue,
            kind: self.names.kind(spec),
            priority: i16::try_from(spec.priority).unwrap_or_default(),
            key: self.names.key(&spec.key),
            unique: (!spec.unique_key.is_empty()).then(|| spec.unique_key.as_str().into()),
            at_most_once: spec.delivery() == Delivery::AtMostOnce,
            placement: placement::of(spec.placement.as_ref()),
            retry: RetryPolicy {
                max_attempts: retry.map_or(1, |retry| retry.max_attempts.max(1)),
                initial_backoff: retry.and_then(|retry| time(retry.initial_backoff)).unwrap_or_default(),
                max_backoff: retry.and_then(|retry| time(retry.max_backoff)).unwrap_or_default(),
                multiplier: retry.map_or(1.0, |retry| retry.multiplier.max(1.0)),
                jitter: retry.and_then(|retry| retry.jitter).unwrap_or_default(),
            },
            never_retry: self.names.never_retry(retry.map_or(&[], |retry| retry.never_retry.as_slice())),
            run_timeout: time(spec.run_timeout).unwrap_or(u64::MAX),
            queue_timeout: time(spec.queue_timeout),
            submitted_at: if id.0 == 0 { 0 } else { TaskId::from_u128(id.0).unix_ms() },
            not_before,
            idempotency: (!spec.idempotency_key.is_empty()).then(|| Idempotency {
                key: spec.idempotency_key.as_str().into(),
                body_hash,
                window: time(spec.idempotency_window).unwrap_or(self.idempotency_window),
            }),
        };
        (submission, home)
    }
}

/// The latest names, so that tasks of one queue share them.
#[derive(Debug, Default)]
pub(crate) struct Names {
    queue: Option<(QueueKey, u16)>,
    handler: Option<Arc<str>>,
    key: Option<Arc<str>>,
    never_retry: Arc<[Arc<str>]>,
}

impl Names {
    /// The key of a queue.
    pub(crate) fn queue(&mut self, namespace: &str, queue: &str) -> QueueKey {
        self.queue_and_home(namespace, queue).0
    }

    fn queue_and_home(&mut self, namespace: &str, queue: &str) -> (QueueKey, u16) {
        let is_same = |key: &QueueKey| &*key.namespace == namespace && &*key.queue == queue;
        if let Some(latest) = self.queue.as_ref().filter(|(key, _)| is_same(key)) {
            return latest.clone();
        }
        let key = QueueKey { namespace: namespace.into(), queue: queue.into() };
        self.queue.insert((key, TaskId::home_of(namespace, queue))).clone()
    }

    fn kind(&mut self, spec: &TaskSpec) -> WorkKind {
        let Some(Work::Handler(work)) = &spec.work else { return WorkKind::Process };
        WorkKind::Handler(latest(&mut self.handler, &work.handler))
    }

    fn key(&mut self, key: &str) -> Option<Arc<str>> {
        (!key.is_empty()).then(|| latest(&mut self.key, key))
    }

    fn never_retry(&mut self, names: &[String]) -> Arc<[Arc<str>]> {
        if !self.never_retry.iter().map(|name| &**name).eq(names.iter().map(String::as_str)) {
            self.never_retry = names.iter().map(|name| name.as_str().into()).collect();
        }
        Arc::clone(&self.never_retry)
    }
}

/// The text, shared with the latest one when they are the same.
fn latest(slot: &mut Option<Arc<str>>, text: &str) -> Arc<str> {
    match slot {
        Some(latest) if **latest == *text => Arc::clone(latest),
        _ => Arc::clone(slot.insert(text.into())),
    }
}
