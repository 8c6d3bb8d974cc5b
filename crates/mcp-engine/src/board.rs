//! Where waiting tasks and free workers meet.
//!
//! A pool knows its free workers, and the heads of the buckets it serves in the order of dispatch, so that either side
//! finds its best match in logarithmic time, however many tasks wait. A bucket publishes its head to its pools only
//! while it may be dispatched: its queue is not shut, and the key of its head is not. Opening and shutting a queue
//! takes time for each bucket of it, of which there are as many as there are kinds of work and placements in it.
//!
//! Invariant: no worker that serves a published head has a free slot and room for it.

use std::sync::Arc;

use crate::{
    buckets::Buckets,
    lanes::{Lane, Place, stride},
    parties::Parties,
    placement::{self, Ask},
    pools::{Free, Membership, Pool, Pools, base_of},
    queues::Queues,
    slab::Slot,
    types::{Millis, Placement, WorkKind, WorkerSpec},
};

/// The queues, what waits in them, and the pools of workers.
#[derive(Debug, Default)]
pub(crate) struct Board {
    pub(crate) queues: Queues,
    pub(crate) parties: Parties,
    pub(crate) buckets: Buckets,
    pools: Pools,
}

impl Board {
    /// Counts one more task in its lane. Gives the shapes that serve a bucket from now on and did not before: their
    /// free workers are to be listed.
    pub(crate) fn add_task(
        &mut self,
        queue: Slot,
        kind: &WorkKind,
        asked: Option<&Placement>,
        key: Option<&Arc<str>>,
        now: Millis,
    ) -> (Slot, Vec<Slot>) {
        let entry = self.queues.at(queue);
        let party = key.map(|key| self.parties.add_task(queue, key, entry.limits.as_deref()));
        let asked = asked.filter(|placement| **placement != Placement::default());
        let (bucket, is_new) = self.buckets.ensure(queue, kind, asked, entry.is_shut(), now);
        let mut woken = Vec::new();
        if is_new {
            self.queues.at_mut(queue).buckets.insert(bucket);
            woken = self.find_pools(bucket);
        }
        let lane = match self.buckets.find_lane(bucket, party) {
            Some(lane) => lane,
            None => self.add_lane(bucket, queue, party),
        };
        self.buckets.lanes.at_mut(lane).tasks += 1;
        (lane, woken)
    }

    /// Looks for the pools that serve a new bucket; gives the shapes that served none before.
    fn find_pools(&mut self, bucket: Slot) -> Vec<Slot> {
        let is_plain = self.buckets.at(bucket).is_plain();
        let ask = self.ask(bucket);
        let alike = self.pools.iter().filter(|(_, pool)| pool.is_shape != is_plain);
        let serving = alike.filter(|(_, pool)| placement::check(&ask, &pool.spec).is_ok());
        let serving: Vec<Slot> = serving.map(|(pool, _)| pool).collect();
        let mut woken = Vec::new();
        for &pool in &serving {
            let entry = self.pools.at_mut(pool);
            entry.served += 1;
            if entry.is_shape && entry.served == 1 {
                woken.push(pool);
            }
        }
        self.buckets.at_mut(bucket).pools = serving;
        woken
    }

    fn add_lane(&mut self, bucket: Slot, queue: Slot, party: Option<Slot>) -> Slot {
        let request = self.buckets.placement(bucket).map(|placement| placement.request).unwrap_or_default();
        let mut lane = Lane::new(bucket, queue, party, self.stride_of(queue, party), request);
        lane.shut = party.is_some_and(|party| self.parties.at(party).limit.shut.is_some());
        let lane = self.buckets.add_lane(lane);
        if let Some(party) = party {
            self.parties.at_mut(party).lanes.push(lane);
        }
        let entry = self.queues.at_mut(queue);
        entry.lanes += 1;
        if entry.lanes == 2 {
            let lanes = entry.buckets.iter().flat_map(|bucket| self.buckets.at(*bucket).lanes());
            let heads = lanes.filter_map(|lane| Some((self.buckets.lanes.at(lane).head()?, lane)));
            let heads = heads.collect();
            self.queues.at_mut(queue).heads = heads;
        }
        lane
    }

    /// What a lane of a key, or of the tasks without one, pays for its turns.
    fn stride_of(&self, queue: Slot, party: Option<Slot>) -> u64 {
        let Some(limits) = &self.queues.at(queue).limits else { return stride(1) };
        let name = party.map_or("", |party| &self.parties.at(party).name);
        stride(limits.rules.weights.get(name).copied().unwrap_or(1))
    }

    /// Reads the weights of a queue's lanes anew.
    pub(crate) fn reweigh(&mut self, queue: Slot) {
        let buckets = self.queues.at(queue).buckets.iter();
        let lanes: Vec<Slot> = buckets.flat_map(|bucket| self.buckets.at(*bucket).lanes()).collect();
        for lane in lanes {
            self.buckets.lanes.at_mut(lane).stride = self.stride_of(queue, self.buckets.lanes.at(lane).party);
        }
    }

    /// Counts one task less, which must not wait any more; its queue has counted it already.
    pub(crate) fn remove_task(&mut self, slot: Slot, now: Millis) {
        let lane = self.buckets.lanes.at_mut(slot);
        lane.tasks -= 1;
        let (bucket, queue, party, is_last) = (lane.bucket, lane.queue, lane.party, lane.tasks == 0);
        if is_last {
            debug_assert!(lane.waiting.is_empty(), "a lane is forgotten while a task waits in it");
            if self.buckets.remove_lane(slot) {
                self.remove_bucket(bucket);
            }
            if let Some(party) = party {
                self.parties.at_mut(party).lanes.retain(|lane| *lane != slot);
            }
            let entry = self.queues.at_mut(queue);
            entry.lanes -= 1;
            if entry.lanes == 1 {
                entry.heads.clear();
            }
        }
        if let Some(party) = party
            && let Some(crowded) = self.parties.remove_task(party, now)
            && let Some(limits) = &mut self.queues.at_mut(crowded).limits
        {
            limits.keys_since = now;
        }
        if is_last {
            self.queues.forget_unused(queue);
        }
    }

    fn remove_bucket(&mut self, slot: Slot) {
        self.publish(slot);
        let bucket = self.buckets.remove(slot);
        for pool in bucket.pools {
            self.pools.at_mut(pool).served -= 1;
        }
        self.queues.at_mut(bucket.queue).buckets.remove(&slot);
    }

    /// Lets a task wait in its lane.
    pub(crate) fn push(&mut self, lane: Slot, place: Place, task: Slot) {
        let entry = self.buckets.lanes.at_mut(lane);
        let head = entry.head();
        entry.waiting.insert(place, task);
        if head.is_none_or(|head| place < head) {
            let bucket = entry.bucket;
            self.head_moved(lane, head);
            self.buckets.refresh_lane(lane);
            self.publish(bucket);
        }
    }

    /// Takes a task out of the lane in which it waits.
    pub(crate) fn remove(&mut self, lane: Slot, place: Place) {
        let entry = self.buckets.lanes.at_mut(lane);
        let head = entry.head();
        let task = entry.waiting.remove(place);
        debug_assert!(task.is_some(), "a task to take out of a lane does not wait there");
        if head == Some(place) {
            let bucket = entry.bucket;
            self.head_moved(lane, head);
            self.buckets.refresh_lane(lane);
            self.publish(bucket);
        }
    }

    /// Takes out the task of a bucket to dispatch next.
    pub(crate) fn pop(&mut self, bucket: Slot) -> Slot {
        let (lane, place, task) = self.buckets.pop(bucket).expect("a published bucket has a head");
        self.head_moved(lane, Some(place));
        self.publish(bucket);
        task
    }

    fn head_moved(&mut self, lane: Slot, before: Option<Place>) {
        let entry = self.buckets.lanes.at(lane);
        let queue = self.queues.at_mut(entry.queue);
        if queue.lanes > 1 {
            if let Some(place) = before {
                queue.heads.remove(&(place, lane));
            }
            queue.heads.extend(entry.head().map(|place| (place, lane)));
        }
    }

    /// Tells a bucket's pools which task of it is to be dispatched next.
    fn publish(&mut self, bucket: Slot) {
        let now = self.buckets.head(bucket);
        let entry = self.buckets.at_mut(bucket);
        if entry.published == now {
            return;
        }
        let before = std::mem::replace(&mut entry.published, now);
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

    /// Shuts a queue, or opens it.
    pub(crate) fn set_queue_shut(&mut self, queue: Slot, shut: bool, now: Millis) {
        let entry = self.queues.at_mut(queue);
        if let Some(limits) = &mut entry.limits {
            limits.limit.shut = shut.then_some(now);
        }
        let buckets: Vec<Slot> = entry.buckets.iter().copied().collect();
        for bucket in buckets {
            self.buckets.at_mut(bucket).shut = shut;
            self.publish(bucket);
        }
    }

    /// Shuts a key, or opens it.
    pub(crate) fn set_party_shut(&mut self, party: Slot, shut: bool, now: Millis) {
        self.parties.at_mut(party).limit.shut = shut.then_some(now);
        for at in 0..self.parties.at(party).lanes.len() {
            let slot = self.parties.at(party).lanes[at];
            let lane = self.buckets.lanes.at_mut(slot);
            lane.shut = shut;
            let bucket = lane.bucket;
            self.buckets.refresh_lane(slot);
            self.publish(bucket);
        }
    }

    /// The worker that waited longest for a task of this bucket, among those with most room.
    pub(crate) fn free_worker(&self, bucket: Slot) -> Option<Slot> {
        let pools = self.buckets.at(bucket).pools.iter();
        pools.filter_map(|&pool| self.pools.at(pool).free.first()).min().map(|free| free.worker)
    }

    /// Puts a worker into its pools; it is not listed as free yet.
    pub(crate) fn join(&mut self, spec: WorkerSpec, worker: Slot) -> Membership {
        let (base, is_new) = self.pools.join(base_of(&spec), false, worker);
        if is_new {
            self.find_buckets(base);
        }
        let (shape, is_new) = self.pools.join(spec, true, worker);
        if is_new {
            self.find_buckets(shape);
        }
        Membership { base, shape }
    }

    /// Looks for the buckets that a new pool serves.
    fn find_buckets(&mut self, slot: Slot) {
        let pool = self.pools.at(slot);
        let alike = self.buckets.iter().filter(|(_, bucket)| bucket.is_plain() != pool.is_shape);
        let served = alike.filter(|(bucket, _)| placement::check(&self.ask(*bucket), &pool.spec).is_ok());
        let served: Vec<Slot> = served.map(|(bucket, _)| bucket).collect();
        for bucket in served {
            let entry = self.buckets.at_mut(bucket);
            entry.pools.push(slot);
            let pool = self.pools.at_mut(slot);
            pool.ready.extend(entry.published.map(|head| (head, bucket)));
            pool.served += 1;
        }
    }

    /// Takes a worker, which is not listed as free, out of its pools.
    pub(crate) fn leave(&mut self, member: Membership, worker: Slot, now: Millis) {
        for pool in [member.base, member.shape] {
            if self.pools.leave(pool, worker) {
                self.buckets.forget_pool(pool, now);
            }
        }
    }

    /// Lists a worker as free in a pool, in place of how it was listed before.
    pub(crate) fn list(&mut self, pool: Slot, before: Option<Free>, after: Option<Free>) {
        if before == after {
            return;
        }
        let free = &mut self.pools.at_mut(pool).free;
        if let Some(before) = before {
            free.remove(&before);
        }
        free.extend(after);
    }

    /// The pool in a slot that is in use.
    pub(crate) fn pool(&self, slot: Slot) -> &Pool {
        self.pools.at(slot)
    }

    /// Every pool, by slot.
    pub(crate) fn pools(&self) -> impl Iterator<Item = (Slot, &Pool)> {
        self.pools.iter()
    }

    /// What the tasks of a bucket ask for.
    pub(crate) fn ask(&self, bucket: Slot) -> Ask<'_> {
        let queue = &self.queues.at(self.buckets.at(bucket).queue).key;
        Ask { queue, kind: self.buckets.kind(bucket), placement: self.buckets.placement(bucket) }
    }
}
