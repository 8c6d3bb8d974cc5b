//! Idempotency keys of workflows.

use std::collections::{HashMap, VecDeque};

use mcp_flow::RunId;

use crate::{
    clock::millis,
    config::Settings,
    workflow::{Extra, records::RunKey},
};

/// Namespace, queue, key.
type Name = (String, String, String);

/// What a key stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) run: RunId,
    pub(super) body_hash: u64,
    partition: u16,
    forget_at: u64,
}

/// The keys that are remembered, of all open partitions.
#[derive(Debug)]
pub(super) struct Keys {
    known: HashMap<Name, Known>,
    /// In the order in which they came: about that in which they are forgotten.
    order: VecDeque<(u64, Name)>,
    len_max: usize,
    window_ms: u64,
}

impl Keys {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            len_max: settings.idempotency_keys_max,
            window_ms: millis(settings.idempotency_window),
        }
    }

    /// What was submitted under the workflow's key, if it has one.
    pub(super) fn find(&self, extra: &Extra, now: u64) -> Option<Known> {
        if extra.idempotency_key.is_empty() {
            return None;
        }
        self.known.get(&name(extra)).filter(|known| known.forget_at > now).copied()
    }

    /// Remembers the workflow's key, if it has one: the record to keep.
    pub(super) fn add(
        &mut self,
        extra: &Extra,
        body_hash: u64,
        run: RunId,
        partition: u16,
        now: u64,
    ) -> Option<RunKey> {
        if extra.idempotency_key.is_empty() || body_hash == 0 {
            return None;
        }
        let key = RunKey {
            namespace: extra.namespace.clone(),
            queue: extra.queue.clone(),
            key: extra.idempotency_key.clone(),
            body_hash,
            run,
            forget_at: now.saturating_add(self.window_ms),
        };
        self.restore(key.clone(), partition, now);
        Some(key)
    }

    /// Remembers a key that is on record.
    pub(super) fn restore(&mut self, key: RunKey, partition: u16, now: u64) {
        self.forget(now);
        if key.forget_at <= now {
            return;
        }
        let RunKey { namespace, queue, key, body_hash, run, forget_at } = key;
        let name = (namespace, queue, key);
        self.order.push_back((forget_at, name.clone()));
        self.known.insert(name, Known { run, body_hash, partition, forget_at });
    }

    /// Forgets a partition.
    pub(super) fn close(&mut self, partition: u16) {
        self.known.retain(|_, known| known.partition != partition);
        let known = &self.known;
        self.order.retain(|(_, name)| known.contains_key(name));
    }

    fn forget(&mut self, now: u64) {
        while let Some((forget_at, _)) = self.order.front()
            && (*forget_at <= now || self.known.len() >= self.len_max)
            && let Some((forget_at, name)) = self.order.pop_front()
        {
            if self.known.get(&name).is_some_and(|known| known.forget_at <= forget_at) {
                self.known.remove(&name);
            }
        }
    }
}

fn name(extra: &Extra) -> Name {
    (extra.namespace.clone(), extra.queue.clone(), extra.idempotency_key.clone())
}
