//! The keys of queues: what counts together under a limit per key.
//!
//! A key is known while it has an unfinished task. If its rate is limited it is remembered until its token bucket is
//! full again, so that a key cannot get a full one by going away for a moment; of a key that nothing is remembered of,
//! the bucket counts from when the rule was set or the partition was opened. Both are exact, so a rate holds always.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    limits::{Block, Limit, QueueLimits},
    rate::TokenBucket,
    slab::{Slab, Slot},
    types::{Dispatch, Millis},
};

/// Keys without tasks that are remembered for their token bucket, in all.
pub(crate) const IDLE_MAX: usize = 100_000;

/// Keys that are forgotten, if their bucket is full, for each one that becomes idle.
const FORGET_PER_IDLE: usize = 2;

/// The tasks of a queue that have one key.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) queue: Slot,
    pub(crate) name: Arc<str>,
    /// Unfinished tasks.
    pub(crate) tasks: usize,
    /// Those that run.
    pub(crate) running: usize,
    /// Those that may run: kept back until the grace after a change of owners is over.
    pub(crate) held: usize,
    /// Where they wait.
    pub(crate) lanes: Vec<Slot>,
    pub(crate) limit: Limit,
}

impl Party {
    /// What keeps the key shut under the rules of its queue.
    pub(crate) fn blocks(&self, limits: &QueueLimits, now: Millis) -> impl Iterator<Item = Block> {
        let occupied = self.running + self.held;
        self.limit.blocks(Dispatch::Running, limits.rules.key_concurrency_max, occupied, now)
    }
}

/// The keys of all queues.
#[derive(Debug, Default)]
pub(crate) struct Parties {
    slots: BTreeMap<(Slot, Arc<str>), Slot>,
    entries: Slab<Party>,
    /// Those without tasks, by the time when their token bucket is full.
    idle: BTreeSet<(Millis, Slot)>,
}

impl Parties {
    /// Counts one more task of a key.
    pub(crate) fn add_task(&mut self, queue: Slot, name: &Arc<str>, limits: Option<&QueueLimits>) -> Slot {
        let key = (queue, Arc::clone(name));
        if let Some(&slot) = self.slots.get(&key) {
            let party = self.entries.at_mut(slot);
            party.tasks += 1;
            if party.tasks == 1 {
                remove_idle(&mut self.idle, slot, party.limit.full_at());
            }
            return slot;
        }
        let rate = limits.and_then(|limits| {
            let rate = limits.rules.key_rate?;
            Some(TokenBucket::empty(rate, limits.keys_since))
        });
        let limit = Limit::new(rate);
        let name = Arc::clone(name);
        let slot = self.entries.insert(Party { queue, name, tasks: 1, running: 0, held: 0, lanes: Vec::new(), limit });
        self.slots.insert(key, slot);
        slot
    }

    /// Counts one task less; the key may be forgotten. Gives the queue whose keys that nothing is remembered of count
    /// from `now` on, because there are too many to remember.
    pub(crate) fn remove_task(&mut self, slot: Slot, now: Millis) -> Option<Slot> {
        let party = self.entries.at_mut(slot);
        party.tasks -= 1;
        if party.tasks > 0 {
            return None;
        }
        debug_assert!(party.lanes.is_empty() && party.limit.wake.is_none(), "an idle key waits for something");
        match party.limit.full_at().filter(|full_at| *full_at > now) {
            None => _ = self.forget(slot),
            Some(full_at) => _ = self.idle.insert((full_at, slot)),
        }
        for _ in 0..FORGET_PER_IDLE {
            let &(full_at, idle) = self.idle.first()?;
            if full_at > now {
                break;
            }
            self.idle.remove(&(full_at, idle));
            self.forget(idle);
        }
        if self.idle.len() <= IDLE_MAX {
            return None;
        }
        let (_, oldest) = self.idle.pop_first()?;
        Some(self.forget(oldest))
    }

    fn forget(&mut self, slot: Slot) -> Slot {
        let party = self.entries.remove(slot);
        self.slots.remove(&(party.queue, party.name));
        party.queue
    }

    /// The keys of a queue.
    pub(crate) fn of_queue(&self, queue: Slot) -> Vec<Slot> {
        let from = (queue, Arc::from(""));
        self.slots.range(from..).take_while(|((of, _), _)| *of == queue).map(|(_, slot)| *slot).collect()
    }

    /// Forgets the keys of a queue that have no tasks.
    pub(crate) fn forget_idle(&mut self, queue: Slot) {
        for slot in self.of_queue(queue) {
            let party = self.entries.at(slot);
            if party.tasks == 0 {
                remove_idle(&mut self.idle, slot, party.limit.full_at());
                self.forget(slot);
            }
        }
    }

    /// Changes the rate of a key, wherever it stands among the idle ones.
    pub(crate) fn set_rate(&mut self, slot: Slot, change: impl FnOnce(&mut Limit)) {
        let party = self.entries.at_mut(slot);
        if party.tasks == 0 {
            remove_idle(&mut self.idle, slot, party.limit.full_at());
        }
        change(&mut party.limit);
        if party.tasks == 0 {
            self.idle.extend(party.limit.full_at().map(|full_at| (full_at, slot)));
        }
    }

    /// The key in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &Party {
        self.entries.at(slot)
    }

    /// The key in a slot that is in use.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut Party {
        self.entries.at_mut(slot)
    }

    /// The key in a slot, if there is one.
    pub(crate) fn get(&self, slot: Slot) -> Option<&Party> {
        self.entries.get(slot)
    }

    /// Every key, by slot. Panics when the orders disagree.
    pub(crate) fn check(&self) -> impl Iterator<Item = (Slot, &Party)> {
        assert_eq!(self.slots.len(), self.entries.len(), "every key is found by its name");
        let idle = self.entries.iter().filter(|(_, party)| party.tasks == 0).count();
        assert_eq!(self.idle.len(), idle, "keys without tasks are idle");
        assert!(idle <= IDLE_MAX, "the number of keys without tasks is bounded");
        self.entries.iter().inspect(|(slot, party)| {
            let idle = party.limit.full_at().is_some_and(|full_at| self.idle.contains(&(full_at, *slot)));
            assert_eq!(idle, party.tasks == 0, "a key without tasks is forgotten in time");
        })
    }
}

fn remove_idle(idle: &mut BTreeSet<(Millis, Slot)>, slot: Slot, full_at: Option<Millis>) {
    if let Some(full_at) = full_at {
        idle.remove(&(full_at, slot));
    }
}
