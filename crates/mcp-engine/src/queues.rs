//! The queues and what they hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use crate::{
    lanes::Place,
    limits::QueueLimits,
    slab::{Slab, Slot},
    task::Counts,
    types::{Partition, QueueKey, State},
};

/// A queue that holds a task, is named by an idempotency key, or has rules.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) key: QueueKey,
    pub(crate) partition: Partition,
    /// Epoch of the partition; 0 while it is not open.
    pub(crate) epoch: u64,
    /// Unfinished tasks, by state.
    pub(crate) counts: Counts,
    /// Those in `Pending` that are kept back until the grace after a change of owners is over.
    pub(crate) held: usize,
    /// Idempotency keys.
    pub(crate) keys: usize,
    pub(crate) buckets: BTreeSet<Slot>,
    /// Lanes in the buckets.
    pub(crate) lanes: usize,
    /// The heads of the lanes, while there is more than one lane: for the age of what waits.
    pub(crate) heads: BTreeSet<(Place, Slot)>,
    /// `None` when no rule is set.
    pub(crate) limits: Option<Box<QueueLimits>>,
}

impl Queue {
    /// Attempts that count under the queue's limit.
    pub(crate) const fn occupied(&self) -> usize {
        self.counts.running + self.held
    }

    /// Tasks that wait in lanes.
    pub(crate) const fn queued(&self) -> usize {
        self.counts.pending.saturating_sub(self.held)
    }

    /// True while nothing may be handed out.
    pub(crate) fn is_shut(&self) -> bool {
        self.limits.as_ref().is_some_and(|limits| limits.limit.shut.is_some())
    }
}

/// The queues. One that holds nothing and has no rules is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    slots: BTreeMap<QueueKey, Slot>,
    entries: Slab<Queue>,
    of_partition: BTreeMap<Partition, BTreeSet<Slot>>,
    with_tasks: usize,
    with_rules: usize,
}

impl Queues {
    /// The slot of a queue, if it is known.
    pub(crate) fn find(&self, key: &QueueKey) -> Option<Slot> {
        self.slots.get(key).copied()
    }

    /// The slot of a queue, which may be new.
    pub(crate) fn ensure(&mut self, key: &QueueKey, partition: Partition, epoch: u64) -> Slot {
        if let Some(slot) = self.find(key) {
            debug_assert_eq!(self.at(slot).partition, partition, "a queue changes its partition");
            return slot;
        }
        let slot = self.entries.insert(Queue {
            key: key.clone(),
            partition,
            epoch,
            counts: Counts::default(),
            held: 0,
            keys: 0,
            buckets: BTreeSet::new(),
            lanes: 0,
            heads: BTreeSet::new(),
            limits: None,
        });
        self.slots.insert(key.clone(), slot);
        self.of_partition.entry(partition).or_default().insert(slot);
        slot
    }

    /// The queue in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Queue {
        self.entries.at(slot)
    }

    /// The queue in a slot that is in use.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut Queue {
        self.entries.at_mut(slot)
    }

    /// The queue in a slot, if there is one.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Queue> {
        self.entries.get(slot)
    }

    /// The queues of a partition.
    pub(crate) fn of_partition(&self, partition: Partition) -> Vec<Slot> {
        self.of_partition.get(&partition).into_iter().flatten().copied().collect()
    }

    /// Counts a task that comes (from nowhere), moves, or goes (to nowhere).
    pub(crate) fn count(&mut self, slot: Slot, from: Option<State>, to: Option<State>) {
        let queue = self.entries.at_mut(slot);
        if let Some(count) = from.and_then(|state| queue.counts.of(state)) {
            *count -= 1;
        }
        if let Some(count) = to.and_then(|state| queue.counts.of(state)) {
            *count += 1;
        }
        if from.is_none() && queue.counts.sum() == 1 {
            self.with_tasks += 1;
        } else if to.is_none_or(State::is_final) && queue.counts.sum() == 0 {
            self.with_tasks -= 1;
        }
    }

    /// Sets the rules of a queue, or takes them away; gives those before.
    pub(crate) fn set_limits(&mut self, slot: Slot, limits: Option<Box<QueueLimits>>) -> Option<Box<QueueLimits>> {
        self.with_rules += usize::from(limits.is_some());
        let before = std::mem::replace(&mut self.entries.at_mut(slot).limits, limits);
        self.with_rules -= usize::from(before.is_some());
        before
    }

    /// Counts one more idempotency key in a queue.
    pub(crate) fn add_key(&mut self, slot: Slot) {
        self.entries.at_mut(slot).keys += 1;
    }

    /// Counts one less.
    pub(crate) fn remove_key(&mut self, slot: Slot) {
        self.entries.at_mut(slot).keys -= 1;
        self.forget_unused(slot);
    }

    /// Forgets a queue that there is no reason to know.
    pub(crate) fn forget_unused(&mut self, slot: Slot) {
        let queue = self.entries.at(slot);
        if queue.counts.sum() > 0 || queue.keys > 0 || queue.limits.is_some() || !queue.buckets.is_empty() {
            return;
        }
        let queue = self.entries.remove(slot);
        self.slots.remove(&queue.key);
        if let Some(others) = self.of_partition.get_mut(&queue.partition) {
            others.remove(&slot);
            if others.is_empty() {
                self.of_partition.remove(&queue.partition);
            }
        }
    }

    /// Queues that hold a task.
    pub(crate) const fn with_tasks(&self) -> usize {
        self.with_tasks
    }

    /// Queues that have rules.
    pub(crate) const fn with_rules(&self) -> usize {
        self.with_rules
    }

    /// Every queue, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Queue)> {
        self.entries.iter()
    }

    /// The queues after one, by name; all of them without one.
    pub(crate) fn after(&self, after: Option<&QueueKey>) -> impl Iterator<Item = (Slot, &Queue)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.slots.range::<QueueKey, _>((from, Bound::Unbounded)).map(|(_, slot)| (*slot, self.entries.at(*slot)))
    }

    /// Queues of all partitions, counted one partition after the other. For checks.
    pub(crate) fn in_partitions(&self) -> usize {
        self.of_partition.values().map(BTreeSet::len).sum()
    }
}
