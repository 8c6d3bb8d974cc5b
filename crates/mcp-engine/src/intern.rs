//! Counted references to values that many tasks share.

use std::collections::BTreeMap;

use crate::slab::{Slab, Slot};

/// Each distinct value once, under a small number, for as long as something refers to it.
#[derive(Debug)]
pub(crate) struct Interner<K> {
    slots: BTreeMap<K, Slot>,
    entries: Slab<(K, usize)>,
}

impl<K> Default for Interner<K> {
    fn default() -> Self {
        Self { slots: BTreeMap::new(), entries: Slab::default() }
    }
}

impl<K: Ord + Clone> Interner<K> {
    /// The number of `key`, with one more reference to it.
    pub(crate) fn acquire(&mut self, key: &K) -> Slot {
        if let Some(&slot) = self.slots.get(key) {
            self.entries.at_mut(slot).1 += 1;
            return slot;
        }
        let slot = self.entries.insert((key.clone(), 1));
        self.slots.insert(key.clone(), slot);
        slot
    }

    /// One reference less; with the last one the value goes.
    pub(crate) fn release(&mut self, slot: Slot) {
        let (key, references) = self.entries.at_mut(slot);
        *references -= 1;
        if *references == 0 {
            self.slots.remove(key);
            self.entries.remove(slot);
        }
    }

    /// The value under a number that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &K {
        &self.entries.at(slot).0
    }

    /// Distinct values.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// References to all values.
    pub(crate) fn references(&self) -> usize {
        self.entries.iter().map(|(_, (_, references))| references).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Interner;

    #[test]
    fn a_value_goes_with_its_last_reference() {
        let mut interner = Interner::default();
        let a = interner.acquire(&"a");
        assert_eq!(interner.acquire(&"a"), a);
        assert_ne!(interner.acquire(&"b"), a);
        assert_eq!((interner.len(), interner.references(), *interner.at(a)), (2, 3, "a"));
        interner.release(a);
        assert_eq!(interner.len(), 2);
        interner.release(a);
        assert_eq!(interner.len(), 1);
    }
}
