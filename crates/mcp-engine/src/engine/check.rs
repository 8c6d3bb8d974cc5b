//! The invariants, looked at one by one.

use std::collections::BTreeMap;

use super::Engine;
use crate::{
    slab::Slot,
    task::{Counts, NO_TIMER, Task},
    types::{State, Token},
};

impl Engine {
    /// Looks at every invariant. For tests: takes time for everything the engine holds.
    ///
    /// # Panics
    /// When an invariant is broken.
    pub fn check(&self) {
        let mut counts = Counts::default();
        let mut timers = 0;
        let mut waiting: BTreeMap<Slot, usize> = BTreeMap::new();
        let mut in_bucket: BTreeMap<Slot, usize> = BTreeMap::new();
        for (slot, task) in self.tasks.iter() {
            self.check_task(slot, task);
            *counts.of(task.state).expect("the engine holds unfinished tasks only") += 1;
            timers += usize::from(task.timer != NO_TIMER);
            *waiting.entry(task.bucket).or_default() += usize::from(task.is_queued());
            *in_bucket.entry(task.bucket).or_default() += 1;
        }
        assert_eq!(self.tasks.counts(), counts, "the counts match the tasks");
        assert_eq!(self.timers.len(), timers, "every timer belongs to a task");
        assert_eq!(self.terms.references(), self.tasks.len(), "every task has its terms");
        self.check_buckets(&waiting, &in_bucket);
        self.check_queues();
        self.check_pools();
        self.check_workers(counts.running);
    }

    fn check_task(&self, slot: Slot, task: &Task) {
        assert_eq!(self.tasks.find(task.id), Some(slot), "a task is found by its id");
        let newest = Token { epoch: self.config.epoch, sequence: self.sequence };
        assert!(task.token <= newest, "no token is ahead of the latest dispatch: {task:?}");
        if task.timer != NO_TIMER {
            assert!(self.timers.contains(task.timer, slot), "a timer that is set will fire: {task:?}");
        }
        let queued = self.board.buckets.at(task.bucket).waiting.get(&task.place()) == Some(&slot);
        assert_eq!(queued, task.is_queued(), "a task waits in its bucket exactly when it should: {task:?}");
        assert!(!task.held || (task.state == State::Pending && task.restored), "{task:?}");
        match task.state {
            State::Running => {
                let worker = self.workers.get(task.worker).expect("a running task has a worker");
                assert!(worker.attempts.contains(&(task.id, slot)), "its worker has it: {task:?}");
                assert!(!task.restored && task.token != Token::ZERO && task.attempts.started > 0, "{task:?}");
            }
            State::Scheduled | State::Retrying => assert_eq!(task.timer, task.not_before, "{task:?}"),
            State::Pending if task.held => assert_ne!(task.timer, NO_TIMER, "{task:?}"),
            State::Pending => assert_eq!(task.timer, self.queue_deadline(slot).unwrap_or(NO_TIMER), "{task:?}"),
            State::Succeeded | State::Failed | State::Cancelled => panic!("a final task is kept: {task:?}"),
        }
        let never_dispatched = task.state != State::Running && task.restored;
        assert!(task.state == State::Running || !task.cancel_requested || never_dispatched, "{task:?}");
    }

    fn check_buckets(&self, waiting: &BTreeMap<Slot, usize>, in_bucket: &BTreeMap<Slot, usize>) {
        let mut buckets = 0;
        for (slot, bucket) in self.board.buckets.iter() {
            buckets += 1;
            assert_eq!(in_bucket.get(&slot), Some(&bucket.tasks), "a bucket has tasks, and knows how many");
            assert_eq!(waiting.get(&slot), Some(&bucket.waiting.len()), "those that wait in a bucket are its own");
            for (pool, entry) in self.board.pools() {
                let serves = self.board.is_served(slot, entry);
                assert_eq!(serves, bucket.pools.contains(&pool), "a bucket knows who serves it");
                let head = bucket.head().filter(|_| serves);
                if let Some(head) = head {
                    assert_eq!(entry.ready.get(&head), Some(&slot), "a pool knows the heads of its buckets");
                    assert!(entry.free.is_empty(), "S-4: a task waits though a worker that serves it is free");
                }
            }
        }
        assert_eq!(in_bucket.len(), buckets, "every task is in a bucket");
        let (kinds, references) = self.board.buckets.kinds_len();
        assert!(references == buckets && kinds <= buckets, "kinds of work are known for as long as they are needed");
    }

    fn check_queues(&self) {
        let queues = &self.board.buckets.queues;
        let mut tasks: BTreeMap<Slot, usize> = BTreeMap::new();
        for (_, bucket) in self.board.buckets.iter() {
            *tasks.entry(bucket.queue).or_default() += bucket.tasks;
        }
        let mut keys: BTreeMap<Slot, usize> = BTreeMap::new();
        for queue in self.keys.check() {
            *keys.entry(queue).or_default() += 1;
        }
        assert!(self.keys.len() <= self.config.idempotency_keys_max, "the number of keys is bounded");
        for (slot, queue) in queues.iter() {
            let expected = (tasks.get(&slot).copied().unwrap_or(0), keys.get(&slot).copied().unwrap_or(0));
            assert_eq!((queue.tasks, queue.keys), expected, "a queue knows what it holds");
            assert_ne!(expected, (0, 0), "a queue that holds nothing is forgotten");
        }
        assert_eq!(queues.with_tasks(), tasks.len(), "queues with tasks are counted");
    }

    fn check_pools(&self) {
        let mut members: BTreeMap<Slot, usize> = BTreeMap::new();
        for (_, worker) in self.workers.iter() {
            if let Some(pool) = worker.pool {
                *members.entry(pool).or_default() += 1;
            }
        }
        let mut pools = 0;
        for (slot, pool) in self.board.pools() {
            pools += 1;
            assert_eq!(members.get(&slot), Some(&pool.members), "a pool has members, and knows how many");
            for (place, bucket) in &pool.ready {
                assert_eq!(self.board.buckets.at(*bucket).head(), Some(*place), "no outdated head is left");
            }
            let free = self.workers.iter().filter(|(_, worker)| worker.pool == Some(slot) && worker.slots > 0);
            assert_eq!(pool.free.len(), free.count(), "a pool knows its free workers");
        }
        assert_eq!(members.len(), pools, "every pool has members");
    }

    fn check_workers(&self, running: usize) {
        let (mut attempts, mut leases) = (0, 0);
        for (slot, worker) in self.workers.iter() {
            assert_eq!(self.workers.find(worker.id), Some(slot), "a worker is found by its id");
            assert_eq!(worker.lease.is_some(), worker.pool.is_none(), "a worker has a session or a lease");
            assert!(worker.pool.is_some() || worker.slots == 0, "without a session no slot is free");
            assert!(worker.pool.is_some() || !worker.attempts.is_empty(), "a lease is on attempts");
            leases += usize::from(worker.lease.is_some());
            attempts += worker.attempts.len();
            for (id, task) in &worker.attempts {
                let task = self.tasks.get(*task).expect("an attempt belongs to an unfinished task");
                assert!(task.id == *id && task.state == State::Running && task.worker == slot, "{task:?}");
            }
            if let (Some(pool), Some(free)) = (worker.pool, self.workers.free_entry(slot)) {
                let known = self.board.pools().any(|(at, entry)| at == pool && entry.free.contains(&free));
                assert!(known, "a free worker is known to its pool");
            }
        }
        assert_eq!(attempts, running, "running tasks and attempts match");
        assert_eq!(self.workers.leases_len(), leases, "every lease belongs to a worker");
    }
}
