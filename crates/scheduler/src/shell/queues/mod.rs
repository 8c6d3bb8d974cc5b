//! Queues as callers see them: what is set for them, and how they fare.
//!
//! The engine holds the rules that it acts on. What callers set (the rules as they gave them, when a pause began) is kept
//! here and in the store; an entry is written in the commit that lets the new rules act.

mod ask;
mod list;
mod recent;
mod settings;

use std::collections::HashMap;

use mcp_engine::{Command, Partition, QueueKey, QueueStats, Refused, Serving};

pub(super) use self::settings::QueueSettings;

use self::{
    list::{Listing, QueueList},
    recent::Recent,
    settings::{entry_key, queue_of},
};
use super::{
    Shell,
    effects::Context,
    request::{Reply, Restored},
    staging::Answer,
};
use crate::{
    error::Error,
    store::{self, Entry, Table, Write},
};

/// What is asked about queues.
#[derive(Debug)]
pub(super) enum QueueRequest {
    /// How a queue fares.
    Get(Place, Reply<QueueInfo>),
    /// What is set for it changes.
    Change(Place, QueueChange, Reply<QueueInfo>),
    /// How busy it is.
    Load(Place, Reply<QueueLoad>),
    /// Some queues, by name.
    List(Listing, Reply<QueueList>),
}

impl QueueRequest {
    /// Answers that nothing was done.
    pub(super) fn give_back(self) {
        match self {
            Self::Get(_, reply) | Self::Change(_, _, reply) => drop(reply.send(Err(Error::NotOwner))),
            Self::Load(_, reply) => drop(reply.send(Err(Error::NotOwner))),
            Self::List(_, reply) => drop(reply.send(Err(Error::NotOwner))),
        }
    }
}

/// A queue and its partition.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The queue.
    pub(super) queue: QueueKey,
    /// Its partition.
    pub(super) partition: u16,
}

/// What is to change.
#[derive(Debug, Clone)]
pub(crate) enum QueueChange {
    /// These rules hold, in place of those before. They have been checked.
    Rules(Box<mcp_proto::scheduler::v1::QueueRules>),
    /// No task is handed out any more.
    Pause,
    /// No task is taken any more.
    Drain,
    /// Tasks are taken and handed out.
    Resume,
}

/// A queue.
#[derive(Debug, Clone)]
pub(crate) struct QueueInfo {
    /// Its name.
    pub(crate) queue: QueueKey,
    /// What is set for it.
    pub(crate) settings: QueueSettings,
    /// What it holds.
    pub(crate) stats: QueueStats,
    /// The time of the loop.
    pub(crate) now: u64,
}

/// How busy a queue is, for whoever scales its workers.
#[derive(Debug, Clone)]
pub(crate) struct QueueLoad {
    /// The queue.
    pub(crate) info: QueueInfo,
    /// Who serves it.
    pub(crate) serving: Serving,
    /// Attempts started in a second, over the last minute.
    pub(crate) start_rate: f64,
    /// Seconds that an attempt ran, on average over the last minute; 0 when none ended.
    pub(crate) run_seconds: f64,
}

/// What is set for the queues of the hosted partitions. Queues under default rules are not here.
#[derive(Debug, Default)]
pub(super) struct Queues {
    settings: HashMap<QueueKey, (u16, QueueSettings)>,
    /// What started and ended of late.
    pub(super) recent: Recent,
}

impl Queues {
    /// Forgets the queues of a partition.
    pub(super) fn forget(&mut self, partition: u16) {
        self.settings.retain(|_, (other, _)| *other != partition);
    }

    fn settings(&self, queue: &QueueKey) -> QueueSettings {
        self.settings.get(queue).map(|(_, settings)| settings.clone()).unwrap_or_default()
    }

    fn set(&mut self, partition: u16, queue: QueueKey, settings: QueueSettings) {
        if settings.is_default() {
            self.settings.remove(&queue);
        } else {
            self.settings.insert(queue, (partition, settings));
        }
    }
}

impl Shell {
    /// Takes a request about queues.
    ///
    /// # Errors
    /// The store failed.
    pub(super) fn queue_request(&mut self, request: QueueRequest) -> Result<(), store::Error> {
        match request {
            QueueRequest::Get(place, reply) => {
                match self.hosted.is_open(place.partition) {
                    true => {
                        let info = self.queue_info(place.queue);
                        self.staging.answers.push(Answer::of(reply, info));
                    }
                    false => drop(reply.send(Err(Error::NotOwner))),
                }
                Ok(())
            }
            QueueRequest::Load(place, reply) => {
                match self.hosted.is_open(place.partition) {
                    true => {
                        let load = self.queue_load(place.queue);
                        self.staging.answers.push(Answer::of(reply, load));
                    }
                    false => drop(reply.send(Err(Error::NotOwner))),
                }
                Ok(())
            }
            QueueRequest::Change(place, change, reply) => self.change_queue(place, &change, reply),
            QueueRequest::List(listing, reply) => {
                match self.list_queues(&listing) {
                    Ok(list) => self.staging.answers.push(Answer::of(reply, list)),
                    Err(error) => drop(reply.send(Err(error))),
                }
                Ok(())
            }
        }
    }

    fn change_queue(
        &mut self,
        place: Place,
        change: &QueueChange,
        reply: Reply<QueueInfo>,
    ) -> Result<(), store::Error> {
        let Place { queue, partition } = place;
        if !self.hosted.is_open(partition) {
            drop(reply.send(Err(Error::NotOwner)));
            return Ok(());
        }
        let before = self.queues.settings(&queue);
        let after = before.changed(change, self.now);
        if after != before {
            let rules = after.engine_rules();
            let command = Command::SetQueue { queue: queue.clone(), partition: Partition(partition), rules };
            if let Err(refused) = self.apply(command, Context::default())? {
                drop(reply.send(Err(refusal(&refused))));
                return Ok(());
            }
            let key = entry_key(&queue);
            let write = match after.is_default() {
                true => Write::Delete { table: Table::Queue, key },
                false => Write::Put(Entry { table: Table::Queue, key, value: after.encoded(), expires_ms: 0 }),
            };
            self.staging.writes.push(partition, write);
            self.queues.set(partition, queue.clone(), after);
            let (namespace, queue) = (&*queue.namespace, &*queue.queue);
            tracing::info!(namespace, queue, ?change, "queue changed");
        }
        let info = self.queue_info(queue);
        self.staging.answers.push(Answer::of(reply, info));
        Ok(())
    }

    fn queue_info(&self, queue: QueueKey) -> QueueInfo {
        let stats = self.engine.queue_stats(&queue).unwrap_or_default();
        QueueInfo { settings: self.queues.settings(&queue), stats, queue, now: self.now }
    }

    fn queue_load(&self, queue: QueueKey) -> QueueLoad {
        let serving = self.engine.serving(&queue);
        let (start_rate, run_seconds) = self.queues.recent.rates(&queue, self.now);
        QueueLoad { info: self.queue_info(queue), serving, start_rate, run_seconds }
    }

    /// Takes over what was set for a queue of a partition that is being loaded.
    pub(super) fn restore_queue(&mut self, partition: u16, queue: QueueKey, settings: QueueSettings) {
        self.engine.restore_queue(&queue, Partition(partition), settings.engine_rules());
        self.queues.set(partition, queue, settings);
    }
}

/// What an entry says of a queue.
///
/// # Errors
/// It cannot be read.
pub(super) fn restored(entry: &Entry) -> Result<Restored, store::Error> {
    let corrupt = |reason: &str| store::Error::Corrupt {
        key: String::from_utf8_lossy(&entry.key).into_owned(),
        reason: reason.to_owned(),
    };
    let queue = queue_of(&entry.key).ok_or_else(|| corrupt("not the name of a queue"))?;
    let settings = QueueSettings::decoded(&entry.value).map_err(|error| corrupt(&error.to_string()))?;
    Ok(Restored::Queue(queue, Box::new(settings)))
}

fn refusal(refused: &Refused) -> Error {
    match refused {
        Refused::NotOwned(_) => Error::NotOwner,
        Refused::Full => Error::Overloaded { what: "queues with rules" },
        Refused::IdempotencyConflict(_) | Refused::QueueFull { .. } | Refused::QueueClosed | Refused::NotLive => {
            unreachable!("only submits and cancels are refused like this")
        }
    }
}
