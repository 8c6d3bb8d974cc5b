//! The workers and what they run.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    board::{Board, Free},
    slab::{Slab, Slot},
    types::{Millis, TaskId, WorkerId},
};

/// A worker that has a session, or none but attempts and a lease on them.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    /// The pool it is in while it has a session.
    pub(crate) pool: Option<Slot>,
    /// Free slots; 0 without a session.
    pub(crate) slots: u32,
    /// Sequence number of its latest assignment.
    turn: u64,
    /// What it runs.
    pub(crate) attempts: BTreeSet<(TaskId, Slot)>,
    /// When its lease ends; set without a session.
    pub(crate) lease: Option<Millis>,
}

/// The workers, found by id or by slot.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    entries: Slab<Worker>,
    slots: BTreeMap<WorkerId, Slot>,
    leases: BTreeSet<(Millis, Slot)>,
}

impl Workers {
    /// The slot of a worker.
    pub(crate) fn find(&self, id: WorkerId) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    /// The slot of a worker, who may be new: then it has no session, and no lease yet.
    pub(crate) fn ensure(&mut self, id: WorkerId) -> Slot {
        self.find(id).unwrap_or_else(|| {
            let attempts = BTreeSet::new();
            let slot = self.entries.insert(Worker { id, pool: None, slots: 0, turn: 0, attempts, lease: None });
            self.slots.insert(id, slot);
            slot
        })
    }

    /// The worker in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Worker {
        self.entries.at(slot)
    }

    /// The worker in a slot that is in use.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut Worker {
        self.entries.at_mut(slot)
    }

    /// The worker in a slot, if there is one.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Worker> {
        self.entries.get(slot)
    }

    /// Workers with a session or a lease.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every worker, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Worker)> {
        self.entries.iter()
    }

    /// Forgets a worker without a session that runs nothing.
    pub(crate) fn forget_idle(&mut self, slot: Slot) {
        let worker = self.entries.at(slot);
        if worker.pool.is_none() && worker.attempts.is_empty() {
            self.set_lease(slot, None);
            let worker = self.entries.remove(slot);
            self.slots.remove(&worker.id);
        }
    }

    /// Starts a lease, or ends it.
    pub(crate) fn set_lease(&mut self, slot: Slot, ends: Option<Millis>) {
        let lease = &mut self.entries.at_mut(slot).lease;
        if let Some(before) = *lease {
            self.leases.remove(&(before, slot));
        }
        *lease = ends;
        self.leases.extend(ends.map(|ends| (ends, slot)));
    }

    /// The lease that ends first.
    pub(crate) fn next_lease(&self) -> Option<(Millis, Slot)> {
        self.leases.first().copied()
    }

    /// Leases that run.
    pub(crate) fn leases_len(&self) -> usize {
        self.leases.len()
    }

    /// Ends a worker's session, if it has one: it leaves its pool and has no free slots.
    pub(crate) fn end_session(&mut self, slot: Slot, board: &mut Board) {
        self.set_slots(slot, 0, board);
        if let Some(pool) = self.entries.at_mut(slot).pool.take() {
            board.leave(pool);
        }
    }

    /// Sets how many slots of a worker are free; one without a session has none.
    pub(crate) fn set_slots(&mut self, slot: Slot, slots: u32, board: &mut Board) {
        let worker = self.entries.at_mut(slot);
        let Some(pool) = worker.pool else { return };
        if worker.slots > 0 {
            board.unset_free(pool, Free::new(slot, worker.slots, worker.turn));
        }
        worker.slots = slots;
        if slots > 0 {
            board.set_free(pool, Free::new(slot, slots, worker.turn));
        }
    }

    /// Takes one free slot for an attempt.
    pub(crate) fn take_slot(&mut self, slot: Slot, turn: u64, board: &mut Board) {
        let worker = self.entries.at_mut(slot);
        let slots = worker.slots.checked_sub(1).expect("only a worker with a free slot is given a task");
        // Out first: the turn is part of its place among the free ones.
        self.set_slots(slot, 0, board);
        self.entries.at_mut(slot).turn = turn;
        self.set_slots(slot, slots, board);
    }

    /// The entry under which a worker with free slots is to be found in its pool.
    pub(crate) fn free_entry(&self, slot: Slot) -> Option<Free> {
        let worker = self.entries.at(slot);
        (worker.slots > 0).then(|| Free::new(slot, worker.slots, worker.turn))
    }
}
