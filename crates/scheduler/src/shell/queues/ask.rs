//! How everyone else asks the loop about queues.

use mcp_engine::QueueKey;

use super::{Place, QueueChange, QueueInfo, QueueList, QueueLoad, QueueRequest, list::Listing};
use crate::{
    error::Error,
    shell::{Handle, Home, request::Request},
};

impl Home {
    /// How a queue of this partition fares.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`].
    pub(crate) async fn queue(&self, queue: QueueKey) -> Result<QueueInfo, Error> {
        let place = Place { queue, partition: self.partition() };
        self.ask(|reply| Request::Queue(QueueRequest::Get(place, reply))).await
    }

    /// How busy a queue of this partition is.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`].
    pub(crate) async fn queue_load(&self, queue: QueueKey) -> Result<QueueLoad, Error> {
        let place = Place { queue, partition: self.partition() };
        self.ask(|reply| Request::Queue(QueueRequest::Load(place, reply))).await
    }

    /// Changes what is set for a queue of this partition. It holds from the answer on, across restarts. May be repeated.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`]: nothing was done; the store failed.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether it is changed.
    pub(crate) async fn change_queue(&self, queue: QueueKey, change: QueueChange) -> Result<QueueInfo, Error> {
        let place = Place { queue, partition: self.partition() };
        self.ask(|reply| Request::Queue(QueueRequest::Change(place, change, reply))).await
    }
}

impl Handle {
    /// The next queues of open partitions after one, by name.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`]: a partition is not open.
    pub(crate) async fn queues(
        &self,
        partitions: Vec<u16>,
        namespace: Option<String>,
        after: Option<QueueKey>,
    ) -> Result<QueueList, Error> {
        let listing = Listing { partitions, namespace, after };
        self.ask(|reply| Request::Queue(QueueRequest::List(listing, reply))).await
    }
}
