//! Watches: streams of changes, each with a bounded lag.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use mcp_proto::{
    TaskId,
    scheduler::v1::{TaskEvent, WatchTasksResponse},
};
use tokio::sync::{Notify, mpsc};

use crate::{error::Error, validate::WatchFilter};

/// A change of a task.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// The task.
    pub(crate) id: TaskId,
    /// For the wire.
    pub(crate) wire: TaskEvent,
}

/// Changes that became durable together.
type Group = Arc<Vec<Event>>;

/// A watch as the shell sees it.
#[derive(Debug)]
struct Slot {
    filter: WatchFilter,
    groups: mpsc::Sender<Group>,
    /// Changes that found no room since the watch was told last.
    dropped: AtomicU64,
    overflowed: Notify,
}

#[derive(Debug, Default)]
struct Shared {
    slots: RwLock<Vec<Arc<Slot>>>,
    len: AtomicUsize,
}

/// All watches.
#[derive(Debug)]
pub(super) struct Watches {
    shared: Arc<Shared>,
    watches_max: usize,
    lag_max: usize,
}

impl Watches {
    pub(super) fn new(watches_max: usize, lag_max: usize) -> Self {
        Self { shared: Arc::default(), watches_max, lag_max }
    }

    pub(super) fn open(&self, filter: WatchFilter) -> Result<Watch, Error> {
        let (sender, groups) = mpsc::channel(self.lag_max);
        let slot = Arc::new(Slot { filter, groups: sender, dropped: AtomicU64::new(0), overflowed: Notify::new() });
        let mut slots = self.shared.slots.write().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= self.watches_max {
            return Err(Error::Overloaded { what: "watches" });
        }
        slots.push(Arc::clone(&slot));
        self.shared.len.store(slots.len(), Ordering::SeqCst);
        Ok(Watch { slot, groups, shared: Arc::clone(&self.shared) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shared.len.load(Ordering::SeqCst) == 0
    }

    pub(super) fn publish(&self, group: &Group) {
        for slot in self.shared.slots.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if slot.groups.try_send(Arc::clone(group)).is_err() {
                let missed = group.iter().filter(|event| slot.wants(event)).count();
                slot.dropped.fetch_add(missed as u64, Ordering::SeqCst);
                slot.overflowed.notify_one();
            }
        }
    }
}

impl Slot {
    fn wants(&self, event: &Event) -> bool {
        self.filter.wants(event.id, &event.wire.namespace, &event.wire.queue)
    }
}

/// One watch. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    slot: Arc<Slot>,
    groups: mpsc::Receiver<Group>,
    shared: Arc<Shared>,
}

impl Watch {
    /// The next changes that are wanted, with the number of those that were dropped before them.
    ///
    /// # Cancellation
    /// Safe: nothing is lost.
    pub(crate) async fn next(&mut self) -> WatchTasksResponse {
        loop {
            // What was dropped came after all that still waits here, so it is told when nothing waits any more.
            let group = match self.groups.try_recv() {
                Ok(group) => group,
                Err(_) => {
                    let dropped = self.slot.dropped.swap(0, Ordering::SeqCst);
                    if dropped > 0 {
                        return WatchTasksResponse { events: Vec::new(), dropped };
                    }
                    tokio::select! {
                        biased;
                        group = self.groups.recv() => match group {
                            Some(group) => group,
                            None => std::future::pending().await, // the slot has the sender, and we have the slot
                        },
                        () = self.slot.overflowed.notified() => continue,
                    }
                }
            };
            let events: Vec<_> =
                group.iter().filter(|event| self.slot.wants(event)).map(|event| event.wire.clone()).collect();
            if !events.is_empty() {
                return WatchTasksResponse { events, dropped: 0 };
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut slots = self.shared.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|slot| !Arc::ptr_eq(slot, &self.slot));
        self.shared.len.store(slots.len(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mcp_proto::{TaskId, scheduler::v1::TaskEvent};

    use super::{Event, Watches};
    use crate::validate::WatchFilter;

    fn group(ids: &[u128]) -> Arc<Vec<Event>> {
        let event = |id: &u128| Event {
            id: TaskId::from_u128(*id),
            wire: TaskEvent { task_id: id.to_string(), queue: "q".to_owned(), ..TaskEvent::default() },
        };
        Arc::new(ids.iter().map(event).collect())
    }

    #[tokio::test]
    async fn a_slow_watch_hears_how_much_it_missed_in_the_right_place() {
        let watches = Watches::new(1, 2);
        let mut watch = watches.open(WatchFilter { queue: "q".to_owned(), ..WatchFilter::default() }).unwrap();
        assert!(watches.open(WatchFilter::default()).is_err(), "the number of watches is bounded");
        for ids in [&[1, 2][..], &[3], &[4, 5], &[6]] {
            watches.publish(&group(ids));
        }
        let mut seen = Vec::new();
        for _ in 0..3 {
            let response = watch.next().await;
            seen.push((response.events.len(), response.dropped));
        }
        assert_eq!(seen, [(2, 0), (1, 0), (0, 3)]);
        watches.publish(&group(&[7]));
        assert_eq!(watch.next().await.events[0].task_id, "7");
        drop(watch);
        assert!(watches.is_empty());
    }

    #[tokio::test]
    async fn a_watch_hears_only_of_what_it_named() {
        let watches = Watches::new(1, 4);
        let filter = WatchFilter { tasks: [TaskId::from_u128(2)].into(), ..WatchFilter::default() };
        let mut watch = watches.open(filter).unwrap();
        watches.publish(&group(&[1]));
        watches.publish(&group(&[1, 2, 3]));
        assert_eq!(watch.next().await.events.iter().map(|e| e.task_id.as_str()).collect::<Vec<_>>(), ["2"]);
    }
}
