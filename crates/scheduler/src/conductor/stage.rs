//! What schedules and workflows act with: the batch, and the notices to other partitions.

use std::time::Duration;

use bytes::Bytes;
use mcp_engine::Refused;
use mcp_proto::{Code, Error as WireError, TaskId, scheduler::v1::TaskSpec};

use super::{
    HandedOver, Item,
    batch::{Batch, Ended, Later, Standing},
    faults::{Fault, is_planted},
    notices::{Kind, Notices},
    wire::Message,
};
use crate::{
    config::Settings,
    error::Error,
    store::{self, Entry, Table, Write},
    validate::Intake,
};

/// Why a task was not started. Nothing has changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum NotStarted {
    /// The queue is full.
    QueueFull {
        /// When to try again, in milliseconds from now.
        retry_after: u64,
    },
    /// The queue is being drained.
    QueueClosed,
    /// There is too much of something here at the moment.
    Busy(&'static str),
    /// It cannot be started as it is.
    Invalid(WireError),
}

impl NotStarted {
    /// What the engine's word means.
    fn from_engine(refused: &Refused) -> Self {
        match refused {
            Refused::QueueFull { retry_after } => Self::QueueFull { retry_after: *retry_after },
            Refused::QueueClosed => Self::QueueClosed,
            Refused::Full => Self::Busy("tasks"),
            Refused::NotOwned(_) | Refused::NotLive => Self::Busy("changes of partitions"),
            Refused::IdempotencyConflict(_) => {
                Self::Invalid(WireError::new(Code::IdempotencyConflict, refused.to_string()))
            }
        }
    }
}

impl From<NotStarted> for Error {
    fn from(reason: NotStarted) -> Self {
        match reason {
            NotStarted::QueueFull { retry_after } => Self::Refused(
                WireError::new(Code::QueueFull, "the queue is full")
                    .with_retry_after(Duration::from_millis(retry_after)),
            ),
            NotStarted::QueueClosed => Self::Refused(WireError::new(Code::QueueClosed, "the queue takes no new tasks")),
            NotStarted::Busy(what) => Self::Overloaded { what },
            NotStarted::Invalid(error) => Self::Refused(error),
        }
    }
}

/// What schedules and workflows act with.
pub(crate) struct Stage<'a> {
    batch: &'a mut dyn Batch,
    notices: &'a mut Notices,
    settings: &'a Settings,
    ends: &'a mut Vec<Ended>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(
        batch: &'a mut dyn Batch,
        notices: &'a mut Notices,
        settings: &'a Settings,
        ends: &'a mut Vec<Ended>,
    ) -> Self {
        Self { batch, notices, settings, ends }
    }

    /// The time, milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        self.batch.now()
    }

    /// True when the partition of a home is open here.
    pub(crate) fn is_open(&self, home: u16) -> bool {
        self.batch.is_open(self.batch.partition_of(home))
    }

    /// An id with this home, unlike any other.
    pub(crate) fn new_id(&mut self, home: u16) -> TaskId {
        self.batch.new_id(home)
    }

    /// Starts a task for an item of partition `of`. When its queue is open here it is part of this batch, else of a notice
    /// that is. Either way it will run under the id that comes back, and its end will be told once or more.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn start(
        &mut self,
        of: u16,
        spec: TaskSpec,
        item: &Item,
        traceparent: &str,
    ) -> Result<Result<TaskId, NotStarted>, store::Error> {
        let intake = Intake::new(self.settings, self.now(), traceparent);
        let task = match intake.part_of(spec, &item.origin()) {
            Ok(task) => task,
            Err(error) => return Ok(Err(NotStarted::Invalid(error))),
        };
        let id = self.batch.new_id(task.home);
        if self.batch.is_open(task.partition()) {
            let submitted = self.batch.submit(id, task)?;
            return Ok(submitted.map(|()| id).map_err(|refused| NotStarted::from_engine(&refused)));
        }
        if !self.notices.has_room() {
            return Ok(Err(NotStarted::Busy("tasks on their way to other partitions")));
        }
        match task.spec() {
            Ok(spec) => {
                self.notify(of, id, Kind::Submit, Message::of_submit(item, id, spec, traceparent).encode());
                Ok(Ok(id))
            }
            Err(error) => Ok(Err(NotStarted::Invalid(error))),
        }
    }

    /// Cancels a task that an item of partition `of` had started. Its end is told like any other.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn cancel(&mut self, of: u16, task: TaskId, reason: &str) -> Result<(), store::Error> {
        if self.is_open(task.home()) && !self.notices.is_submitting(of, task) {
            return self.batch.cancel(task, reason);
        }
        self.notify(of, task, Kind::Cancel, Message::of_cancel(reason).encode());
        Ok(())
    }

    /// True when a task is known to be over, or never to have started: its partition is open here and does not know it.
    ///
    /// # Errors
    /// The store failed.
    pub(crate) fn is_gone(&self, of: u16, task: TaskId) -> Result<bool, store::Error> {
        Ok(self.is_open(task.home())
            && !self.notices.is_submitting(of, task)
            && self.batch.standing(task, false)? == Standing::Unknown)
    }

    /// Tells the owner of another partition how a task ended.
    pub(super) fn report(&mut self, ended: &Ended) {
        let of = self.batch.partition_of(ended.task.home());
        self.notify(of, ended.task, Kind::Report, Message::of_report(&ended.item, ended.task).encode());
    }

    /// Tells a schedule how something ended that a workflow started for it is; heard within this batch.
    pub(crate) fn tell(&mut self, ended: Ended) {
        self.ends.push(ended);
    }

    /// Starts a task for the owner of another partition. It may be here already, whoever asks: a call that was overtaken
    /// may come late. So the record is looked for, which costs a read.
    pub(super) fn take_over(&mut self, handed_over: HandedOver) -> Result<(), store::Error> {
        let HandedOver { id, task, reply } = handed_over;
        let standing = match is_planted(Fault::StartNotLookedFor) {
            true => Standing::Unknown,
            false => self.batch.standing(id, true)?,
        };
        let answer = match standing {
            Standing::Ended(end) => Ok(Some(end)),
            Standing::Unfinished => Ok(None),
            Standing::Unknown => match self.batch.submit(id, task)? {
                Ok(()) => Ok(None),
                Err(refused) => Err(NotStarted::from_engine(&refused).into()),
            },
        };
        self.batch.answer(Later::new(reply, answer));
        Ok(())
    }

    /// Puts an entry of partition `of`; with `expires_ms` 0 it stays.
    pub(crate) fn put(&mut self, of: u16, table: Table, key: Vec<u8>, value: Vec<u8>, expires_ms: u64) {
        self.batch.write(of, Write::Put(Entry { table, key: key.into(), value: value.into(), expires_ms }));
    }

    /// Deletes an entry of partition `of`.
    pub(crate) fn delete(&mut self, of: u16, table: Table, key: Vec<u8>) {
        self.batch.write(of, Write::Delete { table, key: key.into() });
    }

    /// Gives an answer after the commit.
    pub(crate) fn answer(&mut self, answer: Later) {
        self.batch.answer(answer);
    }

    fn notify(&mut self, of: u16, task: TaskId, kind: Kind, value: Vec<u8>) {
        let entry =
            Entry { table: Table::Notice, key: Notices::key(task, kind), value: Bytes::from(value), expires_ms: 0 };
        if kind != Kind::Submit || !is_planted(Fault::StartNotKept) {
            self.batch.write(of, Write::Put(entry));
        }
        self.notices.add(of, task, kind, self.batch.now());
    }
}
