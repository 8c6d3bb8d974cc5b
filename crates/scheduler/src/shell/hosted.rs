//! The partitions that the loop hosts.

use std::sync::Arc;

use mcp_proto::{TaskId, partition::of_home};

use crate::store::{self, PartitionStore};

/// A partition with a place in the loop.
#[derive(Debug)]
struct Place {
    store: Arc<dyn PartitionStore>,
    /// False while it is being loaded: then its tasks are in the engine, and rest.
    is_open: bool,
    /// The last owner left word of what may run.
    has_word: bool,
}

/// Which partitions are loaded or open. Looking one up costs a shift and an index.
#[derive(Debug)]
pub(super) struct Hosted {
    count: u16,
    places: Vec<Option<Place>>,
}

impl Hosted {
    /// None of `count`.
    pub(super) fn none_of(count: u16) -> Self {
        Self { count, places: (0..count).map(|_| None).collect() }
    }

    /// The partition of a task.
    pub(super) fn partition_of(&self, id: TaskId) -> u16 {
        of_home(id.home(), self.count)
    }

    /// True when the partition is open.
    pub(super) fn is_open(&self, partition: u16) -> bool {
        self.place(partition).is_some_and(|place| place.is_open)
    }

    /// True when the task's partition is open.
    pub(super) fn has(&self, id: TaskId) -> bool {
        self.is_open(self.partition_of(id))
    }

    /// True when the partition is being loaded.
    pub(super) fn is_loading(&self, partition: u16) -> bool {
        self.place(partition).is_some_and(|place| !place.is_open)
    }

    /// Where the records of a partition are.
    pub(super) fn store(&self, partition: u16) -> Option<&Arc<dyn PartitionStore>> {
        self.place(partition).map(|place| &place.store)
    }

    /// Where the records of a task are.
    ///
    /// # Errors
    /// The partition is not hosted: a fault of ours, since whoever asks has looked before.
    pub(super) fn store_of(&self, id: TaskId) -> Result<&Arc<dyn PartitionStore>, store::Error> {
        self.store(self.partition_of(id)).ok_or_else(|| store::Error::Unavailable {
            what: "read a task",
            source: "its partition is not open here".into(),
        })
    }

    /// Gives a partition a place; it is not open yet.
    pub(super) fn load(&mut self, partition: u16, store: Arc<dyn PartitionStore>) {
        if let Some(place) = self.places.get_mut(usize::from(partition)) {
            *place = Some(Place { store, is_open: false, has_word: false });
        }
    }

    /// Notes that the last owner of a partition left word of what may run.
    pub(super) fn note_word(&mut self, partition: u16) {
        if let Some(Some(place)) = self.places.get_mut(usize::from(partition)) {
            place.has_word = true;
        }
    }

    /// Opens a partition that was loaded. True when there is a word of its last owner, which must not be believed again.
    pub(super) fn open(&mut self, partition: u16) -> bool {
        let Some(Some(place)) = self.places.get_mut(usize::from(partition)) else { return false };
        place.is_open = true;
        std::mem::take(&mut place.has_word)
    }

    /// Takes a partition out. False when it had no place.
    pub(super) fn close(&mut self, partition: u16) -> bool {
        self.places.get_mut(usize::from(partition)).and_then(Option::take).is_some()
    }

    /// How many are open.
    pub(super) fn open_count(&self) -> usize {
        self.places.iter().flatten().filter(|place| place.is_open).count()
    }

    fn place(&self, partition: u16) -> Option<&Place> {
        self.places.get(usize::from(partition))?.as_ref()
    }
}
