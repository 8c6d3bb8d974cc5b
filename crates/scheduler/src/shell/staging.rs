//! What a batch came to: the records to commit, and all that is to be let go once they are durable.

use std::collections::HashMap;

use mcp_engine::WorkerId;
use mcp_proto::TaskId;

use super::{
    live::LiveChange,
    outbox::Outgoing,
    request::{Accepted, Joined, Reply, Submitted},
};
use crate::{
    conductor::{Ended, Later},
    error::Error,
    hub::Event,
    metrics::Tally,
    store::{Fixed, Moving, Write},
};

/// An answer that waits for the commit.
#[derive(Debug)]
pub(super) enum Answer {
    Submitted(Reply<Submitted>, Vec<Accepted>),
    Cancelled(Reply<bool>, bool),
    Joined(Reply<Joined>, Joined),
    /// About schedules and workflows.
    Conducted(Later),
    /// Any other.
    Other(Told),
}

/// An answer of any kind, which is told whether the commit went well.
pub(super) struct Told(Box<dyn FnOnce(Result<(), Error>) + Send>);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Answer {
    /// `answer`, once the batch is durable.
    pub(super) fn of<T: Send + 'static>(reply: Reply<T>, answer: T) -> Self {
        Self::Other(Told(Box::new(move |committed| drop(reply.send(committed.map(|()| answer))))))
    }

    /// Gives the answer. Who does not wait for it any more needs none.
    pub(super) fn give(self) {
        match self {
            Self::Submitted(reply, accepted) => drop(reply.send(Ok(Submitted::Stored(accepted)))),
            Self::Cancelled(reply, found) => drop(reply.send(Ok(found))),
            Self::Joined(reply, joined) => drop(reply.send(Ok(joined))),
            Self::Other(Told(tell)) => tell(Ok(())),
            Self::Conducted(later) => later.give(),
        }
    }

    /// Tells why there is no answer.
    pub(super) fn fail(self, error: Error) {
        match self {
            Self::Submitted(reply, _) => drop(reply.send(Err(error))),
            Self::Cancelled(reply, _) => drop(reply.send(Err(error))),
            Self::Joined(reply, _) => drop(reply.send(Err(error))),
            Self::Other(Told(tell)) => tell(Err(error)),
            Self::Conducted(later) => later.fail(error),
        }
    }
}

/// The records of a batch, by partition.
#[derive(Debug, Default)]
pub(super) struct Writes {
    parts: Vec<Vec<Write>>,
    /// Partitions that have a record.
    dirty: Vec<u16>,
    len: usize,
}

impl Writes {
    /// None yet, for partitions below `count`.
    pub(super) fn new(count: u16) -> Self {
        Self { parts: (0..count).map(|_| Vec::new()).collect(), dirty: Vec::new(), len: 0 }
    }

    /// Adds a record.
    pub(super) fn push(&mut self, partition: u16, write: Write) {
        let part = &mut self.parts[usize::from(partition)];
        if part.is_empty() {
            self.dirty.push(partition);
        }
        part.push(write);
        self.len += 1;
    }

    /// Records in all.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The partitions with records, and those.
    pub(super) fn parts(&self) -> impl ExactSizeIterator<Item = (u16, &[Write])> {
        self.dirty.iter().map(|partition| (*partition, self.parts[usize::from(*partition)].as_slice()))
    }

    /// The records of one partition.
    pub(super) fn of(&self, partition: u16) -> &[Write] {
        self.parts.get(usize::from(partition)).map_or(&[], Vec::as_slice)
    }

    fn clear(&mut self) {
        for partition in self.dirty.drain(..) {
            self.parts[usize::from(partition)].clear();
        }
        self.len = 0;
    }
}

/// A batch.
#[derive(Debug, Default)]
pub(super) struct Staging {
    /// To make durable.
    pub(super) writes: Writes,
    /// What the writes take, roughly.
    pub(super) bytes: usize,
    /// Tasks with a record among the writes that the store does not show yet.
    pub(super) dirty: HashMap<TaskId, (Fixed, Moving)>,
    /// Ends of tasks of schedules and workflows, which those still have to hear within the batch.
    pub(super) conducted: Vec<Ended>,
    /// Then: changes of the view of running tasks.
    pub(super) live: Vec<LiveChange>,
    /// Then: orders and acknowledgements for workers.
    pub(super) outgoing: HashMap<WorkerId, Outgoing>,
    /// Then: answers to callers.
    pub(super) answers: Vec<Answer>,
    /// Then: events for watches.
    pub(super) events: Vec<Event>,
    /// Then: tasks that are final, for those who wait.
    pub(super) ended: Vec<TaskId>,
    /// Then: tasks whose log grew, for those who follow.
    pub(super) logged: Vec<TaskId>,
    /// Counts for the metrics.
    pub(super) tally: Tally,
}

impl Staging {
    /// An empty batch for partitions below `count`.
    pub(super) fn new(count: u16) -> Self {
        Self { writes: Writes::new(count), ..Self::default() }
    }

    /// What a worker is to be told with this batch.
    pub(super) fn outgoing(&mut self, worker: WorkerId) -> &mut Outgoing {
        self.outgoing.entry(worker).or_default()
    }

    /// A task of `partition` as an earlier record of this batch has it, submitted included.
    pub(super) fn uncommitted(&self, partition: u16, id: TaskId) -> Option<(Fixed, Moving)> {
        if let Some(found) = self.dirty.get(&id) {
            return Some(found.clone());
        }
        self.writes.of(partition).iter().rev().find_map(|write| match write {
            Write::Submitted { id: other, fixed, moving, .. } if *other == id => Some((fixed.clone(), moving.clone())),
            _ => None,
        })
    }

    /// Empties what was let go; the buffers serve the next batch.
    pub(super) fn clear(&mut self) {
        self.writes.clear();
        self.dirty.clear();
        self.ended.clear();
        self.logged.clear();
        self.bytes = 0;
    }
}
