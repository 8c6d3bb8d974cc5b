//! The items of a step that is active.

use std::collections::VecDeque;

use super::TaskId;
use crate::json::Json;

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    /// Not offered yet, or refused for now.
    Waiting,
    /// Offered to the shell, which has not answered yet.
    Offered,
    /// It has a task.
    Active,
    /// It has ended.
    Ended,
}

/// An item.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) state: SlotState,
    pub(super) task: Option<TaskId>,
    pub(super) output: Option<Json>,
}

/// The items of an active step and who is next.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) slots: Vec<Slot>,
    /// The first item that was never offered.
    next: u32,
    /// Items that were refused and may be offered again.
    again: VecDeque<u32>,
    /// Items that are offered or have a task.
    pub(super) flying: u32,
    /// Items that have ended.
    pub(super) ended: u32,
    /// The first item's error.
    pub(super) error: Option<Json>,
    /// Whether an item was cancelled.
    pub(super) is_cancelled: bool,
    /// Whether no further item starts.
    pub(super) is_closed: bool,
    /// Whether the step is in the run's queue of those with items to offer.
    pub(super) is_queued: bool,
}

impl Work {
    pub(super) fn new(items: usize) -> Self {
        Self {
            slots: vec![Slot { state: SlotState::Waiting, task: None, output: None }; items],
            next: 0,
            again: VecDeque::new(),
            flying: 0,
            ended: 0,
            error: None,
            is_cancelled: false,
            is_closed: false,
            is_queued: false,
        }
    }

    pub(super) fn slot(&mut self, item: u32) -> Option<&mut Slot> {
        self.slots.get_mut(item as usize)
    }

    /// The next item to offer.
    pub(super) fn pop(&mut self) -> Option<u32> {
        if self.is_closed {
            return None;
        }
        while let Some(item) = self.again.pop_front() {
            if self.slots[item as usize].state == SlotState::Waiting {
                return Some(item);
            }
        }
        while let Some(slot) = self.slots.get(self.next as usize) {
            self.next += 1;
            if slot.state == SlotState::Waiting {
                return Some(self.next - 1);
            }
        }
        None
    }

    /// Lets an item that waits be offered again, before all others.
    pub(super) fn push_again(&mut self, item: u32) {
        self.again.push_front(item);
    }

    /// Whether there may be an item to offer.
    pub(super) fn has_more(&self) -> bool {
        !self.is_closed && (!self.again.is_empty() || (self.next as usize) < self.slots.len())
    }

    /// Whether every item has ended, or will never start.
    pub(super) fn is_over(&self) -> bool {
        self.ended as usize == self.slots.len() || (self.is_closed && self.flying == 0)
    }
}
