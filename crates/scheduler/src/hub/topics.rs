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
    /// Counts up whenever its partition left this replica.
    pub(crate) moved: u64,
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
        let moved = changes.borrow().moved;
        Ok(TopicSubscription { id, changes, moved, shared: Arc::clone(&self.shared), _permit: permit })
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

impl Topics {
    /// Changes every topic whose task fits.
    pub(super) fn tell_where(&self, fits: impl Fn(TaskId) -> bool, change: impl Fn(&mut Topic)) {
        for topic in self.shared.topics.iter().filter(|topic| fits(*topic.key())) {
            topic.value().send_modify(&change);
        }
    }
}

/// What a follower hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The task is final, or its log grew.
    News,
    /// Its partition left this replica: look at its next owner's.
    Moved,
}

/// One follower of one task.
#[derive(Debug)]
pub(crate) struct TopicSubscription {
    id: TaskId,
    changes: watch::Receiver<Topic>,
    /// As it was when the subscription began.
    moved: u64,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl TopicSubscription {
    /// Waits until the task is final, or its partition has left this replica since the subscription began.
    pub(crate) async fn ended(&mut self) -> Heard {
        let moved = self.moved;
        // The sender lives as long as this subscription is registered.
        match self.changes.wait_for(|topic| topic.ended || topic.moved != moved).await {
            Ok(topic) if !topic.ended => Heard::Moved,
            _ => Heard::News,
        }
    }

    /// Waits for the next change since the last call.
    pub(crate) async fn changed(&mut self) -> Heard {
        let _changed = self.changes.changed().await;
        if self.changes.borrow().moved == self.moved { Heard::News } else { Heard::Moved }
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

    use super::{Heard, Topics};

    #[tokio::test]
    async fn followers_hear_of_their_task_and_leave_nothing_behind() {
        let topics = Topics::new(4);
        let (one, two) = (TaskId::from_u128(1), TaskId::from_u128(2));
        let mut first = topics.subscribe(one).unwrap();
        let mut second = topics.subscribe(one).unwrap();
        let other = topics.subscribe(two).unwrap();
        let fourth = topics.subscribe(two).unwrap();
        assert!(topics.subscribe(one).is_err(), "the number of followers is bounded");
        drop(fourth);
        topics.tell(&[one], |topic| topic.ended = true);
        assert_eq!(first.ended().await, Heard::News);
        second.ended().await;
        let mut moving = topics.subscribe(TaskId::from_u128(3)).unwrap();
        let (heard, ()) = tokio::join!(moving.ended(), async {
            topics.tell_where(|id| id == TaskId::from_u128(3), |topic| topic.moved += 1);
        });
        assert_eq!(heard, Heard::Moved);
        drop(moving);
        assert!(!other.changes.borrow().ended);
        drop(first);
        assert!(topics.shared.topics.contains_key(&one));
        drop((second, other));
        assert!(topics.shared.topics.is_empty());
        topics.subscribe(one).unwrap();
    }
}
