//! How everyone else talks to a partition.

use std::sync::Arc;

use mcp_proto::TaskId;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::{
    live::LiveTasks,
    outbox::Outbox,
    request::{Accepted, Cancel, Hello, Input, Join, Joined, Reply, Request, SessionRef, Submit},
};
use crate::{error::Error, store::PartitionStore, validate::NewTask};

/// A partition that is open, or was: then every call fails with [`Error::NotOwner`].
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    inbox: mpsc::Sender<Request>,
    /// KiB of submits that may wait.
    submit_room: Arc<Semaphore>,
    /// KiB of workers' messages that may wait.
    input_room: Arc<Semaphore>,
    live: Arc<LiveTasks>,
    store: Arc<dyn PartitionStore>,
}

impl Handle {
    pub(super) fn new(
        inbox: mpsc::Sender<Request>,
        submit_room: Arc<Semaphore>,
        input_room: Arc<Semaphore>,
        live: Arc<LiveTasks>,
        store: Arc<dyn PartitionStore>,
    ) -> Self {
        Self { inbox, submit_room, input_room, live, store }
    }

    /// The running tasks.
    pub(crate) fn live(&self) -> &LiveTasks {
        &self.live
    }

    /// The running tasks, for a thread of its own.
    pub(crate) fn live_tasks(&self) -> &Arc<LiveTasks> {
        &self.live
    }

    /// What is on record.
    pub(crate) fn store(&self) -> &Arc<dyn PartitionStore> {
        &self.store
    }

    /// Stores tasks; when this returns they are durable, all or none.
    ///
    /// # Errors
    /// Refused, overloaded, or the partition is not open.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether the tasks are stored.
    pub(crate) async fn submit(&self, tasks: Vec<NewTask>, is_batch: bool) -> Result<Vec<Accepted>, Error> {
        let kib = kib(tasks.iter().map(NewTask::len).sum());
        let admitted = Arc::clone(&self.submit_room)
            .try_acquire_many_owned(kib)
            .map_err(|_| Error::Overloaded { what: "bytes of tasks that wait to be stored" })?;
        self.ask(|reply| Request::Submit(Submit { tasks, is_batch, _admitted: admitted, reply })).await
    }

    /// Asks for the end of a task; false when no unfinished task has this id.
    ///
    /// # Errors
    /// Overloaded, or the partition is not open.
    pub(crate) async fn cancel(&self, id: TaskId, reason: String) -> Result<bool, Error> {
        self.ask(|reply| Request::Cancel(Cancel { id, reason, reply })).await
    }

    /// Opens a session for a worker.
    ///
    /// # Errors
    /// Overloaded, or the partition is not open.
    pub(crate) async fn join(&self, hello: Hello, outbox: Arc<Outbox>) -> Result<Joined, Error> {
        self.ask(|reply| Request::Join(Join { hello, outbox, reply })).await
    }

    /// Passes on what a worker said; waits for room, so that a fast worker is slowed down and not refused.
    ///
    /// # Errors
    /// [`Error::NotOwner`]: the partition is not open any more.
    pub(crate) async fn input(&self, mut input: Input, bytes: usize) -> Result<(), Error> {
        let room = Arc::clone(&self.input_room).acquire_many_owned(kib(bytes)).await;
        input._admitted = Some(room.map_err(|_| Error::NotOwner)?);
        self.inbox.send(Request::Input(input)).await.map_err(|_| Error::NotOwner)
    }

    /// Tells that a session ended. A partition that is not open any more knows already.
    pub(crate) async fn leave(&self, session: SessionRef) {
        drop(self.inbox.send(Request::Leave(session)).await);
    }

    /// Moves the partition to a newer epoch without a reload.
    ///
    /// # Errors
    /// It was opened by someone else; the loop ends.
    pub(crate) async fn advance(&self, epoch: u64) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Request::Advance { epoch, reply }).await.map_err(|_| Error::NotOwner)?;
        answer.await.unwrap_or(Err(Error::NotOwner))
    }

    /// Lets the loop finish what is in its inbox and end.
    pub(crate) async fn stop(&self) {
        drop(self.inbox.send(Request::Stop).await);
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.inbox.try_send(request(reply)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Overloaded { what: "requests" },
            mpsc::error::TrySendError::Closed(_) => Error::NotOwner,
        })?;
        answer.await.unwrap_or(Err(Error::NotOwner))
    }
}

/// What a message takes of the room, at least one unit.
fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX)
}
