//! Pre-emption: stopping an attempt of a lower priority for a task that asks for it.
//!
//! The attempt goes back to its queue without counting as failed or lost. Its worker is told to stop it; the slot that
//! becomes free by that is kept for the task that asked, and until then the worker gets nothing else. Who has a higher
//! priority is never stopped, so that nothing goes round in circles. Tasks that run at most once, and those that are
//! being cancelled, are not stopped.

use std::cmp::Reverse;

use super::Engine;
use crate::{
    placement::{left, sum},
    slab::Slot,
    types::{Effect, Placement, RunningAttempt, State},
};

/// Attempts that are looked at to find one to stop.
const VICTIMS_MAX: usize = 1_000;

impl Engine {
    /// Makes room for the tasks that are next in their bucket, ask for it, and have found no worker with room.
    pub(super) fn preempt(&mut self, effects: &mut Vec<Effect>) {
        for bucket in self.urgent.iter().copied().collect::<Vec<_>>() {
            let Some(placement) = self.board.buckets.placement_of(bucket).filter(|placement| placement.preempt) else {
                self.urgent.remove(&bucket);
                continue;
            };
            let Some(task) = self.board.buckets.next_task(bucket) else { continue };
            if self.reservations.contains_key(&task) {
                continue;
            }
            if let Some(victim) = self.victim(bucket, placement, self.tasks.at(task).priority) {
                self.make_room(victim, task, effects);
            }
        }
    }

    /// The running task to stop: of the lowest priority, and of these the one that started last.
    fn victim(&self, bucket: Slot, placement: &Placement, priority: i16) -> Option<Slot> {
        let pools = self.board.buckets.at(bucket).pools.iter();
        let workers = pools.flat_map(|pool| &self.board.pool(*pool).members);
        let workers = workers.filter(|worker| self.workers.at(**worker).reserved.is_none());
        let attempts = workers.flat_map(|worker| {
            let free = self.workers.offer(*worker, &self.board).free;
            self.workers.at(*worker).attempts.iter().map(move |(_, task)| (free, *task))
        });
        let stoppable = attempts.take(VICTIMS_MAX).filter(|(free, slot)| {
            let task = self.tasks.at(*slot);
            let request = self.board.buckets.lanes.at(task.lane).request;
            let may_stop = !task.cancel_requested && !self.terms.at(task.terms).at_most_once;
            may_stop && task.priority < priority && left(sum(*free, request), placement.request).is_some()
        });
        let order = |slot: Slot| (self.tasks.at(slot).priority, Reverse(self.tasks.at(slot).token));
        stoppable.map(|(_, slot)| slot).min_by_key(|slot| order(*slot))
    }

    /// Stops an attempt and keeps its slot for a task.
    fn make_room(&mut self, victim: Slot, task: Slot, effects: &mut Vec<Effect>) {
        let stopped = self.tasks.at(victim);
        let (worker, attempt) = (stopped.worker, RunningAttempt { task: stopped.id(), token: stopped.token });
        let request = self.board.buckets.lanes.at(stopped.lane).request;
        self.detach(victim);
        let partition = self.board.queues.at(self.queue_of(victim)).partition;
        self.workers.add_leaving(worker, attempt, partition, request, &mut self.board);
        self.reservations.insert(task, worker);
        self.workers.reserve(worker, Some(task), &mut self.board);
        self.tasks.at_mut(victim).not_before = self.now;
        self.set_state(victim, State::Pending);
        self.persist_retry(victim, None, effects);
        self.announce(victim, effects);
        effects.push(Effect::CancelAttempt { worker: self.workers.at(worker).id, attempt });
        self.enqueue(victim, effects);
    }

    /// Gives a worker the task that its next slot is for; false while it has to wait for that.
    pub(super) fn serve_reserved(&mut self, worker: Slot, effects: &mut Vec<Effect>) -> bool {
        let Some(entry) = self.workers.get(worker) else { return false };
        let Some(task) = entry.reserved else { return true };
        let lane = self.board.buckets.lanes.at(self.tasks.at(task).lane);
        if lane.shut || self.board.queues.at(lane.queue).is_shut() {
            self.unreserve(task);
            return true;
        }
        let fits = left(self.workers.offer(worker, &self.board).free, lane.request).is_some();
        if entry.slots == 0 || !fits {
            return false;
        }
        self.withdraw(task);
        self.assign(task, worker, effects);
        true
    }

    /// Keeps no slot for a task any more.
    pub(super) fn unreserve(&mut self, task: Slot) {
        if !self.reservations.is_empty()
            && let Some(worker) = self.reservations.remove(&task)
        {
            self.workers.reserve(worker, None, &mut self.board);
            self.roomy.push(worker);
        }
    }
}
