//! Workers coming, going, and coming back.

use std::collections::BTreeSet;

use super::Engine;
use crate::{
    faults::Fault,
    slab::Slot,
    types::{Effect, RunningAttempt, State, TaskId, WorkerId, WorkerSpec},
};

impl Engine {
    /// Opens a session: claims what the worker still runs, requeues what it lost, and gives it work.
    pub(super) fn worker_joined(
        &mut self,
        worker: WorkerId,
        spec: WorkerSpec,
        slots: u32,
        running: &[RunningAttempt],
        effects: &mut Vec<Effect>,
    ) {
        let joining = self.workers.ensure(worker);
        self.end_session(joining);
        self.workers.set_lease(joining, None);
        self.workers.begin_session(joining, spec, &mut self.board);

        // What it lost comes last of all, so that it may go to this worker as well as to another.
        let mut missing = self.workers.at(joining).attempts.clone();
        for &attempt in running {
            self.reconcile(joining, attempt, &mut missing, effects);
        }
        for (_, slot) in missing {
            self.lose_attempt(slot, effects);
        }
        self.workers.set_slots(joining, slots, &mut self.board);
        self.serve(joining, effects);
    }

    /// Ends a worker's session, if it has one.
    fn end_session(&mut self, worker: Slot) {
        if let Some(task) = self.workers.end_session(worker, &mut self.board, self.now) {
            self.reservations.remove(&task);
        }
    }

    /// Claims what a worker reports within its session.
    pub(super) fn attempts_reported(
        &mut self,
        worker: WorkerId,
        running: &[RunningAttempt],
        effects: &mut Vec<Effect>,
    ) {
        let Some(slot) = self.workers.find(worker).filter(|slot| self.workers.at(*slot).member.is_some()) else {
            return;
        };
        for &attempt in running {
            self.reconcile(slot, attempt, &mut BTreeSet::new(), effects);
        }
    }

    /// Compares an attempt that a worker says it runs with what the engine knows.
    fn reconcile(
        &mut self,
        worker: Slot,
        attempt: RunningAttempt,
        missing: &mut BTreeSet<(TaskId, Slot)>,
        effects: &mut Vec<Effect>,
    ) {
        let id = self.workers.at(worker).id;
        let revoke = Effect::Revoke { worker: id, attempt };
        if self.is_restoring(attempt.task) {
            return;
        }
        if self.workers.is_leaving(worker, attempt) {
            // It counts until the worker says how it ended, which a revoked one never does.
            return effects.push(Effect::CancelAttempt { worker: id, attempt });
        }
        let Some(slot) = self.tasks.find(attempt.task) else { return effects.push(revoke) };
        let task = self.tasks.at(slot);
        if task.state == State::Running && task.worker == worker && task.token == attempt.token {
            missing.remove(&(attempt.task, slot));
        } else if self.may_claim(slot, attempt.token) {
            self.claim(slot, worker, attempt.token, effects);
        } else {
            return effects.push(revoke);
        }
        if self.tasks.at(slot).cancel_requested {
            // The order to stop may have been lost with the earlier session.
            effects.push(Effect::CancelAttempt { worker: id, attempt });
        }
    }

    /// Ends a session; what the worker runs stays its own until the lease ends.
    pub(super) fn worker_lost(&mut self, worker: WorkerId) {
        let Some(slot) = self.workers.find(worker) else { return };
        if self.workers.at(slot).member.is_some() {
            self.end_session(slot);
            let ends = self.now.saturating_add(self.config.worker_lease);
            self.workers.set_lease(slot, Some(ends));
            self.workers.forget_idle(slot);
        }
    }

    /// Notes that a worker can take more.
    pub(super) fn slots_freed(&mut self, worker: WorkerId, slots: u32, effects: &mut Vec<Effect>) {
        let Some(slot) = self.workers.find(worker) else { return };
        let free = self.workers.at(slot).slots.saturating_add(slots);
        self.workers.set_slots(slot, free, &mut self.board);
        self.serve(slot, effects);
    }

    /// Takes free slots away; gives how many. The slot that is kept for a task stays.
    pub(super) fn reclaim_slots(&mut self, worker: WorkerId, slots: u32) -> u32 {
        let Some(slot) = self.workers.find(worker) else { return 0 };
        let entry = self.workers.at(slot);
        let kept = u32::from(entry.reserved.is_some()).min(entry.slots);
        let taken = slots.min(entry.slots - kept);
        let left = entry.slots - taken;
        self.workers.set_slots(slot, left, &mut self.board);
        taken
    }

    /// Gives away what a worker ran whose lease has ended, at most `budget` attempts; gives how many it were.
    pub(super) fn end_lease(&mut self, worker: Slot, budget: usize, effects: &mut Vec<Effect>) -> usize {
        if self.has(Fault::LeaseEndIgnored) {
            self.workers.set_lease(worker, None);
            return 1;
        }
        let attempts: Vec<Slot> = self.workers.at(worker).attempts.iter().take(budget).map(|(_, slot)| *slot).collect();
        for &slot in &attempts {
            self.lose_attempt(slot, effects);
        }
        // While attempts are left, the lease stays due.
        self.workers.forget_idle(worker);
        attempts.len()
    }

    fn lose_attempt(&mut self, slot: Slot, effects: &mut Vec<Effect>) {
        self.detach(slot);
        if self.lose(slot, effects) {
            self.enqueue(slot, effects);
        }
    }
}
