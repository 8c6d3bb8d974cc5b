//! The queues one after the other, and who serves them.

use super::Engine;
use crate::types::{QueueKey, QueueStats};

/// Some queues, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueuePage {
    /// Those that hold a task or have rules.
    pub queues: Vec<(QueueKey, QueueStats)>,
    /// After which one to go on; `None` at the end.
    pub next: Option<QueueKey>,
}

/// Who serves a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Serving {
    /// Workers with a session whose namespaces and queues include it, whatever their handlers and placement.
    pub workers: usize,
    /// Their slots here, free or in use.
    pub slots: u64,
}

impl Engine {
    /// The queues after one, by namespace and name, as far as `looks` of them: a page may be short, even empty, and yet
    /// not be the last one. O(looks · log n).
    pub fn queues_after(&self, after: Option<&QueueKey>, looks: usize) -> QueuePage {
        let mut page = QueuePage::default();
        let mut left = looks.max(1);
        for (slot, queue) in self.board.queues.after(after) {
            if queue.counts.sum() > 0 || queue.limits.is_some() {
                page.queues.push((queue.key.clone(), self.stats_of(slot)));
            }
            left -= 1;
            if left == 0 {
                page.next = Some(queue.key.clone());
                break;
            }
        }
        page
    }

    /// Who serves a queue, whether it is known or not. O(workers).
    pub fn serving(&self, queue: &QueueKey) -> Serving {
        let mut serving = Serving::default();
        // Every worker with a session is in one shape.
        for (_, pool) in self.board.pools().filter(|(_, pool)| pool.is_shape) {
            let (namespaces, queues) = (&pool.spec.namespaces, &pool.spec.queues);
            let is_served = (namespaces.is_empty() || namespaces.contains(&queue.namespace))
                && (queues.is_empty() || queues.contains(&queue.queue));
            if is_served {
                let slots = |slot| {
                    let worker = self.workers.at(slot);
                    u64::from(worker.slots) + worker.attempts.len() as u64
                };
                serving.workers += pool.members.len();
                serving.slots += pool.members.iter().map(|slot| slots(*slot)).sum::<u64>();
            }
        }
        serving
    }
}
