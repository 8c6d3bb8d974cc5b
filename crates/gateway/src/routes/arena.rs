//! Items that lie side by side and name each other by number. Thousands of them take few pieces of memory, which come and
//! go whole.

use std::{
    num::NonZeroU32,
    ops::{Index, IndexMut},
};

/// Names an item of one [`Arena`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(NonZeroU32);

/// Items by their [`Id`].
#[derive(Debug)]
pub(super) struct Arena<T>(Vec<T>);

impl Id {
    /// Names the item at a place.
    ///
    /// # Panics
    /// When there are 2^32 items.
    pub(super) fn at(place: usize) -> Self {
        let number = u32::try_from(place + 1).ok().and_then(NonZeroU32::new);
        Self(number.expect("there are far fewer routes and segments"))
    }

    /// The place of the item.
    pub(super) fn place(self) -> usize {
        self.0.get() as usize - 1
    }

    /// A number that no other item has.
    pub(super) fn number(self) -> u32 {
        self.0.get()
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Arena<T> {
    /// Adds an item.
    pub(super) fn push(&mut self, item: T) -> Id {
        self.0.push(item);
        Id::at(self.0.len() - 1)
    }

    /// Gives back the room for items to come.
    pub(super) fn shrink_to_fit(&mut self) {
        self.0.shrink_to_fit();
    }
}

impl<T> Index<Id> for Arena<T> {
    type Output = T;

    fn index(&self, id: Id) -> &T {
        &self.0[id.place()]
    }
}

impl<T> IndexMut<Id> for Arena<T> {
    fn index_mut(&mut self, id: Id) -> &mut T {
        &mut self.0[id.place()]
    }
}
