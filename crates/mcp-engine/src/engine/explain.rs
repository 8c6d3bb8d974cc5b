//! Why a task does not run.

use std::collections::BTreeMap;

use super::Engine;
use crate::{
    limits::Block,
    placement::{self, left},
    slab::Slot,
    task::{NO_TIMER, Task},
    types::{Explanation, Holder, Millis, Mismatch, Reason, Resources, Saturation, State, TaskId, WorkerId},
};

/// Attempts of one worker that are looked at to find who holds permits.
const ATTEMPTS_MAX: usize = 10_000;

/// Holders of permits, or workers, that are named.
const NAMED_MAX: usize = 10;

/// Tasks and keys that are counted, and workers that are asked.
const COUNTED_MAX: usize = 10_000;

impl Engine {
    /// Why an unfinished task is where it is; `None` when it is final, was never submitted, or its partition is not
    /// open. There is a reason always. Takes time for what is named and counted, which is bounded; for people, not for
    /// the hot path.
    pub fn explain(&self, task: TaskId) -> Option<Explanation> {
        let slot = self.tasks.find(task).filter(|slot| self.epoch_of(*slot) > 0)?;
        let task = self.tasks.at(slot);
        let mut told = Told { reasons: Vec::new(), next_change: None };
        match task.state {
            State::Scheduled => told.until(Reason::Delayed { until: task.not_before }, task.not_before),
            State::Retrying => {
                let max_attempts = self.terms.at(task.terms).retry().max_attempts;
                let (until, failed) = (task.not_before, task.attempts.failed);
                told.until(Reason::BackingOff { until, failed, max_attempts }, until);
            }
            State::Running => self.explain_running(task, &mut told),
            _ => self.explain_pending(slot, task, &mut told),
        }
        Some(Explanation { state: task.state, reasons: told.reasons, next_change: told.next_change })
    }

    fn explain_running(&self, task: &Task, told: &mut Told) {
        let worker = self.workers.at(task.worker);
        if task.cancel_requested {
            told.reasons.push(Reason::Cancelling { worker: Some(worker.id) });
        }
        let (since, deadline) = (self.started_at(task), task.timer);
        told.until(Reason::Running { worker: worker.id, since, deadline }, deadline);
        if let Some(lease) = worker.lease {
            told.change(lease);
        }
    }

    /// When this owner started a running task, or heard of it.
    fn started_at(&self, task: &Task) -> Millis {
        let terms = self.terms.at(task.terms);
        task.timer.saturating_sub(self.config.run_timeout_grace).saturating_sub(terms.run_timeout)
    }

    fn explain_pending(&self, slot: Slot, task: &Task, told: &mut Told) {
        if task.cancel_requested {
            told.reasons.push(Reason::Cancelling { worker: None });
        }
        if task.held {
            return told.until(Reason::Grace { until: task.timer }, task.timer);
        }
        if let Some(deadline) = self.queue_deadline(slot) {
            told.change(deadline);
        }
        self.explain_limits(task, told);
        self.explain_workers(slot, task, told);
        self.explain_order(task, told);
        if told.reasons.is_empty() {
            told.until(Reason::Ready, self.now);
        }
    }

    fn explain_limits(&self, task: &Task, told: &mut Told) {
        let lane = self.board.buckets.lanes.at(task.lane);
        let queue = self.board.queues.at(lane.queue);
        let Some(limits) = &queue.limits else { return };
        for block in limits.blocks(queue.occupied(), self.now) {
            match block {
                Block::Paused { since } => told.reasons.push(Reason::QueuePaused { since }),
                Block::Concurrency { limit } => {
                    let (running, perhaps_running) = (queue.counts.running, queue.held);
                    let since = limits.limit.shut.unwrap_or(self.now);
                    let is_its = |task: &Task| self.board.buckets.lanes.at(task.lane).queue == lane.queue;
                    let holders = self.holders(perhaps_running, is_its, told);
                    let saturation = Saturation { limit, running, perhaps_running, since, holders };
                    told.reasons.push(Reason::QueueConcurrency(saturation));
                }
                Block::Rate { next } => told.until(Reason::QueueRate { next_token: next }, next),
            }
        }
        let Some(slot) = lane.party else { return };
        let party = self.board.parties.at(slot);
        for block in party.blocks(limits, self.now) {
            let key = party.name.clone();
            match block {
                Block::Concurrency { limit } => {
                    let (running, perhaps_running) = (party.running, party.held);
                    let since = party.limit.shut.unwrap_or(self.now);
                    let is_its = |task: &Task| self.board.buckets.lanes.at(task.lane).party == Some(slot);
                    let holders = self.holders(perhaps_running, is_its, told);
                    let saturation = Saturation { limit, running, perhaps_running, since, holders };
                    told.reasons.push(Reason::KeyConcurrency { key, saturation });
                }
                Block::Rate { next } => told.until(Reason::KeyRate { key, next_token: next }, next),
                Block::Paused { .. } => unreachable!("keys are not paused"),
            }
        }
    }

    /// Some of the running tasks that are meant; and when the first of those that hold a permit has to give it back, the
    /// `perhaps_running` ones included.
    fn holders(&self, perhaps_running: usize, is_meant: impl Fn(&Task) -> bool, told: &mut Told) -> Vec<Holder> {
        let mut holders = Vec::new();
        for (_, worker) in self.workers.iter() {
            let running = worker.attempts.iter().take(ATTEMPTS_MAX).map(|(_, slot)| self.tasks.at(*slot));
            for task in running.filter(|task| is_meant(task)) {
                told.change(worker.lease.map_or(task.timer, |lease| lease.min(task.timer)));
                if holders.len() < NAMED_MAX {
                    let since = self.started_at(task);
                    holders.push(Holder { task: task.id(), worker: worker.id, since });
                }
            }
        }
        if perhaps_running > 0 {
            let held = self.tasks.iter().map(|(_, task)| task).filter(|task| task.held && is_meant(task));
            held.take(perhaps_running.min(COUNTED_MAX)).for_each(|task| told.change(task.timer));
        }
        holders
    }

    /// When a worker has to give up something of what it runs.
    fn gives_up_at(&self, worker: Slot, told: &mut Told) {
        let worker = self.workers.at(worker);
        told.change(worker.lease.unwrap_or(NO_TIMER));
        let running = worker.attempts.iter().take(ATTEMPTS_MAX).map(|(_, slot)| self.tasks.at(*slot));
        running.for_each(|task| told.change(task.timer));
    }

    fn explain_workers(&self, slot: Slot, task: &Task, told: &mut Told) {
        let bucket = self.board.buckets.lanes.at(task.lane).bucket;
        if let Some(worker) = self.reservations.get(&slot) {
            self.gives_up_at(*worker, told);
            return told.reasons.push(Reason::MakingRoom { worker: self.workers.at(*worker).id });
        }
        if self.workers.with_session() == 0 {
            return told.reasons.push(Reason::NoWorkers);
        }
        let entry = self.board.buckets.at(bucket);
        if entry.pools.is_empty() {
            let (workers, since) = (self.workers.with_session(), entry.pools_since);
            return told.reasons.push(Reason::NoWorkerMatches { workers, mismatches: self.mismatches(bucket), since });
        }
        if self.pick(bucket).is_some() {
            return;
        }
        let members = || entry.pools.iter().flat_map(|pool| &self.board.pool(*pool).members);
        let request = self.board.buckets.placement(bucket).map_or(Resources::default(), |asked| asked.request);
        let lacks_room = |worker: &Slot| {
            let offer = self.workers.offer(*worker, &self.board);
            offer.slots > 0 && left(offer.free, request).is_none()
        };
        let some: Vec<WorkerId> = members().take(NAMED_MAX).map(|worker| self.workers.at(*worker).id).collect();
        let without_room = members().take(COUNTED_MAX).filter(|worker| lacks_room(worker)).count();
        members().take(COUNTED_MAX).for_each(|worker| self.gives_up_at(*worker, told));
        told.reasons.push(Reason::WorkersBusy { workers: members().count(), some, without_room });
    }

    /// What the workers with a session fail on, most frequent first.
    fn mismatches(&self, bucket: Slot) -> Vec<(Mismatch, usize)> {
        let ask = self.board.ask(bucket);
        let mut counts: BTreeMap<Mismatch, usize> = BTreeMap::new();
        // Every worker is in one shape.
        for (_, pool) in self.board.pools().filter(|(_, pool)| pool.is_shape).take(COUNTED_MAX) {
            if let Err(mismatch) = placement::check(&ask, &pool.spec) {
                *counts.entry(mismatch).or_default() += pool.members.len();
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, workers)| std::cmp::Reverse(*workers));
        counts.truncate(NAMED_MAX);
        counts
    }

    fn explain_order(&self, task: &Task, told: &mut Told) {
        let lane = self.board.buckets.lanes.at(task.lane);
        let before = lane.waiting.count_before(task.place(), COUNTED_MAX);
        if before > 0 {
            told.reasons.push(Reason::Behind { tasks: before.min(COUNTED_MAX), more: before > COUNTED_MAX });
        }
        let bucket = self.board.buckets.at(lane.bucket);
        let turns = if lane.shut { 0 } else { bucket.lanes_before(lane.pass, task.lane).take(COUNTED_MAX + 1).count() };
        if turns > 0 {
            told.reasons.push(Reason::FairShare { keys: turns.min(COUNTED_MAX), more: turns > COUNTED_MAX });
        }
    }
}

/// What is told so far.
#[derive(Debug)]
struct Told {
    reasons: Vec<Reason>,
    next_change: Option<Millis>,
}

impl Told {
    /// Something changes by itself at a moment.
    fn change(&mut self, at: Millis) {
        if at == NO_TIMER {
            return;
        }
        self.next_change = Some(self.next_change.map_or(at, |next| next.min(at)));
    }

    /// A reason that ends by itself.
    fn until(&mut self, reason: Reason, at: Millis) {
        self.reasons.push(reason);
        self.change(at);
    }
}
