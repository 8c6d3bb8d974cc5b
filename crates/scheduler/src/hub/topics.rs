//! Following single tasks.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::{DashMap, Entry};
use mcp_proto::TaskId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::error::Error;

/// What followers of a task see change.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Topic {
    /// The task is final.
    pub(crate) ended: bool,
    /// Counts up whenever its log grew.
    pub(crate) logged: u64,
}

#[derive(Debug, Default)]
struct Shared {
    topics: DashMap<TaskId, watch::Sender<Topic>>,
    /// Topics there are; lets the shell skip the look-up when nobody follows anything.
    len: AtomicUsize,
}

/// The tasks that someone follows.
#[derive(Debug)]
pub(super) struct Topics {
    shared: Arc<Shared>,
    permits: Arc<Semaphore>,
}

impl Topics {
    pub(super) fn new(followers_max: usize) -> Self {
        Self { shared: Arc::default(), permits: Arc::new(Semaphore::new(followers_max)) }
    }

    pub(super) fn subscribe(&self, id: TaskId) -> Result<TopicSubscription, Error> {
        let permit = Arc::clone(&self.permits)
            .try_acquire_owned()
            .map_err(|_| Error::Overloaded { what: "calls that wait for tasks" })?;
        let changes = match self.shared.topics.entry(id) {
            Entry::Occupied(entry) => entry.get().subscribe(),
            Entry::Vacant(entry) => {
                self.shared.len.fetch_add(1, Ordering::SeqCst);
                let (sender, changes) = watch::channel(Topic::default());
                entry.insert(sender);
                changes
            }
        };
        Ok(TopicSubscription { id, changes, shared: Arc::clone(&self.shared), _permit: permit })
    }

    pub(super) fn tell(&self, ids: &[TaskId], change: impl Fn(&mut Topic)) {
        if self.shared.len.load(Ordering::SeqCst) == 0 {
            return;
        }
        for id in ids {
            if let Some(topic) = self.shared.topics.get(id) {
                topic.send_modify(&change);
            }
        }
    }
}

/// One follower of one task.
#[derive(Debug)]
pub(crate) struct TopicSubscription {
    id: TaskId,
    changes: watch::Receiver<Topic>,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl TopicSubscription {
    /// Waits until the task is final.
    pub(crate) async fn ended(&mut self) {
        // The sender lives as long as this subscription is registered.
        let _ended = self.changes.wait_for(|topic| topic.ended).await;
    }

    /// Waits for the next change since the last call.
    pub(crate) async fn changed(&mut self) {
        let _changed = self.changes.changed().await;
    }
}

impl Drop for TopicSubscription {
    fn drop(&mut self) {
        if let Entry::Occupied(entry) = self.shared.topics.entry(self.id)
            && entry.get().receiver_count() <= 1
        {
            entry.remove();
            self.shared.len.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::TaskId;

    use super::Topics;

    #[tokio::test]
    async fn followers_hear_of_their_task_and_leave_nothing_behind() {
        let topics = Topics::new(3);
        let (one, two) = (TaskId::from_u128(1), TaskId::from_u128(2));
        let mut first = topics.subscribe(one).unwrap();
        let mut second = topics.subscribe(one).unwrap();
        let other = topics.subscribe(two).unwrap();
        assert!(topics.subscribe(one).is_err(), "the number of followers is bounded");
        topics.tell(&[one], |topic| topic.ended = true);
        first.ended().await;
        second.ended().await;
        assert!(!other.changes.borrow().ended);
        drop(first);
        assert!(topics.shared.topics.contains_key(&one));
        drop((second, other));
        assert!(topics.shared.topics.is_empty());
        topics.subscribe(one).unwrap();
    }
}
