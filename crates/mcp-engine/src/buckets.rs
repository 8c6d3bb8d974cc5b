//! Queues, and the buckets of waiting tasks in them.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{
    intern::Interner,
    slab::{Slab, Slot},
    types::{QueueKey, TaskId, WorkKind},
};

/// A task's place in the order of dispatch: higher priority first, then the order of submitting. A task that comes
/// back after a failure or a loss has the same place again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    priority: Reverse<i16>,
    // Two halves: aligned to 8 bytes, a place takes 24 and not 32.
    id: [u64; 2],
}

impl Place {
    /// The place of a task.
    pub(crate) const fn new(priority: i16, id: TaskId) -> Self {
        Self { priority: Reverse(priority), id: id.halves() }
    }
}

/// A queue that holds a task or is named by an idempotency key.
#[derive(Debug)]
pub(crate) struct Queue {
    key: QueueKey,
    /// Unfinished tasks.
    pub(crate) tasks: usize,
    /// Idempotency keys.
    pub(crate) keys: usize,
}

/// The queues. One that holds nothing is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    slots: BTreeMap<QueueKey, Slot>,
    entries: Slab<Queue>,
    with_tasks: usize,
}

impl Queues {
    /// The slot of a queue, if it is known.
    pub(crate) fn find(&self, key: &QueueKey) -> Option<Slot> {
        self.slots.get(key).copied()
    }

    fn ensure(&mut self, key: &QueueKey) -> Slot {
        self.find(key).unwrap_or_else(|| {
            let slot = self.entries.insert(Queue { key: key.clone(), tasks: 0, keys: 0 });
            self.slots.insert(key.clone(), slot);
            slot
        })
    }

    /// The queue in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Queue {
        self.entries.at(slot)
    }

    /// Counts one more idempotency key in a queue.
    pub(crate) fn add_key(&mut self, key: &QueueKey) -> Slot {
        let slot = self.ensure(key);
        self.entries.at_mut(slot).keys += 1;
        slot
    }

    /// Counts one less.
    pub(crate) fn remove_key(&mut self, slot: Slot) {
        self.entries.at_mut(slot).keys -= 1;
        self.forget_empty(slot);
    }

    fn add_task(&mut self, key: &QueueKey) -> Slot {
        let slot = self.ensure(key);
        let queue = self.entries.at_mut(slot);
        queue.tasks += 1;
        self.with_tasks += usize::from(queue.tasks == 1);
        slot
    }

    fn remove_task(&mut self, slot: Slot) {
        let queue = self.entries.at_mut(slot);
        queue.tasks -= 1;
        self.with_tasks -= usize::from(queue.tasks == 0);
        self.forget_empty(slot);
    }

    fn forget_empty(&mut self, slot: Slot) {
        let queue = self.entries.at(slot);
        if queue.tasks == 0 && queue.keys == 0 {
            let queue = self.entries.remove(slot);
            self.slots.remove(&queue.key);
        }
    }

    /// Queues that hold a task.
    pub(crate) const fn with_tasks(&self) -> usize {
        self.with_tasks
    }

    /// Every queue, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Queue)> {
        self.entries.iter()
    }
}

/// The tasks of one queue that need the same kind of worker.
#[derive(Debug)]
pub(crate) struct Bucket {
    /// Its queue.
    pub(crate) queue: Slot,
    kind: Slot,
    /// Unfinished tasks, waiting or not.
    pub(crate) tasks: usize,
    /// Those that wait for a worker, in their order.
    pub(crate) waiting: BTreeMap<Place, Slot>,
    /// Pools of workers that serve it.
    pub(crate) pools: Vec<Slot>,
}

impl Bucket {
    /// The place of the task to dispatch next.
    pub(crate) fn head(&self) -> Option<Place> {
        self.waiting.first_key_value().map(|(place, _)| *place)
    }
}

/// The buckets. One that no unfinished task belongs to is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    pub(crate) queues: Queues,
    kinds: Interner<WorkKind>,
    slots: BTreeMap<(Slot, Slot), Slot>,
    entries: Slab<Bucket>,
}

impl Buckets {
    /// Counts one more task in its bucket; true when the bucket is new, so that nobody knows yet who serves it.
    pub(crate) fn add_task(&mut self, queue: &QueueKey, kind: &WorkKind) -> (Slot, bool) {
        let queue = self.queues.add_task(queue);
        let kind = self.kinds.acquire(kind);
        if let Some(&slot) = self.slots.get(&(queue, kind)) {
            self.kinds.release(kind); // a bucket holds one reference, however many tasks it has
            self.entries.at_mut(slot).tasks += 1;
            return (slot, false);
        }
        let bucket = Bucket { queue, kind, tasks: 1, waiting: BTreeMap::new(), pools: Vec::new() };
        let slot = self.entries.insert(bucket);
        self.slots.insert((queue, kind), slot);
        (slot, true)
    }

    /// Counts one task less; the task must not wait in the bucket any more.
    pub(crate) fn remove_task(&mut self, slot: Slot) {
        let bucket = self.entries.at_mut(slot);
        bucket.tasks -= 1;
        let (queue, kind) = (bucket.queue, bucket.kind);
        if bucket.tasks == 0 {
            debug_assert!(bucket.waiting.is_empty(), "a bucket is forgotten while a task waits in it");
            self.entries.remove(slot);
            self.slots.remove(&(queue, kind));
            self.kinds.release(kind);
        }
        self.queues.remove_task(queue);
    }

    /// The bucket in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Bucket {
        self.entries.at(slot)
    }

    /// The bucket in a slot that is in use.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut Bucket {
        self.entries.at_mut(slot)
    }

    /// What the bucket's tasks are and where they wait.
    pub(crate) fn describe(&self, slot: Slot) -> (&QueueKey, &WorkKind) {
        let bucket = self.entries.at(slot);
        (&self.queues.at(bucket.queue).key, self.kinds.at(bucket.kind))
    }

    /// Every bucket, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Bucket)> {
        self.entries.iter()
    }

    /// Every bucket, by slot.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Bucket> {
        self.entries.iter_mut().map(|(_, bucket)| bucket)
    }

    /// Kinds of work that are known, and the references to them.
    pub(crate) fn kinds_len(&self) -> (usize, usize) {
        (self.kinds.len(), self.kinds.references())
    }
}
