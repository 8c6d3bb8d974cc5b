//! Reading what the store holds of a partition, for the loop to take over bit by bit.
//!
//! The reading has a thread of its own. It turns records into the engine's small headers, so that payloads never pile
//! up, and hands them to the loop in slices; a few may be under way. So a large partition neither fills the memory nor
//! holds up the partitions that are open.

use std::{sync::Arc, time::Instant};

use mcp_engine::{AttemptCount, Idempotency, RestoredTask, State, Token};
use mcp_proto::scheduler::v1::TaskState;
use tokio::{
    runtime,
    sync::{Semaphore, mpsc, oneshot},
};

use super::{
    entries,
    live::engine_id,
    request::{Move, Request, Restored},
};
use crate::{
    config::Settings,
    error::Error,
    store::{self, KeyRecord, Loaded, PartitionStore, Stored},
    validate::Mapping,
    workflow::records::Reader,
};

/// Tasks and keys that the loop takes over at a time: well under a millisecond.
const SLICE_LEN: usize = 512;
/// Slices under way.
const SLICES_MAX: usize = 4;

/// Loads one partition into the loop behind `inbox`.
pub(super) struct Loader {
    pub(super) inbox: mpsc::Sender<Request>,
    pub(super) settings: Arc<Settings>,
    pub(super) partition: u16,
    pub(super) now: u64,
}

impl Loader {
    /// Reads everything and opens the partition. Blocks; for a thread of its own within the runtime.
    ///
    /// # Errors
    /// The store cannot be read, or the loop has ended. The partition is not open then.
    pub(super) fn run(self, store: Arc<dyn PartitionStore>, epoch: u64) -> Result<(), Error> {
        let started = Instant::now();
        let partition = self.partition;
        self.send(Move::Load { partition, store: Arc::clone(&store) })?;
        let mut filling = Filling {
            loader: &self,
            mapping: Mapping::new(&self.settings),
            credits: Arc::new(Semaphore::new(SLICES_MAX)),
            reader: Reader::default(),
            items: Vec::with_capacity(SLICE_LEN),
            fault: None,
            tasks: 0,
            keys: 0,
        };
        let loaded = store.load(self.now, &mut |loaded| filling.take(loaded)).map_err(Error::from);
        filling.flush();
        let (tasks, keys) = (filling.tasks, filling.keys);
        let outcome = filling.fault.map_or(loaded, Err).and_then(|()| {
            let (reply, answer) = oneshot::channel();
            self.send(Move::Open { partition, epoch, reply })?;
            answer.blocking_recv().unwrap_or(Err(Error::NotOwner))
        });
        match &outcome {
            Ok(()) => tracing::info!(partition, epoch, tasks, keys, took = ?started.elapsed(), "partition opened"),
            Err(_) => drop(self.send(Move::Close { partition, reply: oneshot::channel().0 })),
        }
        outcome
    }

    fn send(&self, request: Move) -> Result<(), Error> {
        self.inbox.blocking_send(Request::Move(request)).map_err(|_| Error::NotOwner)
    }
}

/// The slice that is being filled.
struct Filling<'a> {
    loader: &'a Loader,
    mapping: Mapping,
    credits: Arc<Semaphore>,
    reader: Reader,
    items: Vec<Restored>,
    fault: Option<Error>,
    tasks: usize,
    keys: usize,
}

impl Filling<'_> {
    fn take(&mut self, loaded: Loaded) {
        if self.fault.is_some() {
            return; // the rest is read and dropped
        }
        match loaded {
            Loaded::Unfinished(stored) => match task(&mut self.mapping, &stored) {
                Ok(task) => {
                    self.items.push(Restored::Task(Box::new(task)));
                    self.tasks += 1;
                }
                Err(error) => self.fault = Some(error.into()),
            },
            Loaded::Key(key) => {
                let key = self.key(key);
                self.items.push(key);
                self.keys += 1;
            }
            Loaded::Entry(entry) => match entries::restored(entry, &mut self.reader) {
                Ok(restored) => self.items.extend(restored),
                Err(error) => self.fault = Some(error.into()),
            },
        }
        if self.items.len() >= SLICE_LEN {
            self.flush();
        }
    }

    fn key(&mut self, key: KeyRecord) -> Restored {
        Restored::Key {
            queue: self.mapping.queue(&key.namespace, &key.queue),
            // The window counts for new keys only; this one has its end.
            idempotency: Idempotency { key: key.key.into(), body_hash: key.body_hash, window: 0 },
            task: engine_id(key.task),
            forget_at: key.forget_at,
        }
    }

    fn flush(&mut self) {
        if self.items.is_empty() || self.fault.is_some() {
            return;
        }
        let items = std::mem::replace(&mut self.items, Vec::with_capacity(SLICE_LEN));
        let (credits, partition) = (Arc::clone(&self.credits), self.loader.partition);
        let sent = runtime::Handle::current().block_on(async {
            let _credit = credits.acquire_owned().await.map_err(|_| Error::NotOwner)?;
            let slice = Move::Slice { partition, items, _credit };
            self.loader.inbox.send(Request::Move(slice)).await.map_err(|_| Error::NotOwner)
        });
        if let Err(error) = sent {
            self.fault = Some(error);
        }
    }
}

fn task(mapping: &mut Mapping, stored: &Stored) -> Result<RestoredTask, store::Error> {
    let Stored { id, fixed, moving } = stored;
    let spec = fixed.decode_spec()?;
    let mut submission = mapping.stored(&spec, engine_id(*id), fixed);
    submission.not_before = moving.not_before;
    let state = match moving.state() {
        TaskState::Pending => State::Pending,
        TaskState::Scheduled => State::Scheduled,
        TaskState::Retrying => State::Retrying,
        other => {
            let reason = format!("an unfinished task is recorded as {}", other.as_str_name());
            return Err(store::Error::Corrupt { key: id.to_string(), reason });
        }
    };
    let token = |epoch, sequence| (epoch != 0).then_some(Token { epoch, sequence });
    Ok(RestoredTask {
        submission,
        attempts: AttemptCount { started: moving.started, failed: moving.failed, lost: moving.lost },
        state,
        cancel_requested: moving.cancel_requested,
        void: token(moving.void_epoch, moving.void_sequence),
        started: token(moving.started_epoch, moving.started_sequence),
    })
}
