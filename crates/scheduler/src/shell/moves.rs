//! Partitions that come into the loop and leave it.

use std::{collections::HashMap, sync::Arc};

use mcp_engine::{Partition, RunningAttempt};

use super::{
    Shell,
    live::engine_id,
    request::{Move, Reply, Restored},
};
use crate::{error::Error, store};

impl Shell {
    /// Takes a step of a partition's way in or out.
    ///
    /// # Errors
    /// The store failed; everything must be opened again.
    pub(super) fn move_partition(&mut self, step: Move) -> Result<(), store::Error> {
        match step {
            Move::Load { partition, store } => {
                self.forget_partition(partition);
                self.hosted.load(partition, store);
            }
            Move::Slice { partition, items, _credit } => self.restore(partition, items),
            Move::Open { partition, epoch, reply } => self.open_partition(partition, epoch, reply)?,
            Move::Advance { partition, epoch, reply } => {
                let advanced = match self.hosted.store(partition) {
                    Some(store) => store.advance(epoch).map_err(Error::from),
                    None => Err(Error::NotOwner),
                };
                drop(reply.send(advanced));
            }
            Move::Close { partition, reply } => {
                self.flush()?; // what was accepted before is made durable
                self.leave_word(partition);
                self.close_partition(partition);
                drop(reply.send(Ok(())));
            }
        }
        Ok(())
    }

    fn restore(&mut self, partition: u16, items: Vec<Restored>) {
        if !self.hosted.is_loading(partition) {
            return;
        }
        for item in items {
            match item {
                Restored::Queue(queue, settings) => self.restore_queue(partition, queue, *settings),
                Restored::Task(task) => self.engine.restore(*task),
                Restored::Entry(entry) => self.restore_entry(partition, entry),
                Restored::Run(found) => self.restore_run(partition, *found),
                Restored::ClosedInOrder(running) => {
                    self.engine.closed_in_order(Partition(partition), running);
                    self.hosted.note_word(partition);
                }
                Restored::Key { queue, idempotency, task, forget_at } => {
                    self.engine.remember(&queue, Partition(partition), idempotency, task, forget_at);
                }
            }
        }
    }

    /// From here on its tasks are dispatched. Workers say once more what they run that no replica has adopted.
    fn open_partition(&mut self, partition: u16, epoch: u64, reply: Reply<()>) -> Result<(), store::Error> {
        if !self.hosted.is_loading(partition) {
            drop(reply.send(Err(Error::NotOwner)));
            return Ok(());
        }
        self.engine.opened(Partition(partition), epoch, self.now);
        if self.hosted.open(partition) {
            self.delete_word(partition);
        }
        self.conductor_opened(partition)?;
        self.workers.ask_for_reports();
        self.metrics.partitions(self.hosted.open_count());
        drop(reply.send(Ok(())));
        Ok(())
    }

    /// Forgets a partition. What runs is for its next owner: the workers go on with it and report it there.
    fn close_partition(&mut self, partition: u16) {
        let mut leaving: HashMap<Arc<str>, Vec<RunningAttempt>> = HashMap::new();
        self.live.retain(|id, live| {
            if self.hosted.partition_of(*id) != partition {
                return true;
            }
            let attempt = RunningAttempt { task: engine_id(*id), token: live.token };
            leaving.entry(Arc::clone(&live.worker_id)).or_default().push(attempt);
            false
        });
        for (worker_id, attempts) in leaving {
            self.workers.tell_not_mine(&worker_id, attempts);
        }
        self.forget_partition(partition);
    }

    fn forget_partition(&mut self, partition: u16) {
        if !self.hosted.close(partition) {
            return;
        }
        let tasks = self.engine.close(Partition(partition));
        self.queues.forget(partition);
        self.conductor_closed(partition);
        self.cache.retain(|id| self.hosted.partition_of(id) != partition);
        self.logs.retain(|id| self.hosted.partition_of(id) != partition);
        self.metrics.partitions(self.hosted.open_count());
        tracing::info!(partition, tasks, "partition closed");
    }
}
