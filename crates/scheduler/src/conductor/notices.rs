//! What is to be told to the owners of other partitions, until they have acknowledged it.
//!
//! A notice is an entry of the partition that tells, written in the commit that makes it true, and deleted once the
//! errand is done. In memory there is only which notices there are and when they are due; the courier reads the rest.
//! A notice is sent after its commit, and again with a growing pause while it is not acknowledged, also after a crash and
//! by another owner. So it arrives at least once, and whoever gets it recognises repeats by the task's id.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mcp_proto::TaskId;
use tokio::sync::mpsc;

use super::{
    Item,
    batch::{Batch, End, Ended},
};
use crate::store::{Table, Write};

/// Notices of one replica. When there are as many, no tasks are started in other partitions.
const NOTICES_MAX: usize = 100_000;
/// First and longest pause before a notice is sent again, in milliseconds.
const PAUSE: (u64, u64) = (100, 30_000);
/// Pause when the courier has as many errands as it takes, in milliseconds.
const COURIER_BUSY: u64 = 20;

/// What a notice is about. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A task to start.
    Submit = 0,
    /// A task to cancel; sent once it has been started.
    Cancel = 1,
    /// The end of a task.
    Report = 2,
}

/// A notice on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errand {
    /// The partition that tells.
    pub(crate) partition: u16,
    /// The task.
    pub(crate) task: TaskId,
    /// What about it.
    pub(crate) kind: Kind,
}

impl Errand {
    /// The key of the notice's entry.
    pub(crate) fn key(&self) -> Bytes {
        Notices::key(self.task, self.kind)
    }
}

/// An errand that came back.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// The errand.
    pub(crate) errand: Errand,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

/// What became of an errand.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is acknowledged; of a task to start with its end, when it has ended already.
    Done(Option<(Item, End)>),
    /// The task to start was refused for good.
    Rejected(Item, mcp_proto::Error),
    /// To be tried again.
    Again,
}

/// Which notice.
type Key = (u16, TaskId, Kind);

#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// How often it was sent, as far as this loop knows.
    sent: u32,
    /// When it is sent; `None` while it is on its way, or waits for another.
    due: Option<u64>,
}

/// The notices of the partitions that are open here.
#[derive(Debug)]
pub(super) struct Notices {
    errands: mpsc::Sender<Errand>,
    waiting: BTreeMap<Key, Waiting>,
    due: BTreeSet<(u64, Key)>,
}

impl Notices {
    /// None yet.
    pub(super) fn new(errands: mpsc::Sender<Errand>) -> Self {
        Self { errands, waiting: BTreeMap::new(), due: BTreeSet::new() }
    }

    /// False when there are as many as may be.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < NOTICES_MAX
    }

    /// True when the start of this task was not acknowledged yet.
    pub(super) fn is_submitting(&self, partition: u16, task: TaskId) -> bool {
        self.waiting.contains_key(&(partition, task, Kind::Submit))
    }

    /// The key of a notice's entry.
    pub(super) fn key(task: TaskId, kind: Kind) -> Bytes {
        let mut key = task.as_u128().to_be_bytes().to_vec();
        key.push(kind as u8);
        key.into()
    }

    /// Notes a notice whose entry is part of this batch; nothing when it is known.
    pub(super) fn add(&mut self, partition: u16, task: TaskId, kind: Kind, now: u64) {
        self.insert((partition, task, kind), now);
    }

    /// Notes a notice that was loaded; nobody knows whether it was sent before.
    pub(super) fn restore(&mut self, partition: u16, key: &[u8], now: u64) {
        match parse(key) {
            Some((task, kind)) => self.insert((partition, task, kind), now),
            None => tracing::error!(partition, ?key, "a notice has a wrong key; it is left alone"),
        }
    }

    fn insert(&mut self, key: Key, now: u64) {
        if self.waiting.contains_key(&key) {
            return;
        }
        let (partition, task, kind) = key;
        let waits = kind == Kind::Cancel && self.is_submitting(partition, task);
        self.waiting.insert(key, Waiting { sent: 0, due: None });
        if !waits {
            self.set_due(key, now);
        }
        if kind == Kind::Submit {
            self.hold_cancel(partition, task);
        }
    }

    /// Takes what became of an errand; gives the end of the task it was about, when that is known now.
    pub(super) fn delivered(&mut self, delivered: Delivered, batch: &mut dyn Batch) -> Option<Ended> {
        let Delivered { errand: Errand { partition, task, kind }, outcome } = delivered;
        let key = (partition, task, kind);
        let sent = self.waiting.get(&key)?.sent;
        let (item, end, was_started) = match outcome {
            Outcome::Again => {
                let pause = (PAUSE.0 << sent.min(16)).min(PAUSE.1);
                self.set_due(key, batch.now() + pause);
                return None;
            }
            Outcome::Done(None) => {
                self.done(key, batch);
                return None;
            }
            Outcome::Done(Some((item, end))) => (item, end, true),
            Outcome::Rejected(item, error) => (item, End::failed(error), false),
        };
        self.done(key, batch);
        if kind != Kind::Submit {
            return None;
        }
        // There is nothing left to cancel.
        if self.waiting.contains_key(&(partition, task, Kind::Cancel)) {
            self.done((partition, task, Kind::Cancel), batch);
        }
        Some(Ended { item, task, end, was_started })
    }

    /// Forgets a partition.
    pub(super) fn close(&mut self, partition: u16) {
        self.waiting.retain(|(of, ..), _| *of != partition);
        self.due.retain(|(_, (of, ..))| *of != partition);
    }

    /// Sends what is due, as much as the courier takes.
    pub(super) fn send_due(&mut self, now: u64) {
        while let Some((at, key)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            let Some(waiting) = self.waiting.get_mut(&key) else {
                self.due.remove(&(at, key));
                continue;
            };
            let (partition, task, kind) = key;
            let errand = Errand { partition, task, kind };
            match self.errands.try_send(errand) {
                Ok(()) => {
                    waiting.sent = waiting.sent.saturating_add(1);
                    waiting.due = None;
                    self.due.remove(&(at, key));
                }
                Err(_) => return self.postpone(now),
            }
        }
    }

    /// When something is due.
    pub(super) fn next_timer(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The courier takes nothing now: the first one is tried again in a moment, and the others behind it.
    fn postpone(&mut self, now: u64) {
        let keys: Vec<Key> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key).collect();
        for key in keys {
            self.set_due(key, now + COURIER_BUSY);
        }
    }

    fn done(&mut self, key: Key, batch: &mut dyn Batch) {
        let (partition, task, kind) = key;
        self.unset_due(key);
        self.waiting.remove(&key);
        batch.write(partition, Write::Delete { table: Table::Notice, key: Self::key(task, kind) });
        let cancel = (partition, task, Kind::Cancel);
        if kind == Kind::Submit && self.waiting.contains_key(&cancel) {
            self.set_due(cancel, batch.now());
        }
    }

    /// A cancel that was loaded before the start it follows waits for it.
    fn hold_cancel(&mut self, partition: u16, task: TaskId) {
        self.unset_due((partition, task, Kind::Cancel));
    }

    fn set_due(&mut self, key: Key, at: u64) {
        self.unset_due(key);
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.due = Some(at);
            self.due.insert((at, key));
        }
    }

    fn unset_due(&mut self, key: Key) {
        if let Some(at) = self.waiting.get_mut(&key).and_then(|waiting| waiting.due.take()) {
            self.due.remove(&(at, key));
        }
    }
}

fn parse(key: &[u8]) -> Option<(TaskId, Kind)> {
    let (kind, id) = key.split_last()?;
    let kind = [Kind::Submit, Kind::Cancel, Kind::Report].into_iter().find(|known| *known as u8 == *kind)?;
    Some((TaskId::from_u128(u128::from_be_bytes(id.try_into().ok()?)), kind))
}
