//! The workers and what they run.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    board::Board,
    placement::{Offer, difference, room, sum},
    pools::{Free, Membership},
    slab::{Slab, Slot},
    types::{Millis, Partition, Resources, RunningAttempt, TaskId, Token, WorkerId, WorkerSpec},
};

/// A worker that has a session, or none but attempts and a lease on them.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    /// The pools it is in while it has a session.
    pub(crate) member: Option<Membership>,
    /// Free slots; 0 without a session.
    pub(crate) slots: u32,
    /// Sequence number of its latest assignment.
    turn: u64,
    /// What it runs.
    pub(crate) attempts: BTreeSet<(TaskId, Slot)>,
    /// What its attempts ask for together.
    pub(crate) used: Resources,
    /// Attempts that were taken from it in this session and ask for something: they count until it says that they
    /// are over.
    leaving: BTreeMap<TaskId, Leaving>,
    /// The task that its next free slot is for.
    pub(crate) reserved: Option<Slot>,
    /// How it is listed as free in its base and in its shape.
    listed: [Option<Free>; 2],
    /// When its lease ends; set without a session.
    pub(crate) lease: Option<Millis>,
}

/// An attempt that was taken from a worker and may still run there.
#[derive(Debug)]
struct Leaving {
    token: Token,
    partition: Partition,
    request: Resources,
}

/// The workers, found by id or by slot.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    entries: Slab<Worker>,
    slots: BTreeMap<WorkerId, Slot>,
    leases: BTreeSet<(Millis, Slot)>,
    with_session: usize,
}

impl Workers {
    /// The slot of a worker.
    pub(crate) fn find(&self, id: WorkerId) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    /// The slot of a worker, who may be new: then it has no session, and no lease yet.
    pub(crate) fn ensure(&mut self, id: WorkerId) -> Slot {
        self.find(id).unwrap_or_else(|| {
            let slot = self.entries.insert(Worker {
                id,
                member: None,
                slots: 0,
                turn: 0,
                attempts: BTreeSet::new(),
                used: Resources::default(),
                leaving: BTreeMap::new(),
                reserved: None,
                listed: [None, None],
                lease: None,
            });
            self.slots.insert(id, slot);
            slot
        })
    }

    /// The worker in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Worker {
        self.entries.at(slot)
    }

    /// The worker in a slot, if there is one.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Worker> {
        self.entries.get(slot)
    }

    /// Workers with a session or a lease.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Workers with a session.
    pub(crate) const fn with_session(&self) -> usize {
        self.with_session
    }

    /// Every worker, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &Worker)> {
        self.entries.iter()
    }

    /// Forgets a worker without a session that runs nothing.
    pub(crate) fn forget_idle(&mut self, slot: Slot) {
        let worker = self.entries.at(slot);
        if worker.member.is_none() && worker.attempts.is_empty() {
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

    /// Begins a worker's session; it has no free slots yet.
    pub(crate) fn begin_session(&mut self, slot: Slot, spec: WorkerSpec, board: &mut Board) {
        let member = board.join(spec, slot);
        self.entries.at_mut(slot).member = Some(member);
        self.with_session += 1;
    }

    /// Ends a worker's session, if it has one: it leaves its pools and has no free slots. Gives the task that its next
    /// slot was for.
    pub(crate) fn end_session(&mut self, slot: Slot, board: &mut Board, now: Millis) -> Option<Slot> {
        self.set_slots(slot, 0, board);
        let worker = self.entries.at_mut(slot);
        worker.leaving.clear();
        let reserved = worker.reserved.take();
        if let Some(member) = worker.member.take() {
            board.leave(member, slot, now);
            self.with_session -= 1;
        }
        reserved
    }

    /// Sets how many slots of a worker are free; one without a session has none.
    pub(crate) fn set_slots(&mut self, slot: Slot, slots: u32, board: &mut Board) {
        let worker = self.entries.at_mut(slot);
        if worker.member.is_some() {
            worker.slots = slots;
            self.list(slot, board);
        }
    }

    /// Takes one free slot for an attempt.
    pub(crate) fn take_slot(&mut self, slot: Slot, turn: u64, board: &mut Board) {
        let worker = self.entries.at_mut(slot);
        worker.slots = worker.slots.checked_sub(1).expect("only a worker with a free slot is given a task");
        worker.turn = turn;
        self.list(slot, board);
    }

    /// Keeps the next free slot of a worker for a task, or does so no more.
    pub(crate) fn reserve(&mut self, slot: Slot, task: Option<Slot>, board: &mut Board) {
        self.entries.at_mut(slot).reserved = task;
        self.list(slot, board);
    }

    /// Notes that a worker runs an attempt that asks for so much.
    pub(crate) fn add_attempt(&mut self, slot: Slot, attempt: (TaskId, Slot), request: Resources, board: &mut Board) {
        let worker = self.entries.at_mut(slot);
        worker.attempts.insert(attempt);
        if request != Resources::default() {
            worker.used = sum(worker.used, request);
            self.list(slot, board);
        }
    }

    /// Notes that it does not any more.
    pub(crate) fn remove_attempt(
        &mut self,
        slot: Slot,
        attempt: (TaskId, Slot),
        request: Resources,
        board: &mut Board,
    ) {
        let worker = self.entries.at_mut(slot);
        worker.attempts.remove(&attempt);
        if request != Resources::default() {
            worker.used = difference(worker.used, request);
            self.list(slot, board);
        }
    }

    /// Notes that an attempt of a task of `partition` that was taken from a worker runs there until the worker says
    /// otherwise.
    pub(crate) fn add_leaving(
        &mut self,
        slot: Slot,
        attempt: RunningAttempt,
        partition: Partition,
        request: Resources,
        board: &mut Board,
    ) {
        let worker = self.entries.at_mut(slot);
        if request != Resources::default() && worker.member.is_some() {
            worker.leaving.insert(attempt.task, Leaving { token: attempt.token, partition, request });
            self.list(slot, board);
        }
    }

    /// True when an attempt was taken from a worker that has not said yet that it is over.
    pub(crate) fn is_leaving(&self, slot: Slot, attempt: RunningAttempt) -> bool {
        self.entries.at(slot).leaving.get(&attempt.task).is_some_and(|leaving| leaving.token == attempt.token)
    }

    /// Notes that a worker is done with an attempt that was taken from it; true when it has more room now.
    pub(crate) fn remove_leaving(&mut self, slot: Slot, attempt: RunningAttempt, board: &mut Board) -> bool {
        let is_it = self.is_leaving(slot, attempt);
        if is_it {
            self.entries.at_mut(slot).leaving.remove(&attempt.task);
            self.list(slot, board);
        }
        is_it
    }

    /// Forgets the attempts of a partition's tasks that were taken from workers; gives the workers that have more room
    /// now.
    pub(crate) fn forget_leaving(&mut self, partition: Partition, board: &mut Board) -> Vec<Slot> {
        let is_its = |leaving: &Leaving| leaving.partition == partition;
        let affected = self.entries.iter().filter(|(_, worker)| worker.leaving.values().any(is_its));
        let affected: Vec<Slot> = affected.map(|(slot, _)| slot).collect();
        for &slot in &affected {
            self.entries.at_mut(slot).leaving.retain(|_, leaving| !is_its(leaving));
            self.list(slot, board);
        }
        affected
    }

    /// What a worker has room for. One without a session has none.
    pub(crate) fn offer(&self, slot: Slot, board: &Board) -> Offer {
        let worker = self.entries.at(slot);
        let capacity = worker.member.map(|member| board.pool(member.shape).spec.capacity).unwrap_or_default();
        let used = worker.leaving.values().fold(worker.used, |used, leaving| sum(used, leaving.request));
        let attempts = worker.attempts.len();
        Offer { capacity, free: difference(capacity, used), slots: worker.slots, attempts }
    }

    /// Lists a worker as free in its pools, or not, as it is now.
    pub(crate) fn list(&mut self, slot: Slot, board: &mut Board) {
        let Some(member) = self.entries.at(slot).member else { return };
        let listed = self.listing(slot, member, board);
        let before = std::mem::replace(&mut self.entries.at_mut(slot).listed, listed);
        board.list(member.base, before[0], listed[0]);
        board.list(member.shape, before[1], listed[1]);
    }

    fn listing(&self, slot: Slot, member: Membership, board: &Board) -> [Option<Free>; 2] {
        let worker = self.entries.at(slot);
        if worker.slots == 0 || worker.reserved.is_some() {
            return [None, None];
        }
        let slots = u64::from(worker.slots);
        let base = Free::new(slot, slots, worker.turn);
        let shape = (board.pool(member.shape).served > 0).then(|| {
            let offer = self.offer(slot, board);
            Free::new(slot, (u64::from(room(offer.free, offer.capacity)) << 32) | slots, worker.turn)
        });
        [Some(base), shape]
    }

    /// True when a worker is listed in its pools exactly as it is. For checks.
    pub(crate) fn is_listed(&self, slot: Slot, board: &Board) -> bool {
        let worker = self.entries.at(slot);
        let Some(member) = worker.member else { return worker.listed == [None, None] };
        let [base, shape] = self.listing(slot, member, board);
        let base_known = base.is_none_or(|free| board.pool(member.base).free.contains(&free));
        let shape_known = worker.listed[1].is_none_or(|free| board.pool(member.shape).free.contains(&free));
        let is_active = board.pool(member.shape).served > 0;
        worker.listed[0] == base && base_known && shape_known && (!is_active || worker.listed[1] == shape)
    }

    /// Attempts that were taken from workers and count until they say that they are over, with the partitions of their
    /// tasks. For checks.
    pub(crate) fn leaving(&self, slot: Slot) -> impl Iterator<Item = (RunningAttempt, Partition)> {
        let leaving = self.entries.at(slot).leaving.iter();
        leaving.map(|(task, leaving)| (RunningAttempt { task: *task, token: leaving.token }, leaving.partition))
    }
}
