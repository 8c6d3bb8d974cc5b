//! Dead letters: tasks that failed for good are listed until they are replayed, purged, or as old as finished tasks may
//! get.
//!
//! A letter is written in the commit that ends its task, and leaves the list in the one that stores its replay. The loop
//! holds none of them: who asks for a replay brings what is on record. That the same task is not replayed twice is seen
//! to by an idempotency key made from its id, which the replay is submitted under.

mod ask;
mod letter;

use mcp_engine::{Applied, Command, QueueKey};
use mcp_proto::{Code, Error as WireError, TaskId};
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use self::letter::{Letter, letter_key, letter_prefix};

use super::{
    Shell,
    accept::refusal,
    effects::Context,
    live::{engine_id, wire_id},
    request::Reply,
    staging::Answer,
};
use crate::{
    clock::millis,
    error::Error,
    store::{self, Entry, Fixed, Moving, Stored, Table, Write},
    validate::NewTask,
};

/// What is asked about failed tasks.
#[derive(Debug)]
pub(super) enum DeadRequest {
    /// Submit tasks again, each by itself.
    Replay {
        /// Their partition.
        partition: u16,
        /// The tasks.
        tasks: Vec<Replay>,
        /// Their share of the inbox's bytes.
        _admitted: OwnedSemaphorePermit,
        /// For each the new task, or why there is none.
        reply: Reply<Vec<Result<TaskId, Error>>>,
    },
    /// Take letters off the list.
    Purge {
        /// Their partition.
        partition: u16,
        /// Their keys.
        keys: Vec<bytes::Bytes>,
        /// Comes when they are gone.
        reply: Reply<()>,
    },
}

impl DeadRequest {
    /// Answers that nothing was done.
    pub(super) fn give_back(self) {
        match self {
            Self::Replay { reply, .. } => drop(reply.send(Err(Error::NotOwner))),
            Self::Purge { reply, .. } => drop(reply.send(Err(Error::NotOwner))),
        }
    }
}

/// A task to submit again.
#[derive(Debug)]
pub(crate) struct Replay {
    /// The task as it ended.
    pub(crate) old: Stored,
    /// The new one, under an idempotency key that only replays of the old one have.
    pub(crate) new: NewTask,
}

impl Shell {
    /// Takes a request about failed tasks.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn dead_request(&mut self, request: DeadRequest) -> Result<(), store::Error> {
        match request {
            DeadRequest::Replay { partition, reply, .. } if !self.hosted.is_open(partition) => {
                drop(reply.send(Err(Error::NotOwner)));
            }
            DeadRequest::Purge { partition, reply, .. } if !self.hosted.is_open(partition) => {
                drop(reply.send(Err(Error::NotOwner)));
            }
            DeadRequest::Replay { partition, tasks, reply, _admitted } => {
                let replayed: Result<Vec<_>, _> = tasks.into_iter().map(|task| self.replay(partition, task)).collect();
                self.staging.answers.push(Answer::of(reply, replayed?));
            }
            DeadRequest::Purge { partition, keys, reply } => {
                for key in keys {
                    self.staging.writes.push(partition, Write::Delete { table: Table::DeadLetter, key });
                }
                self.staging.answers.push(Answer::of(reply, ()));
            }
        }
        Ok(())
    }

    /// Submits one task again. A repeat finds the task that replays it already.
    fn replay(&mut self, partition: u16, replay: Replay) -> Result<Result<TaskId, Error>, store::Error> {
        let Replay { old, mut new } = replay;
        // A task that has the unique key is somebody else's, and must not get the key of this replay.
        if let Some(holder) = self.engine.merges_into(self.now, &new.submission).map(wire_id) {
            return Ok(if self.is_unrelated(holder, old.id)? { Err(unique_key_taken(holder)) } else { Ok(holder) });
        }
        let queue = new.submission.queue.clone();
        new.submission.id = engine_id(self.ids.next(self.now, new.home));
        let command = Command::Submit(new.submission.clone());
        let (id, deduplicated) = match self.apply(command, Context { new: Some(new), ..Context::default() })? {
            Ok(Applied::Submitted { id, deduplicated }) => (wire_id(id), deduplicated),
            Ok(_) => unreachable!("a submit is answered as one"),
            Err(refused) => return Ok(Err(refusal(&refused, None))),
        };
        if deduplicated {
            return Ok(Ok(id)); // the key of the replay leads to it
        }
        let Stored { id: old_id, fixed, moving } = old;
        let moving = Moving { replayed_as: id.to_string(), ..moving };
        self.staging.bytes += fixed.len();
        self.staging.writes.push(partition, Write::Finished { id: old_id, fixed, moving });
        let key = letter_key(&queue, old_id);
        self.staging.writes.push(partition, Write::Delete { table: Table::DeadLetter, key });
        Ok(Ok(id))
    }

    /// True when an unfinished task does not replay `old`.
    fn is_unrelated(&self, id: TaskId, old: TaskId) -> Result<bool, store::Error> {
        let (fixed, _) = self.record(id, None)?;
        Ok(fixed.origin()?.and_then(|origin| origin.replay_of) != Some(old))
    }

    /// Puts a task that failed on the list of its queue. The task of a workflow's step is left out: its run goes on from
    /// there, and a replay by itself would belong to nothing.
    pub(super) fn stage_dead_letter(&mut self, id: TaskId, fixed: &Fixed, moving: &Moving, queue: &QueueKey) {
        if matches!(fixed.origin(), Ok(Some(origin)) if origin.step.is_some()) {
            return;
        }
        let mut value = Vec::new();
        Stored::encode(fixed, moving, &mut value);
        self.staging.bytes += value.len();
        let entry = Entry {
            table: Table::DeadLetter,
            key: letter_key(queue, id),
            value: value.into(),
            expires_ms: self.now.saturating_add(millis(self.settings.retention)),
        };
        self.staging.writes.push(self.hosted.partition_of(id), Write::Put(entry));
        self.staging.tally.of(queue).dead_lettered += 1;
    }
}

fn unique_key_taken(id: TaskId) -> Error {
    let message = format!("the unfinished task `{id}` has its unique key");
    Error::Refused(WireError::new(Code::AlreadyExists, message).with_metadata("unique_task_id", id.to_string()))
}
