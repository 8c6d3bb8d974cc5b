//! The names under which unfinished tasks are unique.

use std::{collections::BTreeMap, sync::Arc};

use crate::slab::Slot;

/// A name within a queue.
type Name = (Slot, Arc<str>);

/// Which task has which name. A name goes with its task, in one step.
#[derive(Debug, Default)]
pub(crate) struct Uniques {
    by_name: BTreeMap<Name, Slot>,
    by_task: BTreeMap<Slot, Name>,
}

impl Uniques {
    /// The task that has a name.
    pub(crate) fn find(&self, queue: Slot, name: &Arc<str>) -> Option<Slot> {
        self.by_name.get(&(queue, Arc::clone(name))).copied()
    }

    /// Gives a name to a task; false when another one has it.
    pub(crate) fn insert(&mut self, queue: Slot, name: Arc<str>, task: Slot) -> bool {
        let name = (queue, name);
        if self.by_name.contains_key(&name) {
            return false;
        }
        self.by_name.insert(name.clone(), task);
        self.by_task.insert(task, name);
        true
    }

    /// Takes a task's name, if it has one.
    pub(crate) fn remove(&mut self, task: Slot) {
        if let Some(name) = self.by_task.remove(&task) {
            self.by_name.remove(&name);
        }
    }

    /// Tasks with names, and the queues of the names. Panics when the two orders disagree.
    pub(crate) fn check(&self) -> impl Iterator<Item = (Slot, Slot)> {
        assert_eq!(self.by_name.len(), self.by_task.len(), "every name has one task");
        self.by_task.iter().map(|(task, name)| {
            assert_eq!(self.by_name.get(name), Some(task), "a name leads to its task");
            (*task, name.0)
        })
    }
}
