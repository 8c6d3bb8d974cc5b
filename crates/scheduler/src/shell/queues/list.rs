//! Queues one after the other: a list is taken from the loop in parts, so that a long one never holds it up.

use mcp_engine::QueueKey;

use super::QueueInfo;
use crate::{error::Error, shell::Shell};

/// Queues that one request looks at.
const LOOKS_MAX: usize = 256;

/// Which queues are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    /// Of these partitions, which must be open.
    pub(crate) partitions: Vec<u16>,
    /// Of this namespace; `None` means any.
    pub(crate) namespace: Option<String>,
    /// After this one.
    pub(crate) after: Option<QueueKey>,
}

/// Some queues, by name. May be short, even empty, and yet not be the end.
#[derive(Debug, Clone)]
pub(crate) struct QueueList {
    /// The queues.
    pub(crate) queues: Vec<QueueInfo>,
    /// After which one to go on; `None` at the end.
    pub(crate) next: Option<QueueKey>,
}

impl Shell {
    /// The next queues of a list.
    ///
    /// # Errors
    /// [`Error::NotOwner`]: one of the partitions is not open.
    pub(super) fn list_queues(&self, listing: &Listing) -> Result<QueueList, Error> {
        if !listing.partitions.iter().all(|partition| self.hosted.is_open(*partition)) {
            return Err(Error::NotOwner);
        }
        let namespace = listing.namespace.as_deref();
        let first = namespace.map(|namespace| QueueKey { namespace: namespace.into(), queue: "".into() });
        let page = self.engine.queues_after(listing.after.as_ref().or(first.as_ref()), LOOKS_MAX);
        let is_beyond = |queue: &QueueKey| namespace.is_some_and(|namespace| *queue.namespace > *namespace);
        let next = page.next.filter(|last| !is_beyond(last));
        let wanted = page.queues.into_iter().filter(|(queue, stats)| {
            listing.partitions.contains(&stats.partition.0)
                && namespace.is_none_or(|namespace| *queue.namespace == *namespace)
        });
        let info = |(queue, stats)| {
            let settings = self.queues.settings(&queue);
            QueueInfo { queue, settings, stats, now: self.now }
        };
        Ok(QueueList { queues: wanted.map(info).collect(), next })
    }
}
