//! Pools: workers that are alike, and what waits for them.
//!
//! Each worker with a session is in two pools. Its **base** is that of all workers that serve the same and have the
//! same taints: there wait the tasks that ask for nothing else, so that it does not matter to them how many different
//! labels and capacities there are. Its **shape** is that of the workers that are alike in everything: there wait the
//! tasks with a placement of their own. Only a new bucket looks at every pool, and only a new pool at every bucket.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    lanes::Place,
    slab::{Slab, Slot},
    types::{Resources, WorkerSpec},
};

/// A worker with free slots. The order is that of choosing: most free first, then who waited longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Free {
    room: Reverse<u64>,
    /// Sequence number of its latest assignment.
    turn: u64,
    pub(crate) worker: Slot,
}

impl Free {
    /// A worker with at least one free slot. Of `room` only the order counts.
    pub(crate) const fn new(worker: Slot, room: u64, turn: u64) -> Self {
        Self { room: Reverse(room), turn, worker }
    }
}

/// The pools that a worker is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Membership {
    /// With all that serve the same.
    pub(crate) base: Slot,
    /// With all that are alike.
    pub(crate) shape: Slot,
}

/// Workers that are alike.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) spec: WorkerSpec,
    /// It is a shape, not a base.
    pub(crate) is_shape: bool,
    /// Workers in it, free or not.
    pub(crate) members: BTreeSet<Slot>,
    /// Those with free slots. Of a shape this is kept only while it serves a bucket.
    pub(crate) free: BTreeSet<Free>,
    /// The heads of the buckets it serves.
    pub(crate) ready: BTreeMap<Place, Slot>,
    /// Buckets that it serves.
    pub(crate) served: usize,
}

/// The pools. One without members is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    entries: Slab<Pool>,
    specs: BTreeMap<(bool, WorkerSpec), Slot>,
}

impl Pools {
    /// Puts a worker into a pool; true when the pool is new.
    pub(crate) fn join(&mut self, spec: WorkerSpec, is_shape: bool, worker: Slot) -> (Slot, bool) {
        let name = (is_shape, spec);
        if let Some(&slot) = self.specs.get(&name) {
            self.entries.at_mut(slot).members.insert(worker);
            return (slot, false);
        }
        let slot = self.entries.insert(Pool {
            spec: name.1.clone(),
            is_shape,
            members: [worker].into(),
            free: BTreeSet::new(),
            ready: BTreeMap::new(),
            served: 0,
        });
        self.specs.insert(name, slot);
        (slot, true)
    }

    /// Takes a worker, which is not free, out of a pool; true when the pool is forgotten.
    pub(crate) fn leave(&mut self, slot: Slot, worker: Slot) -> bool {
        let pool = self.entries.at_mut(slot);
        pool.members.remove(&worker);
        if !pool.members.is_empty() {
            return false;
        }
        let pool = self.entries.remove(slot);
        debug_assert!(pool.free.is_empty(), "a pool is forgotten while a worker is free in it");
        self.specs.remove(&(pool.is_shape, pool.spec));
        true
    }

    /// The pool in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Pool {
        self.entries.at(slot)
    }

    /// The pool in a slot that is in use.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut Pool {
        self.entries.at_mut(slot)
    }

    /// Every pool, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Pool)> {
        self.entries.iter()
    }
}

/// What a spec comes to for tasks that ask for nothing but to be served.
pub(crate) fn base_of(spec: &WorkerSpec) -> WorkerSpec {
    WorkerSpec { labels: BTreeMap::new(), capacity: Resources::default(), ..spec.clone() }
}
