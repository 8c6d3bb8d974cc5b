//! How everyone else talks to the loop.

use std::{ops::Deref, sync::Arc};

use mcp_proto::{TaskId, partition::of_home};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    live::LiveTasks,
    loading::Loader,
    outbox::Outbox,
    request::{Cancel, Hello, Input, Join, Joined, Move, Reply, Request, SessionRef, Submit, Submitted},
};
use crate::{
    conductor::{Conduct, Delivered},
    config::Settings,
    error::Error,
    store::{PartitionStore, Store},
    validate::NewTask,
    workflow::Showing,
};

/// A loop that runs, or ran: then every call fails with [`Error::NotOwner`], and nothing was done.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    inbox: mpsc::Sender<Request>,
    /// KiB of submits that may wait.
    submit_room: Arc<Semaphore>,
    /// KiB of workers' messages that may wait.
    input_room: Arc<Semaphore>,
    live: Arc<LiveTasks>,
    showing: Arc<Showing>,
    settings: Arc<Settings>,
}

/// An open partition and the loop that hosts it.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    handle: Handle,
    partition: u16,
    store: Arc<dyn PartitionStore>,
}

impl Home {
    /// Which partition it is.
    pub(crate) fn partition(&self) -> u16 {
        self.partition
    }

    /// True when it is the partition of this task.
    pub(crate) fn has(&self, id: TaskId) -> bool {
        of_home(id.home(), self.handle.settings.partitions) == self.partition
    }

    /// What is on record.
    pub(crate) fn store(&self) -> &Arc<dyn PartitionStore> {
        &self.store
    }
}

impl Deref for Home {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Handle {
    pub(super) fn new(
        inbox: mpsc::Sender<Request>,
        settings: Arc<Settings>,
        live: Arc<LiveTasks>,
        showing: Arc<Showing>,
    ) -> Self {
        let room = || Arc::new(Semaphore::new(settings.inbox_bytes_max / 1024));
        Self { inbox, submit_room: room(), input_room: room(), live, showing, settings }
    }

    /// The running tasks of all open partitions.
    pub(crate) fn live(&self) -> &LiveTasks {
        &self.live
    }

    /// The running tasks, for a thread of its own.
    pub(crate) fn live_tasks(&self) -> &Arc<LiveTasks> {
        &self.live
    }

    /// The unfinished workflows of all open partitions.
    pub(crate) fn showing(&self) -> &Showing {
        &self.showing
    }

    /// Stores tasks; when this returns they are durable, all or none. They come back when a partition of theirs is not
    /// open here.
    ///
    /// # Errors
    /// Refused, overloaded, or the store failed: then the tasks may be stored or not, except after
    /// [`Error::NotOwner`], when they are not.
    ///
    /// # Cancellation
    /// Dropping the future leaves open whether the tasks are stored.
    pub(crate) async fn submit(&self, tasks: Vec<NewTask>, is_batch: bool) -> Result<Submitted, Error> {
        let admitted = self.admit(tasks.iter().map(NewTask::len).sum())?;
        let (reply, answer) = oneshot::channel();
        let request = Request::Submit(Submit { tasks, is_batch, _admitted: admitted, reply });
        match self.inbox.try_send(request) {
            Ok(()) => answer.await.unwrap_or(Err(Error::NotOwner)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(Error::Overloaded { what: "requests" }),
            Err(mpsc::error::TrySendError::Closed(Request::Submit(submit))) => Ok(Submitted::Moved(submit.tasks)),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::NotOwner),
        }
    }

    /// Makes room for bytes of tasks that wait to be stored.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub(super) fn admit(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(&self.submit_room)
            .try_acquire_many_owned(kib(bytes))
            .map_err(|_| Error::Overloaded { what: "bytes of tasks that wait to be stored" })
    }

    /// Asks for the end of a task; false when no unfinished task has this id.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`]: nothing was done.
    pub(crate) async fn cancel(&self, id: TaskId, reason: String) -> Result<bool, Error> {
        self.ask(|reply| Request::Cancel(Cancel { id, reason, reply })).await
    }

    /// Opens a session for a worker.
    ///
    /// # Errors
    /// Overloaded, or the loop has ended.
    pub(crate) async fn join(&self, hello: Hello, outbox: Arc<Outbox>) -> Result<Joined, Error> {
        self.ask(|reply| Request::Join(Join { hello, outbox, reply })).await
    }

    /// Passes on what a worker said; waits for room, so that a fast worker is slowed down and not refused.
    ///
    /// # Errors
    /// [`Error::NotOwner`]: the loop has ended.
    pub(crate) async fn input(&self, mut input: Input, bytes: usize) -> Result<(), Error> {
        let room = Arc::clone(&self.input_room).acquire_many_owned(kib(bytes)).await;
        input._admitted = Some(room.map_err(|_| Error::NotOwner)?);
        self.inbox.send(Request::Input(input)).await.map_err(|_| Error::NotOwner)
    }

    /// Tells that a session ended. A loop that has ended knows already.
    pub(crate) async fn leave(&self, session: SessionRef) {
        drop(self.inbox.send(Request::Leave(session)).await);
    }

    /// Opens a partition under an epoch that is at least `epoch` and greater than that of every opening before it, so
    /// that no token is ever used twice. Blocks while it reads; for a thread of its own within the runtime. The epoch
    /// comes back.
    ///
    /// # Errors
    /// The store, or [`Error::NotOwner`]: the loop has ended, or somebody opened the partition at the same time.
    pub(crate) fn open_blocking(
        &self,
        store: &dyn Store,
        partition: u16,
        epoch: u64,
        now: u64,
    ) -> Result<(Home, u64), Error> {
        let number = u32::from(partition);
        let epoch = epoch.max(store.newest_epoch(number)?.saturating_add(1));
        let opened = store.open(number, epoch)?;
        let loader = Loader { inbox: self.inbox.clone(), settings: Arc::clone(&self.settings), partition, now };
        loader.run(Arc::clone(&opened), epoch)?;
        Ok((Home { handle: self.clone(), partition, store: opened }, epoch))
    }

    /// Moves a partition to a newer epoch without a reload.
    ///
    /// # Errors
    /// Somebody else opened it, or the loop has ended.
    pub(crate) async fn advance(&self, partition: u16, epoch: u64) -> Result<(), Error> {
        self.step(|reply| Move::Advance { partition, epoch, reply }).await
    }

    /// Closes a partition. What was accepted for it before is durable when this returns, and nothing more is accepted.
    ///
    /// # Errors
    /// The loop has ended, and with it the partition is closed.
    pub(crate) async fn close(&self, partition: u16) -> Result<(), Error> {
        self.step(|reply| Move::Close { partition, reply }).await
    }

    /// Lets the loop finish what is in its inbox and end.
    pub(crate) async fn stop(&self) {
        drop(self.inbox.send(Request::Stop).await);
    }

    /// True when the loop takes nothing any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Resolves when the loop takes nothing any more.
    pub(crate) async fn ended(&self) {
        self.inbox.closed().await;
    }

    /// Asks for something about schedules or workflows, which takes `bytes` while it waits; what it changes is durable when
    /// this returns.
    ///
    /// # Errors
    /// Overloaded; what the request says; [`Error::NotOwner`]: nothing was done.
    pub(crate) async fn conduct<T>(&self, bytes: usize, conduct: impl FnOnce(Reply<T>) -> Conduct) -> Result<T, Error> {
        let admitted = Arc::clone(&self.submit_room)
            .try_acquire_many_owned(kib(bytes))
            .map_err(|_| Error::Overloaded { what: "bytes of requests that wait" })?;
        self.ask(|reply| Request::Conduct(Box::new(conduct(reply)), Some(admitted))).await
    }

    /// Tells what became of an errand; waits for room. A loop that has ended needs to hear nothing.
    pub(crate) async fn delivered(&self, delivered: Delivered) {
        drop(self.inbox.send(Request::Conduct(Box::new(Conduct::Delivered(delivered)), None)).await);
    }

    async fn step(&self, step: impl FnOnce(Reply<()>) -> Move) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Request::Move(step(reply))).await.map_err(|_| Error::NotOwner)?;
        answer.await.unwrap_or(Err(Error::NotOwner))
    }

    /// Puts a request into the inbox and waits for its answer.
    ///
    /// # Errors
    /// Overloaded; [`Error::NotOwner`]: nothing was done; or what the answer says.
    pub(super) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Error> {
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
