//! What one batch brought to each queue.

use std::sync::Arc;

use mcp_engine::QueueKey;
use mcp_proto::scheduler::v1::TaskState;

/// Queues that one batch counts apart; the rest are counted together.
const QUEUES_MAX: usize = 256;

/// Counts of one batch, by queue.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    queues: Vec<(QueueKey, Counts)>,
    others: Counts,
}

/// Counts of one queue.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Tasks submitted.
    pub(crate) submitted: u64,
    /// Attempts after which another one follows.
    pub(crate) retried: u64,
    /// Tasks put on the list of dead letters.
    pub(crate) dead_lettered: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) cancelled: u64,
    /// Of each attempt that started, for how many milliseconds its task was due.
    pub(super) waited: Vec<u32>,
    /// Of each attempt that ended, for how many milliseconds it ran.
    pub(super) ran: Vec<u32>,
}

impl Counts {
    /// Counts an attempt that starts, whose task was due for so many milliseconds.
    pub(crate) fn started(&mut self, waited_ms: u64) {
        self.waited.push(u32::try_from(waited_ms).unwrap_or(u32::MAX));
    }

    /// Counts an attempt that ended after so many milliseconds, if there was one.
    pub(crate) fn ran(&mut self, ran_ms: Option<u64>) {
        self.ran.extend(ran_ms.map(|ran| u32::try_from(ran).unwrap_or(u32::MAX)));
    }

    /// Counts a final task.
    pub(crate) fn finished(&mut self, state: TaskState) {
        match state {
            TaskState::Succeeded => self.succeeded += 1,
            TaskState::Cancelled => self.cancelled += 1,
            _ => self.failed += 1,
        }
    }
}

impl Tally {
    /// The counts of a queue.
    pub(crate) fn of(&mut self, queue: &QueueKey) -> &mut Counts {
        let same = |other: &QueueKey| Arc::ptr_eq(&other.queue, &queue.queue) || other == queue;
        let at = match self.queues.iter().rposition(|(other, _)| same(other)) {
            Some(at) => at,
            None if self.queues.len() < QUEUES_MAX => {
                self.queues.push((queue.clone(), Counts::default()));
                self.queues.len() - 1
            }
            None => return &mut self.others,
        };
        &mut self.queues[at].1
    }

    /// Of each queue that is counted apart: attempts that started, and for how many milliseconds each of those that ended
    /// ran.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (&QueueKey, u64, &[u32])> {
        self.queues.iter().map(|(queue, counts)| (queue, counts.waited.len() as u64, counts.ran.as_slice()))
    }

    /// Takes the counts; those of the queues that are counted together come without a queue.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Option<QueueKey>, Counts)> {
        let others = std::mem::take(&mut self.others);
        self.queues.drain(..).map(|(queue, counts)| (Some(queue), counts)).chain([(None, others)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_batch_over_very_many_queues_the_rest_is_counted_together() {
        let mut tally = Tally::default();
        for n in 0..QUEUES_MAX + 5 {
            let queue = QueueKey { namespace: "n".into(), queue: n.to_string().into() };
            tally.of(&queue).submitted += 1;
            tally.of(&queue).started(7);
        }
        assert_eq!(tally.attempts().count(), QUEUES_MAX);
        let (apart, rest): (Vec<_>, Vec<_>) = tally.drain().partition(|(queue, _)| queue.is_some());
        assert!(apart.len() == QUEUES_MAX && apart.iter().all(|(_, counts)| counts.submitted == 1));
        assert_eq!((rest[0].1.submitted, rest[0].1.waited.len()), (5, 5));
        assert!(tally.drain().all(|(_, counts)| counts.submitted == 0));
    }
}
