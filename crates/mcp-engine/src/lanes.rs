//! Lanes: the tasks that wait in one order.
//!
//! A lane holds the waiting tasks of one queue that need the same kind of worker and have the same key. Lanes of a
//! bucket take turns by their weights (see [`buckets`](crate::buckets)); within a lane the [`Place`] decides.

use crate::{
    slab::Slot,
    types::{Millis, Resources, TaskId},
    waiting::Waiting,
};

/// What one level of priority is worth in waiting time.
pub(crate) const AGING_MS_PER_LEVEL: i64 = 10_000;

/// What the lane of a key with weight 1 pays for each task.
const STRIDE: u64 = 1 << 20;

/// A task's place in the order of dispatch: by the time when it came due or was submitted, each level of priority
/// counting as ten seconds of waiting; then by id. So a higher priority goes first among tasks of about the same age,
/// and a task of low priority cannot starve: what comes after it by more than the difference is behind it. A task that
/// comes back after a failure or a loss has the same place again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    rank: i64,
    // Two halves: aligned to 8 bytes, a place takes 24 and not 32.
    id: [u64; 2],
}

impl Place {
    /// The place of a task.
    pub(crate) const fn new(rank: i64, id: TaskId) -> Self {
        Self { rank, id: id.halves() }
    }
}

/// The part of a task's place that is not its id.
pub(crate) fn rank(due: Millis, priority: i16) -> i64 {
    i64::try_from(due).unwrap_or(i64::MAX).saturating_sub(i64::from(priority) * AGING_MS_PER_LEVEL)
}

/// Tasks of one bucket that have the same key, or none.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) bucket: Slot,
    pub(crate) queue: Slot,
    /// The key.
    pub(crate) party: Option<Slot>,
    /// Unfinished tasks, waiting or not.
    pub(crate) tasks: usize,
    /// Those that wait, in their order.
    pub(crate) waiting: Waiting,
    /// Its turn: what it has paid so far, as compared with the other lanes of its bucket.
    pub(crate) pass: u64,
    /// What it pays for each task that goes before another lane's.
    pub(crate) stride: u64,
    /// Its key is shut.
    pub(crate) shut: bool,
    /// What each of its tasks asks for.
    pub(crate) request: Resources,
}

impl Lane {
    /// An empty lane.
    pub(crate) fn new(bucket: Slot, queue: Slot, party: Option<Slot>, stride: u64, request: Resources) -> Self {
        Self { bucket, queue, party, tasks: 0, waiting: Waiting::default(), pass: 0, stride, shut: false, request }
    }

    /// The place of the task to dispatch next.
    pub(crate) fn head(&self) -> Option<Place> {
        self.waiting.first().map(|(place, _)| place)
    }

    /// True when it takes part in the turns.
    pub(crate) fn is_ready(&self) -> bool {
        !self.shut && !self.waiting.is_empty()
    }
}

/// What a lane pays whose key has this weight.
pub(crate) fn stride(weight: u32) -> u64 {
    (STRIDE / u64::from(weight.max(1))).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Place, rank, stride};
    use crate::types::TaskId;

    #[test]
    fn a_level_of_priority_is_worth_ten_seconds() {
        let place = |due, priority, id| Place::new(rank(due, priority), TaskId(id));
        assert!(place(1_000, 0, 1) < place(1_000, 0, 2), "then the id");
        assert!(place(10_999, 1, 2) < place(1_000, 0, 1));
        assert!(place(11_001, 1, 2) > place(1_000, 0, 1), "an old one does not starve");
        assert!(place(0, i16::MIN, 1) > place(300_000_000, 0, 1));
        assert!(place(u64::MAX, i16::MAX, 1) > place(0, i16::MIN, 1));
    }

    #[test]
    fn a_greater_weight_pays_less() {
        assert_eq!(stride(1), 4 * stride(4));
        assert_eq!((stride(0), stride(u32::MAX)), (stride(1), 1));
    }
}
