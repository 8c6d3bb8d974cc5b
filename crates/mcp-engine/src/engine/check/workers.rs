//! The invariants of workers.

use super::Engine;
use crate::{
    placement::sum,
    types::{Resources, State},
};

impl Engine {
    pub(super) fn check_workers(&self, running: usize) {
        let (mut attempts, mut leases, mut sessions, mut reserved) = (0, 0, 0, 0);
        for (slot, worker) in self.workers.iter() {
            assert_eq!(self.workers.find(worker.id), Some(slot), "a worker is found by its id");
            assert_eq!(worker.lease.is_some(), worker.member.is_none(), "a worker has a session or a lease");
            assert!(worker.member.is_some() || worker.slots == 0, "without a session no slot is free");
            assert!(worker.member.is_some() || !worker.attempts.is_empty(), "a lease is on attempts");
            leases += usize::from(worker.lease.is_some());
            sessions += usize::from(worker.member.is_some());
            attempts += worker.attempts.len();
            let mut used = Resources::default();
            for (id, task) in &worker.attempts {
                let task = self.tasks.get(*task).expect("an attempt belongs to an unfinished task");
                assert!(task.id() == *id && task.state == State::Running && task.worker == slot, "{task:?}");
                used = sum(used, self.board.buckets.lanes.at(task.lane).request);
            }
            assert_eq!(worker.used, used, "what attempts ask for is added up");
            for (attempt, partition) in self.workers.leaving(slot) {
                assert!(self.owns(partition), "what a worker is to stop is of a partition that is open: {attempt:?}");
                let counts = self.tasks.find(attempt.task).is_some_and(|task| {
                    let task = self.tasks.at(task);
                    task.state == State::Running && task.worker == slot && task.token == attempt.token
                });
                assert!(!counts, "what was taken from a worker is not its own: {attempt:?}");
            }
            assert!(self.workers.is_listed(slot, &self.board), "a free worker is known to its pools: {worker:?}");
            if let Some(task) = worker.reserved {
                reserved += 1;
                assert_eq!(self.reservations.get(&task), Some(&slot), "room is made for a task");
                assert!(self.tasks.get(task).is_some_and(|task| task.is_queued()), "room is made for a waiting task");
            }
        }
        assert_eq!(attempts, running, "running tasks and attempts match");
        assert_eq!(self.workers.leases_len(), leases, "every lease belongs to a worker");
        assert_eq!(self.workers.with_session(), sessions, "workers with sessions are counted");
        assert_eq!(self.reservations.len(), reserved, "every task that room is made for is known to a worker");
    }
}
