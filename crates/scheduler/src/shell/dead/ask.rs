//! How everyone else asks the loop for replays and purges.

use bytes::Bytes;
use mcp_proto::TaskId;

use super::{DeadRequest, Replay};
use crate::{
    error::Error,
    shell::{Home, request::Request},
};

impl Home {
    /// Submits tasks of this partition again, each by itself: for each comes the new task, or why there is none. May be
    /// repeated: a task that was replayed before gives the task that it became.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`]: nothing was done; the store failed.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether the tasks are replayed.
    pub(crate) async fn replay(&self, tasks: Vec<Replay>) -> Result<Vec<Result<TaskId, Error>>, Error> {
        let bytes = tasks.iter().map(|task| task.new.len() + task.old.fixed.len()).sum();
        let (partition, _admitted) = (self.partition(), self.admit(bytes)?);
        self.ask(|reply| Request::Dead(DeadRequest::Replay { partition, tasks, _admitted, reply })).await
    }

    /// Takes letters of this partition off their lists. May be repeated.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`]: nothing was done; the store failed.
    pub(crate) async fn purge(&self, keys: Vec<Bytes>) -> Result<(), Error> {
        let partition = self.partition();
        self.ask(|reply| Request::Dead(DeadRequest::Purge { partition, keys, reply })).await
    }
}
