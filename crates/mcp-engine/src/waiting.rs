//! Tasks that wait in one order.
//!
//! Most come in their order, for it is that of their submit times. Those stand in a row of blocks: taken in and out at
//! its ends in a few nanoseconds, in memory that is read from front to back and takes fewer bytes than a tree. The others,
//! such as those of a higher priority or those that come back, are in a tree beside it.

use std::collections::{BTreeMap, VecDeque};

use crate::{lanes::Place, slab::Slot};

/// Tasks in a block. A row of few tasks has one that is smaller.
const BLOCK_LEN: usize = 64;

/// Tasks that the first block of a row has room for at first; one of this size is kept when the row becomes empty.
const FIRST_CAPACITY: usize = 4;

/// Some neighbours of the row; none only when the row is empty.
type Block = Vec<(Place, Slot)>;

/// Tasks by their places.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    row: VecDeque<Block>,
    /// How many of the first block are gone.
    gone: usize,
    row_len: usize,
    others: BTreeMap<Place, Slot>,
}

impl Waiting {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.row_len + self.others.len()
    }

    /// True when there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.row_len == 0 && self.others.is_empty()
    }

    /// The one that comes first.
    pub(crate) fn first(&self) -> Option<(Place, Slot)> {
        let other = self.others.first_key_value().map(|(place, slot)| (*place, *slot));
        match (self.row_first(), other) {
            (Some(first), Some(other)) => Some(first.min(other)),
            (first, other) => first.or(other),
        }
    }

    fn row_first(&self) -> Option<(Place, Slot)> {
        self.row.front()?.get(self.gone).copied()
    }

    fn row_last(&self) -> Option<Place> {
        self.row.back().and_then(|block| block.last()).map(|(place, _)| *place)
    }

    /// Adds a task; no other one has its place.
    pub(crate) fn insert(&mut self, place: Place, slot: Slot) {
        if self.row_last().is_some_and(|last| place < last) {
            self.others.insert(place, slot);
            return;
        }
        self.row_len += 1;
        let is_first = self.row.is_empty();
        match self.row.back_mut().filter(|block| block.len() < BLOCK_LEN) {
            Some(block) => block.push((place, slot)),
            None => {
                let mut block = Block::with_capacity(if is_first { FIRST_CAPACITY } else { BLOCK_LEN });
                block.push((place, slot));
                self.row.push_back(block);
            }
        }
    }

    /// Takes out the one that comes first.
    pub(crate) fn pop_first(&mut self) -> Option<(Place, Slot)> {
        let first = self.row_first();
        let is_other = |(other, _): (&Place, &Slot)| first.is_none_or(|(place, _)| *other < place);
        if self.others.first_key_value().is_some_and(is_other) {
            return self.others.pop_first();
        }
        let first = first?;
        self.row_len -= 1;
        self.gone += 1;
        if self.gone == self.row[0].len() {
            self.gone = 0;
            match self.row.len() {
                1 if self.row[0].capacity() <= FIRST_CAPACITY => self.row[0].clear(),
                _ => drop(self.row.pop_front()),
            }
        }
        Some(first)
    }

    /// Takes out the one that has this place, if there is one.
    pub(crate) fn remove(&mut self, place: Place) -> Option<Slot> {
        if let Some(slot) = self.others.remove(&place) {
            return Some(slot);
        }
        let (at, within) = self.find(place)?;
        let block = &mut self.row[at];
        let (_, slot) = block.remove(within);
        self.row_len -= 1;
        if block.len() == if at == 0 { self.gone } else { 0 } {
            self.row.remove(at);
            self.gone = if at == 0 { 0 } else { self.gone };
        } else if block.len() < block.capacity() / 4 {
            // Taking out many here and there must not leave blocks behind that hold next to nothing.
            block.shrink_to(block.capacity() / 2);
        }
        Some(slot)
    }

    /// Where in the row a place is: the block, and the position in it.
    fn find(&self, place: Place) -> Option<(usize, usize)> {
        let at = self.row.partition_point(|block| block.last().is_some_and(|(last, _)| *last < place));
        let gone = if at == 0 { self.gone } else { 0 };
        let left = self.row.get(at)?.get(gone..)?;
        let within = left.binary_search_by_key(&place, |(place, _)| *place).ok()?;
        Some((at, gone + within))
    }

    /// The one that has this place, if there is one. For checks.
    pub(crate) fn get(&self, place: Place) -> Option<Slot> {
        let other = self.others.get(&place).copied();
        other.or_else(|| self.find(place).map(|(at, within)| self.row[at][within].1))
    }

    /// How many come before a place, counted up to a bit more than `most`.
    pub(crate) fn count_before(&self, place: Place, most: usize) -> usize {
        let mut count = self.others.range(..place).take(most + 1).count();
        for (at, block) in self.row.iter().enumerate() {
            let left = &block[if at == 0 { self.gone } else { 0 }..];
            let before = left.partition_point(|(other, _)| *other < place);
            count += before;
            if before < left.len() || count > most {
                break;
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{BLOCK_LEN, FIRST_CAPACITY, Waiting};
    use crate::{lanes::Place, retry::Random, slab::Slot, types::TaskId};

    fn place(rank: u64) -> Place {
        Place::new(i64::try_from(rank).unwrap(), TaskId(u128::from(rank)))
    }

    #[test]
    fn it_is_a_map_by_place_whatever_the_order_of_coming() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let (mut waiting, mut model) = (Waiting::default(), BTreeMap::new());
            let mut newest = 0;
            for step in 0..3_000_u64 {
                let among = |random: &mut Random, most: u64| random.next() % (most + 1);
                // First it grows, then it shrinks, so that blocks are filled and emptied.
                let grows = among(&mut random, 9) < if step < 1_500 { 7 } else { 3 };
                let some = place(among(&mut random, newest));
                match among(&mut random, 9) {
                    0..=1 if !grows => assert_eq!(waiting.remove(some), model.remove(&some)),
                    _ if !grows => assert_eq!(waiting.pop_first(), model.pop_first()),
                    0 if !model.contains_key(&some) => insert(&mut waiting, &mut model, some, step),
                    _ => {
                        newest += 1 + among(&mut random, 3);
                        insert(&mut waiting, &mut model, place(newest), step);
                    }
                }
                assert_eq!(waiting.first(), model.first_key_value().map(|(place, slot)| (*place, *slot)));
                assert_eq!((waiting.len(), waiting.is_empty()), (model.len(), model.is_empty()));
                assert_eq!(waiting.get(some), model.get(&some).copied());
                let before = model.range(..some).count();
                assert_eq!(waiting.count_before(some, usize::MAX - 1), before);
                assert_eq!(waiting.count_before(some, 3) > 3, before > 3);
            }
        }
    }

    fn insert(waiting: &mut Waiting, model: &mut BTreeMap<Place, Slot>, place: Place, step: u64) {
        let slot = Slot::try_from(step).unwrap();
        waiting.insert(place, slot);
        model.insert(place, slot);
    }

    #[test]
    fn what_is_taken_out_gives_its_memory_back() {
        let mut waiting = Waiting::default();
        let held = |waiting: &Waiting| waiting.row.iter().map(Vec::capacity).sum::<usize>();
        (0..100_000).for_each(|n| waiting.insert(place(n), 0));
        assert!(held(&waiting) < 100_000 + 2 * BLOCK_LEN);
        (0..100_000).filter(|n| n % 64 != 0).for_each(|n| assert!(waiting.remove(place(n)).is_some()));
        assert!(held(&waiting) < 16 * waiting.len(), "{} for {}", held(&waiting), waiting.len());
        while waiting.pop_first().is_some() {}
        assert!(held(&waiting) <= FIRST_CAPACITY);
    }
}
