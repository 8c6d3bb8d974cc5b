//! What is known of waiting tasks, for their dispatch: bounded by bytes, so that a long queue costs no memory here.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use mcp_engine::QueueKey;
use mcp_proto::TaskId;

use crate::store::{Fixed, Moving};

/// What an entry takes besides its bytes.
const ENTRY_OVERHEAD: usize = 160;
/// What a failed attempt in its record takes, roughly.
const FAILURE_BYTES: usize = 400;
/// Age at which an entry may make room for a new one. Younger ones stay: what was submitted first is dispatched first,
/// so dropping the oldest for the newest would drop just what is needed next.
const STALE_AFTER_MS: u64 = 30_000;

/// A waiting task.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    /// As submitted.
    pub(super) fixed: Fixed,
    /// Its queue.
    pub(super) queue: QueueKey,
    /// Its latest record, when there was one after the submit.
    pub(super) moving: Option<Arc<Moving>>,
}

/// The cache.
#[derive(Debug)]
pub(super) struct Cache {
    entries: HashMap<TaskId, Waiting>,
    /// In the order of their coming; may name some that are gone.
    order: VecDeque<(TaskId, u64)>,
    bytes: usize,
    bytes_max: usize,
}

impl Waiting {
    /// When the next attempt is due, or was due; milliseconds since 1970.
    pub(super) fn due_at(&self, id: TaskId) -> u64 {
        match &self.moving {
            Some(moving) => moving.not_before,
            None => self.fixed.not_before().max(id.unix_ms()),
        }
    }
}

impl Cache {
    /// A cache of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Keeps a task if there is room, or can be made by dropping old ones. Not one that is due only when it would be
    /// old: a backlog of delayed tasks must not crowd out those that run now.
    pub(super) fn insert(&mut self, id: TaskId, waiting: Waiting, now: u64) {
        if waiting.due_at(id) > now + STALE_AFTER_MS {
            return;
        }
        let size = size_of_entry(&waiting);
        while self.bytes + size > self.bytes_max {
            match self.order.front() {
                Some((oldest, since)) if !self.entries.contains_key(oldest) || since + STALE_AFTER_MS <= now => {
                    let oldest = *oldest;
                    self.order.pop_front();
                    self.take(oldest);
                }
                _ => return,
            }
        }
        self.bytes += size;
        if let Some(replaced) = self.entries.insert(id, waiting) {
            self.bytes -= size_of_entry(&replaced);
        }
        self.order.push_back((id, now));
        self.trim_order();
    }

    /// Takes a task out.
    pub(super) fn take(&mut self, id: TaskId) -> Option<Waiting> {
        let taken = self.entries.remove(&id)?;
        self.bytes -= size_of_entry(&taken);
        Some(taken)
    }

    /// Drops tasks.
    pub(super) fn retain(&mut self, stays: impl Fn(TaskId) -> bool) {
        let bytes = &mut self.bytes;
        self.entries.retain(|id, waiting| {
            let stays = stays(*id);
            if !stays {
                *bytes -= size_of_entry(waiting);
            }
            stays
        });
        self.trim_order();
    }

    /// A task that is kept.
    pub(super) fn get(&self, id: TaskId) -> Option<&Waiting> {
        self.entries.get(&id)
    }

    /// Forgets names of entries that are gone, before they outnumber the others.
    fn trim_order(&mut self) {
        if self.order.len() > 64 + self.entries.len() * 2 {
            self.order.retain(|(id, _)| self.entries.contains_key(id));
        }
    }
}

fn size_of_entry(waiting: &Waiting) -> usize {
    let failures = waiting.moving.as_ref().map_or(0, |moving| FAILURE_BYTES * (1 + moving.failures.len()));
    waiting.fixed.len() + failures + ENTRY_OVERHEAD
}

#[cfg(test)]
mod tests {
    use mcp_engine::QueueKey;
    use mcp_proto::{TaskId, scheduler::v1::TaskSpec};

    use super::{Cache, STALE_AFTER_MS, Waiting, size_of_entry};
    use crate::store::Fixed;

    fn waiting() -> Waiting {
        let fixed = Fixed::encode(TaskSpec::default(), 0, 0, "", None).0;
        Waiting { fixed, queue: QueueKey { namespace: "n".into(), queue: "q".into() }, moving: None }
    }

    fn id(n: usize) -> TaskId {
        TaskId::from_u128(n as u128)
    }

    #[test]
    fn a_full_cache_keeps_what_is_dispatched_next_until_it_is_stale() {
        let mut cache = Cache::new(size_of_entry(&waiting()) * 3);
        (0..5).for_each(|n| cache.insert(id(n), waiting(), 0));
        let kept = |cache: &Cache| (0..10).filter(|n| cache.get(id(*n)).is_some()).collect::<Vec<_>>();
        assert_eq!(kept(&cache), [0, 1, 2]);
        assert!(cache.take(id(0)).is_some() && cache.take(id(0)).is_none());
        cache.insert(id(5), waiting(), 1);
        cache.insert(id(6), waiting(), 1);
        assert_eq!(kept(&cache), [1, 2, 5]);
        cache.insert(id(7), waiting(), STALE_AFTER_MS);
        assert_eq!(kept(&cache), [2, 5, 7]);
    }

    #[test]
    fn a_task_that_is_due_much_later_takes_no_room() {
        let mut cache = Cache::new(1 << 20);
        let delayed =
            |not_before| Waiting { fixed: Fixed::encode(TaskSpec::default(), 0, not_before, "", None).0, ..waiting() };
        cache.insert(id(1), delayed(1_000 + STALE_AFTER_MS), 1_000);
        cache.insert(id(2), delayed(1_001 + STALE_AFTER_MS), 1_000);
        assert!(cache.get(id(1)).is_some() && cache.get(id(2)).is_none());
        assert_eq!(cache.order.len(), 1);
    }

    #[test]
    fn names_of_what_is_gone_are_forgotten() {
        let mut cache = Cache::new(1 << 20);
        for n in 0..10_000 {
            cache.insert(id(n), waiting(), 0);
            if n != 0 {
                cache.take(id(n));
            }
        }
        assert!(cache.order.len() < 100, "{}", cache.order.len());
        assert_eq!(cache.bytes, size_of_entry(&waiting()));
    }
}
