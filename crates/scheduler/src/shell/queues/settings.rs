//! What callers set for a queue: as it is stored, and as the engine takes it.

use std::sync::Arc;

use bytes::Bytes;
use mcp_engine::{Dispatch, Intake, QueueKey, QueueRules, Rate};
use mcp_proto::scheduler::v1;
use prost::Message;

use super::QueueChange;

/// What is set for a queue. The default limits nothing.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct QueueSettings {
    /// Its rules, checked; `None` when there are none.
    #[prost(message, optional, tag = "1")]
    pub(crate) rules: Option<v1::QueueRules>,
    /// When its dispatch was paused, milliseconds since 1970; 0 while it is not.
    #[prost(uint64, tag = "2")]
    pub(crate) pause_ms: u64,
    /// When it was closed for submits, milliseconds since 1970; 0 while it is not.
    #[prost(uint64, tag = "3")]
    pub(crate) drain_ms: u64,
}

impl QueueSettings {
    /// The settings after a change at `now`. A pause or drain that is set again keeps its beginning.
    pub(super) fn changed(&self, change: &QueueChange, now: u64) -> Self {
        let since = |before: u64| if before == 0 { now.max(1) } else { before };
        match change {
            QueueChange::Rules(rules) => {
                let rules = (**rules != v1::QueueRules::default()).then(|| (**rules).clone());
                Self { rules, ..self.clone() }
            }
            QueueChange::Pause => Self { pause_ms: since(self.pause_ms), ..self.clone() },
            QueueChange::Drain => Self { drain_ms: since(self.drain_ms), ..self.clone() },
            QueueChange::Resume => Self { pause_ms: 0, drain_ms: 0, ..self.clone() },
        }
    }

    /// True when nothing is set.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The rules in the engine's terms.
    pub(super) fn engine_rules(&self) -> QueueRules {
        let rules = self.rules.clone().unwrap_or_default();
        let bound = |max: u32| (max != 0).then_some(max);
        let rate =
            |rate: Option<v1::Rate>| rate.map(|rate| Rate { per_second: rate.per_second, burst: rate.burst.max(1) });
        QueueRules {
            dispatch: match self.pause_ms {
                0 => Dispatch::Running,
                since => Dispatch::Paused { since },
            },
            intake: if self.drain_ms == 0 { Intake::Open } else { Intake::Closed },
            concurrency_max: bound(rules.concurrency_max),
            key_concurrency_max: bound(rules.key_concurrency_max),
            rate: rate(rules.rate),
            key_rate: rate(rules.key_rate),
            weights: rules.weights.into_iter().map(|(key, weight)| (Arc::from(key), weight)).collect(),
            len_max: (rules.tasks_max != 0).then(|| usize::try_from(rules.tasks_max).unwrap_or(usize::MAX)),
        }
    }

    /// The stored form.
    pub(super) fn encoded(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// From the stored form.
    ///
    /// # Errors
    /// It is not one.
    pub(super) fn decoded(bytes: &Bytes) -> Result<Self, prost::DecodeError> {
        Self::decode(&bytes[..])
    }
}

/// Where the settings of a queue are stored: namespace, NUL, queue.
pub(super) fn entry_key(queue: &QueueKey) -> Bytes {
    [queue.namespace.as_bytes(), &[0], queue.queue.as_bytes()].concat().into()
}

/// The queue whose settings are stored under a key.
pub(super) fn queue_of(key: &[u8]) -> Option<QueueKey> {
    let (namespace, queue) = std::str::from_utf8(key).ok()?.split_once('\0')?;
    Some(QueueKey { namespace: namespace.into(), queue: queue.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> v1::QueueRules {
        v1::QueueRules {
            concurrency_max: 3,
            rate: Some(v1::Rate { per_second: 0.5, burst: 0 }),
            weights: [("a".to_owned(), 7)].into(),
            tasks_max: 9,
            ..v1::QueueRules::default()
        }
    }

    #[test]
    fn what_is_set_comes_back_from_the_store() {
        let settings = QueueSettings { rules: Some(rules()), pause_ms: 5, drain_ms: 6 };
        assert_eq!(QueueSettings::decoded(&settings.encoded()).unwrap(), settings);
        let queue = QueueKey { namespace: "n".into(), queue: "q.1".into() };
        assert_eq!(queue_of(&entry_key(&queue)), Some(queue));
        assert_eq!(queue_of(b"no separator"), None);
    }

    #[test]
    fn zero_and_unset_bound_nothing() {
        let engine = QueueSettings { rules: Some(rules()), ..QueueSettings::default() }.engine_rules();
        assert_eq!((engine.concurrency_max, engine.key_concurrency_max, engine.len_max), (Some(3), None, Some(9)));
        assert_eq!((engine.rate, engine.key_rate), (Some(Rate { per_second: 0.5, burst: 1 }), None));
        assert_eq!(engine.weights[&Arc::<str>::from("a")], 7);
        assert_eq!(QueueSettings::default().engine_rules(), QueueRules::default());
    }

    #[test]
    fn a_change_leaves_the_rest() {
        let settings = QueueSettings::default().changed(&QueueChange::Rules(Box::new(rules())), 1);
        let settings = settings.changed(&QueueChange::Pause, 5).changed(&QueueChange::Pause, 6);
        let settings = settings.changed(&QueueChange::Drain, 7);
        assert_eq!((settings.pause_ms, settings.drain_ms), (5, 7));
        assert_eq!(settings.engine_rules().dispatch, Dispatch::Paused { since: 5 });
        assert_eq!(settings.engine_rules().intake, Intake::Closed);
        let settings = settings.changed(&QueueChange::Resume, 8);
        assert_eq!(settings, QueueSettings { rules: Some(rules()), ..QueueSettings::default() });
        assert!(settings.changed(&QueueChange::Rules(Box::default()), 9).is_default());
    }
}
