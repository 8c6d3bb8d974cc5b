//! The idempotency keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    slab::Slot,
    types::{Millis, TaskId},
};

/// A key within a queue.
type Name = (Slot, Arc<str>);

/// What is remembered under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The task.
    pub(crate) task: TaskId,
    /// Hash of what was submitted.
    pub(crate) body_hash: u64,
    /// When it is forgotten.
    pub(crate) forget_at: Millis,
}

/// The keys that are remembered. Callers choose them, so they are ordered and not hashed: no choice makes them slow.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    by_name: BTreeMap<Name, Remembered>,
    by_time: BTreeSet<(Millis, Name)>,
}

impl Keys {
    /// What is remembered under a key at `now`.
    pub(crate) fn get(&self, queue: Slot, key: &Arc<str>, now: Millis) -> Option<Remembered> {
        let remembered = self.by_name.get(&(queue, Arc::clone(key)));
        remembered.copied().filter(|remembered| remembered.forget_at > now)
    }

    /// Remembers a key; true when it was not known at all, false when this replaces what was known.
    pub(crate) fn insert(&mut self, queue: Slot, key: Arc<str>, remembered: Remembered) -> bool {
        let name = (queue, key);
        let earlier = self.by_name.insert(name.clone(), remembered);
        if let Some(earlier) = earlier {
            self.by_time.remove(&(earlier.forget_at, name.clone()));
        }
        self.by_time.insert((remembered.forget_at, name));
        earlier.is_none()
    }

    /// Forgets the oldest key; gives its queue.
    pub(crate) fn forget_oldest(&mut self) -> Option<Slot> {
        let (_, name) = self.by_time.pop_first()?;
        self.by_name.remove(&name);
        Some(name.0)
    }

    /// Forgets the keys of a queue; gives how many those were.
    pub(crate) fn forget_queue(&mut self, queue: Slot) -> usize {
        let from = (queue, Arc::from(""));
        let names: Vec<Name> =
            self.by_name.range(from..).take_while(|((of, _), _)| *of == queue).map(|(name, _)| name.clone()).collect();
        for name in &names {
            if let Some(remembered) = self.by_name.remove(name) {
                self.by_time.remove(&(remembered.forget_at, name.clone()));
            }
        }
        names.len()
    }

    /// When the next one is to be forgotten.
    pub(crate) fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Keys that are remembered.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// The queue of every key. Panics when the two orders disagree.
    pub(crate) fn check(&self) -> impl Iterator<Item = Slot> {
        assert_eq!(self.by_name.len(), self.by_time.len(), "every key is in both orders");
        self.by_name.iter().map(|(name, remembered)| {
            assert!(self.by_time.contains(&(remembered.forget_at, name.clone())), "a key is forgotten in time");
            name.0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Keys, Remembered};
    use crate::types::TaskId;

    #[test]
    fn a_key_is_known_until_its_time_and_the_oldest_goes_first() {
        let mut keys = Keys::default();
        let of = |task, forget_at| Remembered { task: TaskId(task), body_hash: 0, forget_at };
        assert!(keys.insert(1, "a".into(), of(1, 20)));
        assert!(keys.insert(2, "a".into(), of(2, 10)));
        assert!(!keys.insert(1, "a".into(), of(3, 30)), "the later one replaces the earlier one");
        assert_eq!(keys.get(1, &"a".into(), 29), Some(of(3, 30)));
        assert_eq!(keys.get(1, &"a".into(), 30), None);
        assert_eq!((keys.len(), keys.next()), (2, Some(10)));
        assert!(keys.insert(3, "b".into(), of(4, 5)));
        assert_eq!((keys.forget_queue(3), keys.forget_queue(3)), (1, 0));
        assert_eq!([keys.forget_oldest(), keys.forget_oldest(), keys.forget_oldest()], [Some(2), Some(1), None]);
        assert_eq!((keys.len(), keys.next(), keys.check().count()), (0, None, 0));
    }
}
