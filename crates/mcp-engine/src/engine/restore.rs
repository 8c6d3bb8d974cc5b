//! Opening a partition with what the store holds, and closing it.

use std::collections::BTreeSet;

use super::Engine;
use crate::{
    faults::Fault,
    lanes::rank,
    limits::QueueLimits,
    slab::Slot,
    timers::Gate,
    types::{Idempotency, Millis, Partition, QueueKey, QueueRules, RestoredTask, State, TaskId, Token},
};

/// A partition that is open, or being restored.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Its owner's epoch, above 0; `None` while it is being restored.
    epoch: Option<u64>,
    /// Tasks restored so far.
    tasks: Vec<Slot>,
    /// Their idempotency keys.
    keys: Vec<RestoredKey>,
    /// What its last owner named when it closed in order.
    perhaps_running: Option<BTreeSet<TaskId>>,
}

impl Part {
    /// Its owner's epoch, once it is open.
    pub(super) const fn epoch(&self) -> Option<u64> {
        self.epoch
    }
}

/// The idempotency key of a restored task.
#[derive(Debug)]
struct RestoredKey {
    queue: QueueKey,
    idempotency: Idempotency,
    task: TaskId,
}

impl Engine {
    /// Takes over an unfinished task from the store, before its partition is [`opened`](Self::opened), each task once.
    /// Other partitions may be at work meanwhile. Limits do not apply: what was accepted stays accepted. A task whose
    /// state is final is left out, as is one of a partition that is open.
    pub fn restore(&mut self, task: RestoredTask) {
        let RestoredTask { submission, attempts, state, cancel_requested, void, started } = task;
        let (id, partition) = (submission.id, submission.partition);
        if state.is_final() || self.tasks.find(id).is_some() || self.owns(partition) {
            return;
        }
        // A dispatch is not on record, so a task that was running is on record as waiting.
        let state = if state == State::Running { State::Pending } else { state };
        let queue = self.ensure_queue(&submission);
        let slot = self.insert(&submission, queue, state, 0);
        let entry = self.tasks.at_mut(slot);
        entry.attempts = attempts;
        entry.cancel_requested = cancel_requested;
        // Without a record of its start, a task that runs at most once was never sent out.
        entry.restored = !submission.at_most_once || started.is_some();
        entry.token = if submission.at_most_once { started } else { void }.unwrap_or(Token::ZERO);
        let part = self.parts.entry(partition).or_default();
        part.tasks.push(slot);
        if let Some(idempotency) = submission.idempotency {
            part.keys.push(RestoredKey { queue: submission.queue, idempotency, task: id });
        }
    }

    /// Remembers an idempotency key from the store, of a task that is finished or not, until `forget_at`. Only before
    /// the partition is [`opened`](Self::opened). The keys of unfinished tasks need not be given here: they are known
    /// from [`restore`](Self::restore), but then the window starts anew.
    pub fn remember(
        &mut self,
        queue: &QueueKey,
        partition: Partition,
        idempotency: Idempotency,
        task: TaskId,
        forget_at: Millis,
    ) {
        if !self.owns(partition) {
            self.parts.entry(partition).or_default();
            let queue = self.board.queues.ensure(queue, partition, 0);
            self.remember_key(queue, idempotency, task, forget_at);
            self.board.queues.forget_unused(queue);
        }
    }

    /// Takes over the rules of a queue from the store. Only before the partition is [`opened`](Self::opened).
    pub fn restore_queue(&mut self, queue: &QueueKey, partition: Partition, rules: QueueRules) {
        if !self.owns(partition) {
            self.parts.entry(partition).or_default();
            let queue = self.board.queues.ensure(queue, partition, 0);
            self.set_rules(queue, rules);
        }
    }

    /// Tells that the last owner of a partition closed it in order, and what it said then of
    /// [`perhaps_running`](Self::perhaps_running): no other task has an attempt that may still count, so that they need
    /// not wait. Only before the partition is [`opened`](Self::opened), and only as long as nobody else opened it since.
    pub fn closed_in_order(&mut self, partition: Partition, perhaps_running: impl IntoIterator<Item = TaskId>) {
        if !self.owns(partition) {
            let part = self.parts.entry(partition).or_default();
            part.perhaps_running = Some(perhaps_running.into_iter().collect());
        }
    }

    /// The tasks of an open partition of which an attempt may run or wait to be told: those that run, and those of which
    /// an earlier owner may have sent out one. For an owner that closes in order, after its last commit. Takes time for
    /// all tasks there are.
    pub fn perhaps_running(&self, partition: Partition) -> Vec<TaskId> {
        if self.has(Fault::ClosedUnnamed) {
            return Vec::new();
        }
        let is_its = |slot: Slot| self.board.queues.at(self.queue_of(slot)).partition == partition;
        let may_run = self.tasks.iter().filter(|(_, task)| task.state == State::Running || task.restored);
        may_run.filter(|(slot, _)| is_its(*slot)).map(|(_, task)| task.id()).collect()
    }

    /// Opens a partition with what was restored for it. `epoch` is above 0 and above that of every earlier owner, this
    /// process included: a partition that was closed, or whose engine was dropped, is opened again under a new one.
    ///
    /// Restored tasks that are due wait for `worker_lease` from here on, so that the workers that still run them can
    /// say so; what nobody reported by then is dispatched anew. Those that cannot run, because the last owner
    /// [closed in order](Self::closed_in_order) and did not name them, do not wait. Until then they count as running under limits, and
    /// rates start with nothing saved up: so no limit is exceeded by the change of owners. Tasks that are submitted
    /// from here on do not wait. Takes time for what was restored, whatever the other partitions hold.
    pub fn opened(&mut self, partition: Partition, epoch: u64, now: Millis) {
        debug_assert!(epoch > 0, "epochs start at 1");
        self.now = self.now.max(now);
        let part = self.parts.entry(partition).or_default();
        if part.epoch.is_some() {
            return;
        }
        part.epoch = Some(epoch);
        let (tasks, keys) = (std::mem::take(&mut part.tasks), std::mem::take(&mut part.keys));
        let perhaps_running = part.perhaps_running.take();
        let queues = self.board.queues.of_partition(partition);
        for &queue in &queues {
            self.board.queues.at_mut(queue).epoch = epoch;
        }
        for slot in tasks {
            if let Some(perhaps_running) = &perhaps_running
                && !perhaps_running.contains(&self.tasks.at(slot).id())
                && !self.runs_once(slot)
            {
                self.tasks.at_mut(slot).restored = false;
            }
            self.open_task(slot);
        }
        for key in keys {
            self.restore_key(key);
        }
        for queue in queues {
            self.reset_limits(queue);
        }
    }

    /// Lets a restored task wait for its time, or for a worker that may still run it.
    fn open_task(&mut self, slot: Slot) {
        let now = self.now;
        let task = self.tasks.at_mut(slot);
        if task.rank == rank(0, task.priority) {
            task.rank = rank(now, task.priority);
        }
        if task.state != State::Pending && task.not_before > now && !task.cancel_requested {
            let due = task.not_before;
            return self.set_timer(slot, due);
        }
        if task.not_before == 0 {
            task.not_before = now;
        }
        let (before, lane, wait) = (task.state, task.lane, if task.restored { self.config.worker_lease } else { 0 });
        self.tasks.place_in(slot, State::Pending);
        self.moved(lane, Some(before), Some(State::Pending));
        self.set_held(slot, true);
        self.set_timer(slot, now.saturating_add(wait));
    }

    fn restore_key(&mut self, key: RestoredKey) {
        let Some(queue) = self.board.queues.find(&key.queue) else { return };
        let known = self.keys.get(queue, &key.idempotency.key, self.now);
        // Two tasks have one key when the earlier one outlived its window: the key is the later one's.
        if known.is_none_or(|known| known.task < key.task) {
            let forget_at = self.now.saturating_add(key.idempotency.window);
            self.remember_key(queue, key.idempotency, key.task, forget_at);
        }
    }

    /// Starts the limits of a queue with nothing saved up.
    fn reset_limits(&mut self, queue: Slot) {
        let now = if self.has(Fault::RateStartsFull) { 0 } else { self.now };
        let Some(limits) = &mut self.board.queues.at_mut(queue).limits else { return };
        let QueueLimits { rules, limit, keys_since } = &mut **limits;
        limit.reset(rules.rate, now);
        *keys_since = now;
        let key_rate = rules.key_rate;
        for party in self.board.parties.of_queue(queue) {
            self.board.parties.set_rate(party, |limit| limit.reset(key_rate, now));
            self.refresh(queue, Some(party));
        }
        self.refresh(queue, None);
        self.mark(queue, None);
    }

    /// Forgets everything of a partition that is open or being restored: tasks, keys, rules. Gives how many tasks it
    /// were. Nothing is recorded or told to anybody: it is somebody else's from here on. What workers run of it is
    /// forgotten too; their slots come back when they say so.
    pub fn close(&mut self, partition: Partition) -> usize {
        if self.parts.remove(&partition).is_none() {
            return 0;
        }
        let is_its = |engine: &Self, slot: Slot| engine.board.queues.at(engine.queue_of(slot)).partition == partition;
        let tasks: Vec<Slot> = self.tasks.iter().map(|(slot, _)| slot).filter(|slot| is_its(self, *slot)).collect();
        for &slot in &tasks {
            self.forget(slot);
        }
        // Whether those that were to stop have stopped is said to the next owner.
        self.roomy.extend(self.workers.forget_leaving(partition, &mut self.board));
        for queue in self.board.queues.of_partition(partition) {
            for _ in 0..self.keys.forget_queue(queue) {
                self.board.queues.at_mut(queue).keys -= 1;
            }
            self.board.parties.forget_idle(queue);
            if let Some(limits) = self.board.queues.set_limits(queue, None) {
                self.timers.wake(Gate::Queue(queue), limits.limit.wake, None);
            }
            self.board.queues.forget_unused(queue);
        }
        tasks.len()
    }

    /// Forgets a task, wherever it is.
    fn forget(&mut self, slot: Slot) {
        let task = self.tasks.at(slot);
        if task.state == State::Running {
            let worker = task.worker;
            self.detach(slot);
            self.workers.forget_idle(worker);
        } else if self.epoch_of(slot) > 0 {
            self.withdraw(slot);
        } // else it is being restored, and waits nowhere yet
        let lane = self.board.buckets.lanes.at(self.tasks.at(slot).lane);
        if let Some(party) = lane.party {
            let before = self.board.parties.at(party).limit.wake;
            self.timers.wake(Gate::Party(party), before, None);
            self.board.parties.at_mut(party).limit.wake = None;
        }
        let task = self.tasks.forget(slot);
        self.terms.release(task.terms);
        if task.unique && !self.has(Fault::NamesNotClosed) {
            self.uniques.remove(slot);
        }
        self.moved(task.lane, Some(task.state), None);
        self.board.remove_task(task.lane, self.now);
    }

    /// True when a partition is open here.
    pub fn owns(&self, partition: Partition) -> bool {
        self.epoch(partition).is_some()
    }

    /// True when an attempt of a task of `partition` can be judged here: the partition is open, and no later owner than
    /// this one sent the attempt out. The shell tells the engine of no other attempt, and its worker that it is not for
    /// this replica: an owner that was replaced and has not heard of it must not revoke what its successor started.
    pub fn judges(&self, partition: Partition, token: Token) -> bool {
        self.epoch(partition).is_some_and(|epoch| token.epoch <= epoch)
    }

    /// The epoch of a partition that is open.
    pub(super) fn epoch(&self, partition: Partition) -> Option<u64> {
        self.parts.get(&partition).and_then(Part::epoch)
    }

    /// The epoch of a task's partition; 0 while it is not open.
    pub(super) fn epoch_of(&self, slot: Slot) -> u64 {
        self.board.queues.at(self.queue_of(slot)).epoch
    }
}
