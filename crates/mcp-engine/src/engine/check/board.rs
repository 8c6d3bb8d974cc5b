//! The invariants of lanes, buckets, queues and pools.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, Tally};
use crate::{placement, slab::Slot};

impl Engine {
    pub(super) fn check_lanes(&self, tallies: &BTreeMap<Slot, Tally>) {
        let buckets = &self.board.buckets;
        let mut lanes = 0;
        for (slot, lane) in buckets.lanes.iter() {
            lanes += 1;
            let tally = tallies.get(&slot).expect("a lane has tasks");
            assert_eq!((lane.tasks, lane.waiting.len()), (tally.counts.sum(), tally.queued), "a lane counts its tasks");
            let bucket = buckets.at(lane.bucket);
            assert_eq!(buckets.find_lane(lane.bucket, lane.party), Some(slot), "a lane is found in its bucket");
            assert_eq!(bucket.queue, lane.queue, "a lane is of its bucket's queue");
            assert_eq!(bucket.ready().contains(&(lane.pass, slot)), lane.is_ready(), "who has tasks takes part");
            let party = lane.party.map(|party| self.board.parties.at(party));
            assert!(party.is_none_or(|party| party.lanes.contains(&slot)), "a key knows its lanes");
            assert_eq!(lane.shut, party.is_some_and(|party| party.limit.shut.is_some()), "a lane knows its gate");
        }
        assert_eq!(lanes, tallies.len(), "every task is in a lane");
        let mut of_buckets = 0;
        let mut references = [0, 0];
        for (slot, bucket) in buckets.iter() {
            of_buckets += bucket.lanes().count();
            assert!(bucket.ready().iter().all(|(_, lane)| bucket.lanes().any(|other| other == *lane)));
            assert_eq!(bucket.published, buckets.head(slot), "pools know the head of a bucket");
            assert_eq!(bucket.shut, self.board.queues.at(bucket.queue).is_shut(), "a bucket knows its queue's gate");
            references = [references[0] + 1, references[1] + usize::from(!bucket.is_plain())];
        }
        assert_eq!(of_buckets, lanes, "every lane is in a bucket");
        for ((known, referred), expected) in buckets.interned().into_iter().zip(references) {
            assert!(referred == expected && known <= expected, "what buckets share is kept as long as they are");
        }
    }

    pub(super) fn check_queues(&self, tallies: &BTreeMap<Slot, Tally>) {
        let mut keys: BTreeMap<Slot, usize> = BTreeMap::new();
        for queue in self.keys.check() {
            *keys.entry(queue).or_default() += 1;
        }
        assert!(self.keys.len() <= self.config.idempotency_keys_max, "the number of keys is bounded");
        let (mut queues, mut with_tasks, mut with_rules) = (0, 0, 0);
        for (slot, queue) in self.board.queues.iter() {
            queues += 1;
            with_tasks += usize::from(queue.counts.sum() > 0);
            with_rules += usize::from(queue.limits.is_some());
            assert_eq!(queue.keys, keys.get(&slot).copied().unwrap_or(0), "a queue counts its keys");
            assert_eq!(queue.epoch, self.epoch(queue.partition).unwrap_or(0), "a queue knows its partition's epoch");
            assert!(
                queue.counts.sum() > 0 || queue.keys > 0 || queue.limits.is_some(),
                "a queue is known for a reason"
            );
            let of_queue = |lane: &Slot| self.board.buckets.lanes.at(*lane).queue == slot;
            let lanes: Vec<Slot> = tallies.keys().copied().filter(of_queue).collect();
            assert_eq!(queue.lanes, lanes.len(), "a queue counts its lanes");
            let buckets: BTreeSet<Slot> = lanes.iter().map(|lane| self.board.buckets.lanes.at(*lane).bucket).collect();
            assert_eq!(queue.buckets, buckets, "a queue knows its buckets");
            let heads = lanes.iter().filter(|_| lanes.len() > 1);
            let heads = heads.filter_map(|lane| Some((self.board.buckets.lanes.at(*lane).head()?, *lane)));
            assert_eq!(queue.heads, heads.collect(), "a queue knows the heads of its lanes");
        }
        let counted = (self.board.queues.with_tasks(), self.board.queues.with_rules());
        assert_eq!(counted, (with_tasks, with_rules), "queues are counted");
        assert_eq!(self.board.queues.in_partitions(), queues, "every queue is in a partition");
    }

    pub(super) fn check_pools(&self) {
        let mut members: BTreeMap<Slot, BTreeSet<Slot>> = BTreeMap::new();
        for (slot, worker) in self.workers.iter() {
            for member in worker.member.iter() {
                members.entry(member.base).or_default().insert(slot);
                members.entry(member.shape).or_default().insert(slot);
            }
        }
        let mut pools = 0;
        for (slot, pool) in self.board.pools() {
            pools += 1;
            assert_eq!(members.get(&slot), Some(&pool.members), "a pool has members, and knows them");
            let mut ready = BTreeMap::new();
            let mut served = 0;
            for (at, bucket) in self.board.buckets.iter() {
                let serves =
                    bucket.is_plain() != pool.is_shape && placement::check(&self.board.ask(at), &pool.spec).is_ok();
                assert_eq!(serves, bucket.pools.contains(&slot), "a bucket knows who serves it");
                served += usize::from(serves);
                ready.extend(bucket.published.filter(|_| serves).map(|head| (head, at)));
            }
            assert_eq!((pool.served, &pool.ready), (served, &ready), "a pool knows the heads of its buckets");
        }
        assert_eq!(members.len(), pools, "every pool has members");
    }

    /// S-4: nothing is left that could be dispatched.
    pub(super) fn check_settled(&self) {
        for (slot, bucket) in self.board.buckets.iter().filter(|(_, bucket)| bucket.published.is_some()) {
            let worker = self.pick(slot);
            assert_eq!(worker, None, "S-4: a task waits though a worker has room for it: {bucket:?}");
        }
    }
}
