//! Storage with small stable numbers as keys, reused after removal.

/// A slot's number.
pub(crate) type Slot = u32;

/// Values under small numbers. Every operation is O(1); a number is used again after its value was removed.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<Slot>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Stores `value` and gives its number.
    pub(crate) fn insert(&mut self, value: T) -> Slot {
        if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = Some(value);
            return slot;
        }
        let slot = Slot::try_from(self.entries.len()).expect("limits keep every table far below 2^32 entries");
        self.entries.push(Some(value));
        slot
    }

    /// Takes a value out. The slot must be in use.
    pub(crate) fn remove(&mut self, slot: Slot) -> T {
        let value = self.entries[slot as usize].take().expect("a slot is removed once");
        self.free.push(slot);
        value
    }

    /// The value in a slot that is in use.
    pub(crate) fn at(&self, slot: Slot) -> &T {
        self.entries[slot as usize].as_ref().expect("references to a slot go before it does")
    }

    /// The value in a slot that is in use.
    pub(crate) fn at_mut(&mut self, slot: Slot) -> &mut T {
        self.entries[slot as usize].as_mut().expect("references to a slot go before it does")
    }

    /// The value in a slot, if it is in use.
    pub(crate) fn get(&self, slot: Slot) -> Option<&T> {
        self.entries.get(slot as usize).and_then(Option::as_ref)
    }

    /// Values in slots.
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Every value, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &T)> {
        (0..).zip(&self.entries).filter_map(|(slot, entry)| entry.as_ref().map(|value| (slot, value)))
    }

    /// Every value, by slot.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut T)> {
        (0..).zip(&mut self.entries).filter_map(|(slot, entry)| entry.as_mut().map(|value| (slot, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_slot_is_used_again_after_its_value_was_removed() {
        let mut slab = Slab::default();
        let (a, b) = (slab.insert("a"), slab.insert("b"));
        assert_eq!(slab.remove(a), "a");
        assert_eq!((slab.len(), slab.get(a)), (1, None));
        let c = slab.insert("c");
        assert_eq!((c, *slab.at(c), *slab.at(b)), (a, "c", "b"));
        assert_eq!(slab.iter().collect::<Vec<_>>(), [(a, &"c"), (b, &"b")]);
    }
}
