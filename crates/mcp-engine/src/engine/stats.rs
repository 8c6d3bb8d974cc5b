//! What the engine tells about itself.

use super::Engine;
use crate::{
    slab::Slot,
    types::{AttemptCount, Dispatch, Intake, Millis, Partition, QueueKey, QueueStats, State, TaskId, Token, WorkerId},
};

/// An unfinished task, as [`Engine::view`] tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskView {
    /// Where it stands; never final.
    pub state: State,
    /// Attempts so far, the running one included in `started`.
    pub attempts: AttemptCount,
    /// Its partition.
    pub partition: Partition,
    /// Who has it, in `Running`.
    pub worker: Option<WorkerId>,
    /// The token of the running attempt.
    pub token: Option<Token>,
    /// A cancel was accepted.
    pub cancel_requested: bool,
    /// When its next attempt is due, or was due.
    pub not_before: Millis,
}

/// How much the engine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Unfinished tasks.
    pub tasks: usize,
    /// Those in `Pending`.
    pub pending: usize,
    /// Those in `Scheduled`.
    pub scheduled: usize,
    /// Those in `Running`.
    pub running: usize,
    /// Those in `Retrying`.
    pub retrying: usize,
    /// Queues that hold an unfinished task.
    pub queues: usize,
    /// Workers that have a session, or whose lease still runs.
    pub workers: usize,
    /// Free slots of all workers with a session.
    pub free_slots: u64,
    /// Idempotency keys that are remembered.
    pub idempotency_keys: usize,
}

impl Engine {
    /// An unfinished task; `None` when it is final or was never submitted.
    pub fn view(&self, task: TaskId) -> Option<TaskView> {
        let slot = self.tasks.find(task)?;
        let task = self.tasks.at(slot);
        let running = task.state == State::Running;
        Some(TaskView {
            state: task.state,
            attempts: task.attempts,
            partition: self.board.queues.at(self.queue_of(slot)).partition,
            worker: running.then(|| self.workers.at(task.worker).id),
            token: running.then_some(task.token),
            cancel_requested: task.cancel_requested,
            not_before: task.not_before,
        })
    }

    /// The queue of an unfinished task.
    pub fn queue(&self, task: TaskId) -> Option<&QueueKey> {
        let slot = self.tasks.find(task)?;
        Some(&self.board.queues.at(self.queue_of(slot)).key)
    }

    /// How much the engine holds. O(workers).
    pub fn stats(&self) -> Stats {
        let counts = self.tasks.counts();
        Stats {
            tasks: self.tasks.len(),
            pending: counts.pending,
            scheduled: counts.scheduled,
            running: counts.running,
            retrying: counts.retrying,
            queues: self.board.queues.with_tasks(),
            workers: self.workers.len(),
            free_slots: self.workers.iter().map(|(_, worker)| u64::from(worker.slots)).sum(),
            idempotency_keys: self.keys.len(),
        }
    }

    /// What a queue holds; `None` when it holds nothing and has no rules. O(log n).
    pub fn queue_stats(&self, queue: &QueueKey) -> Option<QueueStats> {
        self.board.queues.find(queue).map(|slot| self.stats_of(slot))
    }

    /// Every queue that holds something or has rules, in no particular order. Each costs what
    /// [`queue_stats`](Self::queue_stats) does.
    pub fn queues(&self) -> impl Iterator<Item = (&QueueKey, QueueStats)> {
        self.board.queues.iter().map(|(slot, queue)| (&queue.key, self.stats_of(slot)))
    }

    pub(super) fn stats_of(&self, slot: Slot) -> QueueStats {
        let queue = self.board.queues.at(slot);
        let rules = queue.limits.as_ref().map(|limits| &limits.rules);
        QueueStats {
            partition: queue.partition,
            waiting: queue.counts.pending,
            scheduled: queue.counts.scheduled,
            running: queue.counts.running,
            retrying: queue.counts.retrying,
            oldest_due: self.first_of(slot).map(|task| self.tasks.at(task).not_before),
            paused: rules.is_some_and(|rules| matches!(rules.dispatch, Dispatch::Paused { .. })),
            draining: rules.is_some_and(|rules| rules.intake == Intake::Closed),
        }
    }

    /// The waiting task of a queue that is first in the order of dispatch.
    fn first_of(&self, slot: Slot) -> Option<Slot> {
        let queue = self.board.queues.at(slot);
        let lane = match queue.lanes {
            0 => return None,
            1 => self.board.buckets.at(*queue.buckets.first()?).lanes().next()?,
            _ => queue.heads.first()?.1,
        };
        self.board.buckets.lanes.at(lane).waiting.first().map(|(_, task)| task)
    }
}
