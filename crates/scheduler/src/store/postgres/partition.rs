//! A handle to one partition.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use mcp_proto::{TaskId, scheduler::v1::LogLine};

use super::{Missing, Shared};
use crate::store::{
    Error, ListQuery, Loaded, LogEnd, Page, PartitionStore, Stored, Swept, Table, Ticket, ToRun, Write,
};

/// One opening of one partition.
#[derive(Debug)]
pub(super) struct Partition {
    pub(super) shared: Arc<Shared>,
    pub(super) number: u32,
    /// Where the next sweep goes on; tasks that finished late stay behind it for another round.
    pub(super) sweep_at: Mutex<Option<TaskId>>,
    opening: u64,
    epoch: AtomicU64,
}

impl Partition {
    pub(super) fn new(shared: Arc<Shared>, ticket: Ticket) -> Self {
        let Ticket { partition, epoch, opening } = ticket;
        Self { shared, number: partition, sweep_at: Mutex::new(None), opening, epoch: AtomicU64::new(epoch) }
    }
}

impl PartitionStore for Partition {
    fn ticket(&self) -> Ticket {
        Ticket { partition: self.number, epoch: self.epoch.load(Ordering::Relaxed), opening: self.opening }
    }

    fn advance(&self, epoch: u64) -> Result<(), Error> {
        let ticket = self.ticket();
        self.shared.write(Missing::Fail, "advance the epoch", async |writer| writer.advance(ticket, epoch).await)?;
        self.epoch.store(epoch, Ordering::Relaxed);
        Ok(())
    }

    fn commit(&self, batch: &[Write]) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.shared.commit(&[(self.ticket(), batch)])
    }

    fn load(&self, now: u64, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        self.load_entries(visit)?;
        self.load_tasks(visit)?;
        self.load_keys(now, visit)
    }

    fn get(&self, id: TaskId) -> Result<Option<Stored>, Error> {
        self.read_task(id)
    }

    fn spec(&self, id: TaskId) -> Result<Option<Bytes>, Error> {
        self.read_spec(id)
    }

    fn to_run(&self, ids: &[TaskId], bytes_max: usize) -> Result<Vec<Option<ToRun>>, Error> {
        self.read_to_run(ids, bytes_max)
    }

    fn list(&self, query: &ListQuery) -> Result<Page, Error> {
        self.read_page(query)
    }

    fn logs(&self, id: TaskId, after_seq: u64, lines_max: usize) -> Result<Vec<LogLine>, Error> {
        self.read_logs(id, after_seq, lines_max)
    }

    fn log_end(&self, id: TaskId) -> Result<LogEnd, Error> {
        self.read_log_end(id)
    }

    fn entry(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        self.read_entry(table, key)
    }

    fn scan(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        self.scan_entries(table, prefix, after, limit)
    }

    fn sweep(&self, now: u64, finished_before: u64) -> Result<Swept, Error> {
        self.sweep_some(now, finished_before)
    }
}
