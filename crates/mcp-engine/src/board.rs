//! Where waiting tasks and free workers meet.
//!
//! Workers that serve the same are one pool. A pool knows its free workers, and the heads of the buckets it serves in
//! the order of dispatch, so that either side finds its best match in logarithmic time, however many tasks wait. When
//! the head of a bucket changes, each pool that serves it is told; there are as many pools as there are different
//! [`WorkerSpec`]s, which is few even when workers are many. Only a new bucket looks at every pool, and only a new
//! pool at every bucket.
//!
//! Invariant: while a task waits in a bucket, no worker that serves the bucket has a free slot.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    buckets::{Buckets, Place},
    slab::{Slab, Slot},
    types::{QueueKey, WorkKind, WorkerSpec},
};

/// A worker with free slots. The order is that of choosing: most free slots first, then who waited longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Free {
    slots: Reverse<u32>,
    /// Sequence number of its latest assignment.
    turn: u64,
    worker: Slot,
}

impl Free {
    /// A worker with at least one free slot.
    pub(crate) const fn new(worker: Slot, slots: u32, turn: u64) -> Self {
        Self { slots: Reverse(slots), turn, worker }
    }
}

/// Workers that serve the same.
#[derive(Debug)]
pub(crate) struct Pool {
    spec: WorkerSpec,
    /// Workers in it, free or not.
    pub(crate) members: usize,
    /// Those with free slots.
    pub(crate) free: BTreeSet<Free>,
    /// The heads of the buckets it serves.
    pub(crate) ready: BTreeMap<Place, Slot>,
}

/// The buckets and the pools.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) buckets: Buckets,
    pools: Slab<Pool>,
    specs: BTreeMap<WorkerSpec, Slot>,
}

impl Board {
    /// Counts one more task in its bucket.
    pub(crate) fn add_task(&mut self, queue: &QueueKey, kind: &WorkKind) -> Slot {
        let (slot, is_new) = self.buckets.add_task(queue, kind);
        if is_new {
            let serving = self.pools.iter().filter(|(_, pool)| serves(&pool.spec, queue, kind));
            let serving: Vec<Slot> = serving.map(|(pool, _)| pool).collect();
            self.buckets.at_mut(slot).pools = serving;
        }
        slot
    }

    /// Lets a task wait in its bucket.
    pub(crate) fn push(&mut self, bucket: Slot, place: Place, task: Slot) {
        let entry = self.buckets.at_mut(bucket);
        let head = entry.head();
        entry.waiting.insert(place, task);
        if head.is_none_or(|head| place < head) {
            self.head_changed(bucket, head);
        }
    }

    /// Takes a task out of the bucket in which it waits.
    pub(crate) fn remove(&mut self, bucket: Slot, place: Place) {
        let entry = self.buckets.at_mut(bucket);
        let head = entry.head();
        let task = entry.waiting.remove(&place);
        debug_assert!(task.is_some(), "a task to take out of a bucket does not wait there");
        if head == Some(place) {
            self.head_changed(bucket, head);
        }
    }

    /// Takes out the task that a pool is to run next.
    pub(crate) fn pop(&mut self, pool: Slot) -> Option<Slot> {
        let (&place, &bucket) = self.pools.at(pool).ready.first_key_value()?;
        let (head, task) = self.buckets.at_mut(bucket).waiting.pop_first().expect("a ready bucket has a head");
        debug_assert_eq!(head, place, "a pool knows an outdated head");
        self.head_changed(bucket, Some(head));
        Some(task)
    }

    fn head_changed(&mut self, bucket: Slot, before: Option<Place>) {
        let entry = self.buckets.at(bucket);
        let now = entry.head();
        for &pool in &entry.pools {
            let ready = &mut self.pools.at_mut(pool).ready;
            if let Some(place) = before {
                ready.remove(&place);
            }
            if let Some(place) = now {
                ready.insert(place, bucket);
            }
        }
    }

    /// The worker to give a task of this bucket to, if one that serves it has a free slot.
    pub(crate) fn free_worker(&self, bucket: Slot) -> Option<Slot> {
        let pools = self.buckets.at(bucket).pools.iter();
        pools.filter_map(|&pool| self.pools.at(pool).free.first()).min().map(|free| free.worker)
    }

    /// Puts a worker into the pool of those that serve the same; it is not free yet.
    pub(crate) fn join(&mut self, spec: WorkerSpec) -> Slot {
        if let Some(&pool) = self.specs.get(&spec) {
            self.pools.at_mut(pool).members += 1;
            return pool;
        }
        let mut ready = BTreeMap::new();
        let mut serving = Vec::new();
        for (slot, bucket) in self.buckets.iter() {
            let (queue, kind) = self.buckets.describe(slot);
            if serves(&spec, queue, kind) {
                serving.push(slot);
                ready.extend(bucket.head().map(|head| (head, slot)));
            }
        }
        let pool = self.pools.insert(Pool { spec: spec.clone(), members: 1, free: BTreeSet::new(), ready });
        self.specs.insert(spec, pool);
        for bucket in serving {
            self.buckets.at_mut(bucket).pools.push(pool);
        }
        pool
    }

    /// Takes a worker, which is not free, out of its pool.
    pub(crate) fn leave(&mut self, pool: Slot) {
        let entry = self.pools.at_mut(pool);
        entry.members -= 1;
        if entry.members > 0 {
            return;
        }
        let entry = self.pools.remove(pool);
        debug_assert!(entry.free.is_empty(), "a pool is forgotten while a worker is free in it");
        self.specs.remove(&entry.spec);
        for bucket in self.buckets.iter_mut() {
            bucket.pools.retain(|&other| other != pool);
        }
    }

    /// Notes that a worker has free slots.
    pub(crate) fn set_free(&mut self, pool: Slot, free: Free) {
        self.pools.at_mut(pool).free.insert(free);
    }

    /// Notes that a worker has not this many free slots any more.
    pub(crate) fn unset_free(&mut self, pool: Slot, free: Free) {
        self.pools.at_mut(pool).free.remove(&free);
    }

    /// Every pool, by slot.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (Slot, &Pool)> {
        self.pools.iter()
    }

    /// True when the workers of a pool serve a bucket.
    pub(crate) fn is_served(&self, bucket: Slot, pool: &Pool) -> bool {
        let (queue, kind) = self.buckets.describe(bucket);
        serves(&pool.spec, queue, kind)
    }
}

fn serves(spec: &WorkerSpec, queue: &QueueKey, kind: &WorkKind) -> bool {
    (spec.namespaces.is_empty() || spec.namespaces.contains(&queue.namespace))
        && (spec.queues.is_empty() || spec.queues.contains(&queue.queue))
        && match kind {
            WorkKind::Process => spec.processes,
            WorkKind::Handler(name) => spec.handlers.contains(name),
        }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::serves;
    use crate::types::{QueueKey, WorkKind, WorkerSpec};

    #[test]
    fn a_worker_serves_what_its_spec_says() {
        let set = |names: &[&str]| -> BTreeSet<_> { names.iter().map(|name| (*name).into()).collect() };
        let key = |namespace: &str, queue: &str| QueueKey { namespace: namespace.into(), queue: queue.into() };
        let any = WorkerSpec { processes: true, handlers: set(&["h"]), ..WorkerSpec::default() };
        let handler = || WorkKind::Handler("h".into());
        let cases = [
            (any.clone(), key("a", "q"), WorkKind::Process, true),
            (any.clone(), key("a", "q"), handler(), true),
            (any.clone(), key("a", "q"), WorkKind::Handler("other".into()), false),
            (WorkerSpec { processes: false, ..any.clone() }, key("a", "q"), WorkKind::Process, false),
            (WorkerSpec { namespaces: set(&["a"]), ..any.clone() }, key("a", "q"), handler(), true),
            (WorkerSpec { namespaces: set(&["a"]), ..any.clone() }, key("b", "q"), handler(), false),
            (WorkerSpec { queues: set(&["q"]), ..any.clone() }, key("b", "q"), handler(), true),
            (WorkerSpec { queues: set(&["q"]), ..any.clone() }, key("b", "r"), handler(), false),
            (WorkerSpec { namespaces: set(&["a"]), queues: set(&["q"]), ..any }, key("a", "r"), handler(), false),
        ];
        for (spec, queue, kind, expected) in cases {
            assert_eq!(serves(&spec, &queue, &kind), expected, "{spec:?} {queue:?} {kind:?}");
        }
    }
}
