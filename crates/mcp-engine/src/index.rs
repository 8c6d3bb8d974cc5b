//! Slots by task id.
//!
//! Ids grow, and tasks end about in their order. So the ids are kept sorted, in blocks that are nearly full where they came in
//! their order: what is in use is close together in memory however many tasks wait, it never grows all at once, and an
//! id takes 21 bytes. (A hash table of the same size needs its cache lines from everywhere: with a million tasks waiting
//! the engine did half as many in a second.) An id that comes between others moves at most a block, and now and then
//! the list of blocks.

use std::collections::VecDeque;

use crate::{slab::Slot, types::TaskId};

/// Ids in a block.
const BLOCK_LEN: usize = 32;

/// Ids that stay in the last block when it is full and one comes a little late.
const LAST_LEN: usize = BLOCK_LEN - BLOCK_LEN / 8;

/// Two neighbours with so many ids together become one.
const MERGED_LEN: usize = BLOCK_LEN / 2;

/// An id by its halves: aligned to 8 bytes.
type Key = [u64; 2];

/// Where tasks are.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// For each block an id that is not above those in it, and above those in the blocks before it.
    fences: VecDeque<Key>,
    blocks: VecDeque<Box<Block>>,
    len: usize,
}

/// Some neighbours, at least one.
#[derive(Debug)]
struct Block {
    len: usize,
    keys: [Key; BLOCK_LEN],
    slots: [Slot; BLOCK_LEN],
}

impl Index {
    /// The slot of a task.
    pub(crate) fn find(&self, id: TaskId) -> Option<Slot> {
        let (at, within) = self.locate(id.halves())?;
        Some(self.blocks[at].slots[within])
    }

    fn locate(&self, key: Key) -> Option<(usize, usize)> {
        let at = self.fences.partition_point(|fence| *fence <= key).checked_sub(1)?;
        let within = self.blocks[at].search(key).ok()?;
        Some((at, within))
    }

    /// Adds a task; false when it is there already.
    pub(crate) fn insert(&mut self, id: TaskId, slot: Slot) -> bool {
        let key = id.halves();
        let Some(last) = self.blocks.len().checked_sub(1) else {
            self.add_block(0, Block::of(&[key], &[slot]));
            self.len = 1;
            return true;
        };
        let mut at = self.fences.partition_point(|fence| *fence <= key).saturating_sub(1);
        let Err(mut within) = self.blocks[at].search(key) else { return false };
        self.len += 1;
        if self.blocks[at].len == BLOCK_LEN {
            if at == last && within == BLOCK_LEN {
                self.add_block(at + 1, Block::of(&[key], &[slot]));
                return true;
            }
            let left = if at == last { LAST_LEN } else { BLOCK_LEN / 2 };
            let right = self.blocks[at].split_off(left);
            self.add_block(at + 1, right);
            if within > left {
                (at, within) = (at + 1, within - left);
            }
        }
        self.fences[at] = self.fences[at].min(key);
        self.blocks[at].insert(within, key, slot);
        true
    }

    fn add_block(&mut self, at: usize, block: Block) {
        self.fences.insert(at, block.keys[0]);
        self.blocks.insert(at, Box::new(block));
    }

    /// Takes a task out, if it is there.
    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Slot> {
        let (at, within) = self.locate(id.halves())?;
        self.len -= 1;
        let block = &mut self.blocks[at];
        let slot = block.remove(within);
        let left = block.len;
        if left == 0 {
            self.fences.remove(at);
            self.blocks.remove(at);
        } else if left <= MERGED_LEN / 2 {
            // Its neighbours may have become small before it did.
            self.merge(at);
            if let Some(before) = at.checked_sub(1) {
                self.merge(before);
            }
        }
        Some(slot)
    }

    /// Makes a block and the next one one, when both are small.
    fn merge(&mut self, at: usize) {
        let is_small = |next: &Block| self.blocks[at].len + next.len <= MERGED_LEN;
        if !self.blocks.get(at + 1).is_some_and(|next| is_small(next)) {
            return;
        }
        self.fences.remove(at + 1);
        if let Some(next) = self.blocks.remove(at + 1) {
            self.blocks[at].append(&next);
        }
    }

    /// Tasks in it. For checks.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

impl Block {
    fn of(keys: &[Key], slots: &[Slot]) -> Self {
        let mut block = Self { len: keys.len(), keys: [[0; 2]; BLOCK_LEN], slots: [0; BLOCK_LEN] };
        block.keys[..keys.len()].copy_from_slice(keys);
        block.slots[..slots.len()].copy_from_slice(slots);
        block
    }

    fn search(&self, key: Key) -> Result<usize, usize> {
        self.keys[..self.len].binary_search(&key)
    }

    fn insert(&mut self, at: usize, key: Key, slot: Slot) {
        self.keys.copy_within(at..self.len, at + 1);
        self.slots.copy_within(at..self.len, at + 1);
        (self.keys[at], self.slots[at]) = (key, slot);
        self.len += 1;
    }

    fn remove(&mut self, at: usize) -> Slot {
        let slot = self.slots[at];
        self.keys.copy_within(at + 1..self.len, at);
        self.slots.copy_within(at + 1..self.len, at);
        self.len -= 1;
        slot
    }

    fn split_off(&mut self, at: usize) -> Self {
        let right = Self::of(&self.keys[at..self.len], &self.slots[at..self.len]);
        self.len = at;
        right
    }

    fn append(&mut self, next: &Self) {
        let len = self.len + next.len;
        self.keys[self.len..len].copy_from_slice(&next.keys[..next.len]);
        self.slots[self.len..len].copy_from_slice(&next.slots[..next.len]);
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{BLOCK_LEN, Index, MERGED_LEN};
    use crate::{retry::Random, slab::Slot, types::TaskId};

    fn check(index: &Index, model: &BTreeMap<TaskId, Slot>) {
        assert_eq!((index.len(), index.fences.len()), (model.len(), index.blocks.len()));
        let keys: Vec<_> = index.blocks.iter().flat_map(|block| &block.keys[..block.len]).collect();
        assert!(keys.is_sorted() && keys.len() == model.len());
        for (at, (fence, block)) in index.fences.iter().zip(&index.blocks).enumerate() {
            assert!(block.len > 0 && *fence <= block.keys[0]);
            assert!(at == 0 || *fence > index.blocks[at - 1].keys[index.blocks[at - 1].len - 1]);
        }
        assert!(model.iter().all(|(id, slot)| index.find(*id) == Some(*slot)));
    }

    #[test]
    fn it_is_a_map_by_id_whatever_the_order_of_coming() {
        for seed in 0..20 {
            let (mut index, mut model, mut random) = (Index::default(), BTreeMap::new(), Random::new(seed));
            for slot in 0..4_000_u32 {
                // About in their order, as ids are; in some runs in none at all.
                let base = if seed % 4 == 0 { 0 } else { u128::from(slot) };
                let id = TaskId(((base + u128::from(random.next() % 300)) << 64) | u128::from(random.next() % 2));
                let is_new = !model.contains_key(&id);
                assert_eq!(index.find(id), model.get(&id).copied());
                if !is_new || random.next().is_multiple_of(3) {
                    assert_eq!(index.remove(id), model.remove(&id));
                } else {
                    assert!(index.insert(id, slot) && !index.insert(id, slot));
                    model.insert(id, slot);
                }
                if slot.is_multiple_of(16)
                    && let Some((first, slot)) = model.pop_first()
                {
                    assert_eq!(index.remove(first), Some(slot));
                }
            }
            check(&index, &model);
            for id in model.keys().copied().collect::<Vec<_>>().into_iter().rev().step_by(2) {
                assert_eq!(index.remove(id), model.remove(&id));
            }
            check(&index, &model);
        }
    }

    #[test]
    fn blocks_are_full_where_ids_come_about_in_their_order_and_merge_when_they_are_not() {
        let (mut index, mut random) = (Index::default(), Random::new(1));
        let ids: Vec<_> =
            (0..32_000_u32).map(|n| TaskId((u128::from(n / 8) << 64) | u128::from(random.next()))).collect();
        ids.iter().zip(0..).for_each(|(id, slot)| assert!(index.insert(*id, slot)));
        assert!(index.blocks.len() < 32_000 / BLOCK_LEN * 4 / 3, "{}", index.blocks.len());
        for (_, id) in ids.iter().enumerate().filter(|(n, _)| n % 20 != 0) {
            assert!(index.remove(*id).is_some());
        }
        assert!(index.blocks.len() < 3 * 1_600 / (MERGED_LEN / 2), "{}", index.blocks.len());
    }
}
