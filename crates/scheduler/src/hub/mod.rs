//! Who wants to hear of changes: calls that wait for a task's end, followers of logs, watches.
//!
//! The shell tells the hub after each commit. The hub outlives a loop, so that who waits goes on waiting while the
//! partitions are opened again. It knows nothing of where changes come from.

mod topics;
mod watches;

use std::sync::Arc;

use mcp_proto::TaskId;

pub(crate) use topics::{Heard, TopicSubscription};
pub(crate) use watches::{Event, Watch};

use self::{topics::Topics, watches::Watches};
use crate::{config::Settings, error::Error, validate::WatchFilter};

/// The hub. Cheap to clone handles are made with [`Arc`].
#[derive(Debug)]
pub(crate) struct Hub {
    topics: Topics,
    watches: Watches,
}

impl Hub {
    /// A hub with the bounds of the settings.
    pub(crate) fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            topics: Topics::new(settings.waiters_max),
            watches: Watches::new(settings.watches_max, settings.watch_lag_max),
        })
    }

    /// Follows one task. What happens after this call is told; look at the task after it.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(crate) fn follow(self: &Arc<Self>, id: TaskId) -> Result<TopicSubscription, Error> {
        self.topics.subscribe(id)
    }

    /// Starts a watch.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(crate) fn watch(&self, filter: WatchFilter) -> Result<Watch, Error> {
        self.watches.open(filter)
    }

    /// True when someone watches, so that events are worth making.
    pub(crate) fn has_watches(&self) -> bool {
        !self.watches.is_empty()
    }

    /// Tells that tasks are final.
    pub(crate) fn ended(&self, ids: &[TaskId]) {
        self.topics.tell(ids, |topic| topic.ended = true);
    }

    /// Tells that tasks have new log lines.
    pub(crate) fn logged(&self, ids: &[TaskId]) {
        self.topics.tell(ids, |topic| topic.logged += 1);
    }

    /// Tells that tasks are another replica's from now on.
    pub(crate) fn moved(&self, are_gone: impl Fn(TaskId) -> bool) {
        self.topics.tell_where(are_gone, |topic| topic.moved += 1);
    }

    /// Tells the watches what became durable together.
    pub(crate) fn publish(&self, events: Vec<Event>) {
        if !events.is_empty() {
            self.watches.publish(&Arc::new(events));
        }
    }
}
