//! A map from texts to items, in two pieces of memory however many texts there are.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::arena::Id;

/// Items by a text under a number: the same text under another number is another.
#[derive(Debug, Default)]
pub(super) struct Texts {
    entries: HashTable<Entry>,
    /// The texts of all entries.
    texts: String,
    hasher: RandomState,
}

/// A text, by where it lies, and its item.
#[derive(Debug, Clone, Copy)]
struct Entry {
    under: u32,
    at: u32,
    len: u32,
    item: Id,
}

impl Entry {
    fn text<'t>(&self, texts: &'t str) -> &'t str {
        let at = self.at as usize;
        &texts[at..at + self.len as usize]
    }
}

impl Texts {
    /// The item of a text.
    pub(super) fn get(&self, under: u32, text: &str) -> Option<Id> {
        let is_it = |entry: &Entry| entry.under == under && entry.text(&self.texts) == text;
        self.entries.find(self.hasher.hash_one((under, text)), is_it).map(|entry| entry.item)
    }

    /// The same; a text that is not there gets a `new` item.
    ///
    /// # Panics
    /// When the texts have 4 GiB together.
    pub(super) fn get_or_insert_with(&mut self, under: u32, text: &str, new: impl FnOnce() -> Id) -> Id {
        if let Some(item) = self.get(under, text) {
            return item;
        }
        let number = |len: usize| u32::try_from(len).expect("the texts of all routes are far shorter");
        let entry = Entry { under, at: number(self.texts.len()), len: number(text.len()), item: new() };
        self.texts.push_str(text);
        let Self { entries, texts, hasher } = self;
        let hash = |entry: &Entry| hasher.hash_one((entry.under, entry.text(texts)));
        entries.insert_unique(hash(&entry), entry, hash);
        entry.item
    }

    /// True when there is no text.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives back the room for texts to come.
    pub(super) fn shrink_to_fit(&mut self) {
        let Self { entries, texts, hasher } = self;
        texts.shrink_to_fit();
        entries.shrink_to_fit(|entry| hasher.hash_one((entry.under, entry.text(texts))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_under_its_number_only() {
        let (mut texts, mut count) = (Texts::default(), 0);
        let mut new = || {
            count += 1;
            Id::at(count)
        };
        assert!(texts.is_empty());
        for under in 0..50 {
            for text in ["", "a", "ab", "b"] {
                let item = texts.get_or_insert_with(under, text, &mut new);
                assert_eq!(texts.get_or_insert_with(under, text, || panic!("it is there")), item);
            }
        }
        texts.shrink_to_fit();
        assert_eq!((count, texts.is_empty()), (200, false));
        assert_eq!((texts.get(0, "ab"), texts.get(1, "ab")), (Some(Id::at(3)), Some(Id::at(7))));
        assert_eq!((texts.get(50, "a"), texts.get(0, "c")), (None, None));
    }
}
