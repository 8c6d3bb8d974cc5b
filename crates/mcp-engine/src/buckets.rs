//! Buckets: the tasks of a queue that need the same kind of worker, in lanes by key.
//!
//! Lanes take turns (stride scheduling): while tasks of several keys wait, each key gets its share by its weight,
//! whatever their number and priority; priority orders the tasks of one key. A lane that had nothing to send, or that
//! its limit kept back, starts just behind the first of the others: it saved nothing up, and coming and going gains
//! nothing. While one lane alone has tasks, nobody pays, so that a bucket with one lane costs as much as a list.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    intern::Interner,
    lanes::{Lane, Place},
    slab::{Slab, Slot},
    types::{Millis, Placement, WorkKind},
};

/// In place of a key or a placement: there is none.
const NONE: Slot = Slot::MAX;

/// The tasks of one queue that need the same kind of worker.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Its queue.
    pub(crate) queue: Slot,
    kind: Slot,
    placement: Slot,
    /// By key.
    lanes: BTreeMap<Slot, Slot>,
    /// Lanes that take part in the turns.
    ready: BTreeSet<(u64, Slot)>,
    /// The lowest turn there ever was among them.
    clock: u64,
    /// Pools of workers that serve it.
    pub(crate) pools: Vec<Slot>,
    /// Since when no pool serves it, or it was made.
    pub(crate) pools_since: Millis,
    /// Its queue is shut.
    pub(crate) shut: bool,
    /// The head that its pools know.
    pub(crate) published: Option<Place>,
}

impl Bucket {
    /// True when it asks for nothing but a worker that serves it.
    pub(crate) const fn is_plain(&self) -> bool {
        self.placement == NONE
    }

    /// Its lanes.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = Slot> {
        self.lanes.values().copied()
    }

    /// Lanes whose turn comes before that of `lane`.
    pub(crate) fn lanes_before(&self, pass: u64, lane: Slot) -> impl Iterator<Item = Slot> {
        self.ready.range(..(pass, lane)).map(|(_, lane)| *lane)
    }

    /// The lane whose turn it is.
    pub(crate) fn next_lane(&self) -> Option<Slot> {
        self.ready.first().map(|(_, lane)| *lane)
    }

    /// Lanes that take part in the turns. For checks.
    pub(crate) fn ready(&self) -> &BTreeSet<(u64, Slot)> {
        &self.ready
    }
}

/// What a bucket is known by.
type Name = (Slot, Slot, Slot);

/// The buckets and their lanes. One that no unfinished task belongs to is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    kinds: Interner<WorkKind>,
    placements: Interner<Placement>,
    slots: BTreeMap<Name, Slot>,
    entries: Slab<Bucket>,
    pub(crate) lanes: Slab<Lane>,
}

impl Buckets {
    /// The bucket of a queue's tasks of a kind; true when it is new, so that nobody knows yet who serves it.
    pub(crate) fn ensure(
        &mut self,
        queue: Slot,
        kind: &WorkKind,
        placement: Option<&Placement>,
        shut: bool,
        now: Millis,
    ) -> (Slot, bool) {
        let kind = self.kinds.acquire(kind);
        let placement = placement.map_or(NONE, |placement| self.placements.acquire(placement));
        let name = (queue, kind, placement);
        if let Some(&slot) = self.slots.get(&name) {
            self.release(kind, placement); // a bucket holds one reference, however many tasks it has
            return (slot, false);
        }
        let slot = self.entries.insert(Bucket {
            queue,
            kind,
            placement,
            lanes: BTreeMap::new(),
            ready: BTreeSet::new(),
            clock: 0,
            pools: Vec::new(),
            pools_since: now,
            shut,
            published: None,
        });
        self.slots.insert(name, slot);
        (slot, true)
    }

    fn release(&mut self, kind: Slot, placement: Slot) {
        self.kinds.release(kind);
        if placement != NONE {
            self.placements.release(placement);
        }
    }

    /// The lane of a key in a bucket, if there is one.
    pub(crate) fn find_lane(&self, bucket: Slot, party: Option<Slot>) -> Option<Slot> {
        self.at(bucket).lanes.get(&party.unwrap_or(NONE)).copied()
    }

    /// Adds a lane that is not there yet.
    pub(crate) fn add_lane(&mut self, lane: Lane) -> Slot {
        let (bucket, party) = (lane.bucket, lane.party.unwrap_or(NONE));
        let slot = self.lanes.insert(lane);
        self.at_mut(bucket).lanes.insert(party, slot);
        slot
    }

    /// Takes out a lane without tasks; true when its bucket has no other.
    pub(crate) fn remove_lane(&mut self, slot: Slot) -> bool {
        let lane = self.lanes.remove(slot);
        let bucket = self.at_mut(lane.bucket);
        bucket.lanes.remove(&lane.party.unwrap_or(NONE));
        bucket.ready.remove(&(lane.pass, slot));
        bucket.lanes.is_empty()
    }

    /// Forgets a bucket without lanes.
    pub(crate) fn remove(&mut self, slot: Slot) -> Bucket {
        let bucket = self.entries.remove(slot);
        debug_assert!(bucket.lanes.is_empty(), "a bucket is forgotten while it has lanes");
        self.slots.remove(&(bucket.queue, bucket.kind, bucket.placement));
        self.release(bucket.kind, bucket.placement);
        bucket
    }

    /// Lets a lane take part in the turns, or not, as it is.
    pub(crate) fn refresh_lane(&mut self, slot: Slot) {
        let lane = self.lanes.at_mut(slot);
        let bucket = self.entries.at_mut(lane.bucket);
        let was_ready = bucket.ready.contains(&(lane.pass, slot));
        match (was_ready, lane.is_ready()) {
            (false, true) => {
                if let Some(&(first, _)) = bucket.ready.first() {
                    bucket.clock = bucket.clock.max(first);
                }
                // Behind whoever waits already: who comes and goes must not be first each time.
                lane.pass = lane.pass.max(bucket.clock + 1);
                bucket.ready.insert((lane.pass, slot));
            }
            (true, false) => _ = bucket.ready.remove(&(lane.pass, slot)),
            _ => {}
        }
    }

    /// Takes out the task of a bucket to dispatch next; the lane whose turn it is pays for it. Gives the lane, and the
    /// head that it had.
    pub(crate) fn pop(&mut self, slot: Slot) -> Option<(Slot, Place, Slot)> {
        let bucket = self.entries.at_mut(slot);
        let &(pass, at) = bucket.ready.first()?;
        let lane = self.lanes.at_mut(at);
        let (place, task) = lane.waiting.pop_first().expect("a lane that takes turns has a head");
        if bucket.ready.len() > 1 {
            bucket.ready.remove(&(pass, at));
            bucket.clock = pass;
            lane.pass = pass + lane.stride;
            if !lane.waiting.is_empty() {
                bucket.ready.insert((lane.pass, at));
            }
        } else if lane.waiting.is_empty() {
            bucket.ready.clear();
        }
        Some((at, place, task))
    }

    /// The head of the lane whose turn it is, unless the queue is shut.
    pub(crate) fn head(&self, slot: Slot) -> Option<Place> {
        let bucket = self.entries.at(slot);
        let lane = if bucket.shut { None } else { bucket.next_lane() }?;
        self.lanes.at(lane).head()
    }

    /// The bucket in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Bucket {
        self.entries.at(slot)
    }

    /// The bucket in a slot that is in use.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut Bucket {
        self.entries.at_mut(slot)
    }

    /// What the bucket's tasks are.
    pub(crate) fn kind(&self, slot: Slot) -> &WorkKind {
        self.kinds.at(self.entries.at(slot).kind)
    }

    /// What the bucket's tasks ask for.
    pub(crate) fn placement(&self, slot: Slot) -> Option<&Placement> {
        let bucket = self.entries.at(slot);
        (!bucket.is_plain()).then(|| self.placements.at(bucket.placement))
    }

    /// What the bucket's tasks ask for, if there is such a bucket.
    pub(crate) fn placement_of(&self, slot: Slot) -> Option<&Placement> {
        self.entries.get(slot).and_then(|_| self.placement(slot))
    }

    /// The task of a bucket to dispatch next, if any may be.
    pub(crate) fn next_task(&self, slot: Slot) -> Option<Slot> {
        let bucket = self.entries.at(slot);
        let lane = if bucket.shut { None } else { bucket.next_lane() }?;
        self.lanes.at(lane).waiting.first().map(|(_, task)| task)
    }

    /// Every bucket, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Bucket)> {
        self.entries.iter()
    }

    /// Notes that a pool is gone.
    pub(crate) fn forget_pool(&mut self, pool: Slot, now: Millis) {
        for (_, bucket) in self.entries.iter_mut() {
            let before = bucket.pools.len();
            bucket.pools.retain(|&other| other != pool);
            if before > 0 && bucket.pools.is_empty() {
                bucket.pools_since = now;
            }
        }
    }

    /// Kinds of work and placements that are known, and the references to them.
    pub(crate) fn interned(&self) -> [(usize, usize); 2] {
        [(self.kinds.len(), self.kinds.references()), (self.placements.len(), self.placements.references())]
    }
}
