//! The PostgreSQL backend: one schema, shared by the replicas of a cluster.
//!
//! - **A commit is one transaction in one flush**: the fence, then one `unnest` statement for each table that the batch
//!   touches, then the commit. It waits for the server once, with `synchronous_commit` on.
//! - **The fence is a row for each partition.** A commit locks the rows of its partitions in share mode and compares the
//!   numbers of the openings; an opening changes the row. So one waits for the other, and a commit that was sent before
//!   a newer opening, however late it arrives, is refused. Sweeps are fenced in the same way.
//! - **Unfinished and finished tasks are in two tables.** Measured against one table with a partial index for unfinished
//!   tasks, and against one table with in-place (HOT) updates and a narrow table of unfinished ids: two tables take the
//!   least of the server's time for each task (11 us against 14 and 15), the vacuum that the churn needs stays
//!   with the small table, and a load reads nothing that is finished.
//! - **Lists are served by indexes** in the order of the ids: by queue (and by namespace, through the numbers of its
//!   queues), by label, and by not having succeeded. What is left of the filters is applied to a bounded number of
//!   records.
//! - Reads have connections of their own, so that they never delay a commit.
//!
//! Statistics of tables that fill within minutes mislead the planner, so sessions are told to take the indexes.

mod bridge;
mod columns;
mod connection;
mod failure;
mod list;
mod load;
mod migrate;
mod partition;
mod pool;
mod read;
mod settings;
mod sql;
mod sweep;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcp_proto::TaskId;
use tokio::time::timeout;
use tokio_postgres::Config;
use uuid::Uuid;

pub use self::settings::{PostgresSettings, SettingsError};
use self::{bridge::Bridge, failure::late, partition::Partition, pool::Pool, writer::Writer};
use super::{Error, Part, PartitionStore, Store, Ticket, Write, error::unavailable};

/// The store in a PostgreSQL schema. Cheap to clone handles come from [`Store::open`].
#[derive(Debug)]
pub struct PostgresStore(Arc<Shared>);

impl PostgresStore {
    /// A store for these settings. Nothing is connected yet: that happens at the first opening, which says
    /// [`Error::Unavailable`] while the server is away.
    ///
    /// # Errors
    /// The settings make no sense, or its thread does not start.
    pub fn connect(settings: PostgresSettings) -> Result<Self, SettingsError> {
        let config = settings.check()?;
        let bridge = Bridge::new().map_err(SettingsError::Thread)?;
        let pool = Pool::new(config.clone(), settings.clone(), bridge.handle().clone());
        Ok(Self(Arc::new(Shared { writer: Mutex::new(None), pool, config, settings, bridge })))
    }
}

impl Store for PostgresStore {
    fn open(&self, partition: u32, epoch: u64) -> Result<Arc<dyn PartitionStore>, Error> {
        let opening =
            self.0.write(Missing::Connect, "open the partition", async |writer| writer.open(partition, epoch).await)?;
        Ok(Arc::new(Partition::new(Arc::clone(&self.0), Ticket { partition, epoch, opening })))
    }

    fn commit(&self, parts: &[Part<'_>]) -> Result<(), Error> {
        let parts = parts.iter().filter(|part| !part.writes.is_empty());
        let parts: Vec<_> = parts.map(|part| (part.partition.ticket(), part.writes)).collect();
        self.0.commit(&parts)
    }

    fn newest_epoch(&self, partition: u32) -> Result<u64, Error> {
        self.0.write(Missing::Connect, "read an epoch", async |writer| writer.newest_epoch(partition).await)
    }
}

/// What all handles share.
#[derive(Debug)]
struct Shared {
    writer: Mutex<Option<Writer>>,
    pool: Pool,
    config: Config,
    settings: PostgresSettings,
    /// Dropped last: the connections live on it.
    bridge: Bridge,
}

/// What to do when there is no connection for commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Connect,
    Fail,
}

impl Shared {
    /// Makes the batches of several partitions durable. None of them is empty.
    fn commit(&self, parts: &[(Ticket, &[Write])]) -> Result<(), Error> {
        if parts.is_empty() {
            return Ok(());
        }
        self.write(Missing::Fail, "commit", async |writer| writer.commit(parts).await)
    }

    /// Runs `call` on the connection for commits, one after the other.
    fn write<T>(
        &self,
        missing: Missing,
        what: &'static str,
        call: impl AsyncFnOnce(&mut Writer) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut slot = self.slot();
        let mut writer = match (slot.take().filter(|writer| !writer.is_closed()), missing) {
            (Some(writer), _) => writer,
            (None, Missing::Connect) => self.connect()?,
            (None, Missing::Fail) => return Err(unavailable(what, "there is no connection")),
        };
        let result = self.bridge.wait(async { timeout(self.settings.commit_timeout, call(&mut writer)).await });
        // After a timeout nobody knows what is under way on the connection; it is given up.
        let result = result.map_err(|_| late(what, self.settings.commit_timeout))?;
        if !writer.is_closed() {
            *slot = Some(writer);
        }
        result
    }

    fn connect(&self) -> Result<Writer, Error> {
        let Self { config, settings, bridge, .. } = self;
        let connect = Writer::connect(config, bridge.handle(), settings);
        let limit = settings.connect_timeout + settings.commit_timeout;
        let connected = bridge.wait(async { timeout(limit, connect).await });
        connected.map_err(|_| late("connect to PostgreSQL", limit))?
    }

    /// Runs a read, or a sweep, on a connection of the pool.
    fn read<T>(
        &self,
        what: &'static str,
        call: impl AsyncFnOnce(&mut connection::Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.bridge.wait(self.pool.run(what, call))
    }

    fn slot(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is stored apart from a task's record. The numbers are stored.
#[derive(Debug, Clone, Copy)]
enum Blob {
    Spec = 0,
    Output = 1,
}

/// A partition, as the tables have it.
fn partition_number(partition: u32) -> i32 {
    partition.cast_signed()
}

/// A time, a line number or an epoch, as the tables have it.
fn ms(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn uuid_of(id: TaskId) -> Uuid {
    Uuid::from_u128(id.as_u128())
}

fn id_of(id: Uuid) -> TaskId {
    TaskId::from_u128(id.as_u128())
}
