//! The connection for commits: openings, fences, and the commit as one transaction in one flush.

use std::collections::{HashMap, HashSet};

use tokio_postgres::{Config, Error as PgError, error::SqlState, types::ToSql};

use super::{
    columns::Columns,
    connection::{Connection, Params},
    failure::{failed, fenced},
    migrate::migrate,
    ms, partition_number, sql,
};
use crate::store::{Error, PostgresSettings, Ticket, Write, error::unavailable};

/// Queues whose number is remembered; when there are more, all are looked up again.
const QUEUES_KNOWN_MAX: usize = 65_536;
/// The statements of a commit, prepared when the connection is made.
const PREPARED: [&str; 15] = [
    sql::BEGIN,
    sql::FENCE,
    sql::OPEN_INSERT,
    sql::OPEN_UPSERT,
    sql::OPEN_DELETE,
    sql::DONE_INSERT,
    sql::DONE_UPSERT,
    sql::LABELS_INSERT,
    sql::BLOBS_UPSERT,
    sql::KEYS_UPSERT,
    sql::LOGS_UPSERT,
    sql::ENTRIES_UPSERT,
    sql::ENTRIES_DELETE,
    sql::COMMIT,
    sql::OPEN,
];

/// The connection for commits.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    /// Partitions opened over this connection. What was opened over an earlier one may have lost a commit without
    /// knowing, and must be opened again.
    opened: HashSet<u32>,
    queues: HashMap<(String, String), i32>,
}

impl Writer {
    /// Connects, and brings the schema up to date.
    pub(super) async fn connect(
        config: &Config,
        handle: &tokio::runtime::Handle,
        settings: &PostgresSettings,
    ) -> Result<Self, Error> {
        let failed = failed("connect to PostgreSQL");
        let opened = Connection::open(config, handle, &settings.schema, settings.commit_timeout).await;
        let mut connection = opened.map_err(&failed)?;
        migrate(connection.client(), &settings.schema).await?;
        connection.prepare(&PREPARED).await.map_err(&failed)?;
        Ok(Self { connection, opened: HashSet::new(), queues: HashMap::new() })
    }

    /// True when the connection can be used no more.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    /// Opens a partition; returns the number of the opening.
    pub(super) async fn open(&mut self, partition: u32, epoch: u64) -> Result<u64, Error> {
        let failed = failed("open the partition");
        let number = partition_number(partition);
        let rows = self.connection.query(sql::OPEN, &[&number, &ms(epoch)]).await.map_err(&failed)?;
        let Some(row) = rows.first() else {
            let newest = self.newest_epoch(partition).await?;
            return Err(Error::Fenced { partition, epoch, newest });
        };
        self.opened.insert(partition);
        let opening: i64 = row.try_get(0).map_err(&failed)?;
        Ok(opening.cast_unsigned())
    }

    pub(super) async fn newest_epoch(&mut self, partition: u32) -> Result<u64, Error> {
        let failed = failed("read an epoch");
        let rows = self.connection.query(sql::EPOCH, &[&partition_number(partition)]).await.map_err(&failed)?;
        let epoch: Option<i64> = rows.first().map(|row| row.try_get(0)).transpose().map_err(&failed)?;
        Ok(epoch.unwrap_or_default().cast_unsigned())
    }

    /// Moves an opening to a newer epoch.
    pub(super) async fn advance(&mut self, ticket: Ticket, epoch: u64) -> Result<(), Error> {
        self.check_opened(ticket)?;
        let number = partition_number(ticket.partition);
        let params: Params<'_> = &[&number, &ms(epoch), &ticket.opening.cast_signed()];
        let moved = self.connection.execute(sql::ADVANCE, params).await;
        if moved.map_err(failed("advance the epoch"))? == 1 {
            return Ok(());
        }
        let newest = self.newest_epoch(ticket.partition).await?;
        Err(Error::Fenced { partition: ticket.partition, epoch, newest })
    }

    /// Makes the batches of several partitions durable.
    pub(super) async fn commit(&mut self, parts: &[(Ticket, &[Write])]) -> Result<(), Error> {
        let mut columns = Columns::default();
        for (ticket, writes) in parts {
            self.check_opened(*ticket)?;
            for write in *writes {
                columns.put(ticket.partition, write)?;
            }
        }
        let numbers = self.numbers(&columns.queues.names).await?;
        let tickets: Vec<_> = parts.iter().map(|(ticket, _)| *ticket).collect();
        match self.transact(&tickets, &columns, &numbers, Insert::Plain).await {
            Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
                self.transact(&tickets, &columns, &numbers, Insert::OrReplace).await
            }
            result => result,
        }
        .map_err(|error| fenced(&tickets, &error).unwrap_or_else(|| failed("commit")(error)))
    }

    fn check_opened(&self, ticket: Ticket) -> Result<(), Error> {
        if self.opened.contains(&ticket.partition) {
            return Ok(());
        }
        Err(unavailable("commit", "the connection was lost since the partition was opened"))
    }

    /// One transaction in one flush. The first error is the cause of all that follow.
    async fn transact(
        &self,
        tickets: &[Ticket],
        columns: &Columns,
        queues: &[i32],
        insert: Insert,
    ) -> Result<(), PgError> {
        let (tasks, (puts, deletes)) = (columns.tasks(queues), columns.entries());
        let partitions: Vec<_> = tickets.iter().map(|ticket| partition_number(ticket.partition)).collect();
        let openings: Vec<_> = tickets.iter().map(|ticket| ticket.opening.cast_signed()).collect();
        let (labels, blobs) = (&columns.labels, columns.blobs.rows());
        let (keys, logs) = (columns.keys.rows(), columns.logs.rows());
        let (open, done) = match insert {
            Insert::Plain => (sql::OPEN_INSERT, sql::DONE_INSERT),
            Insert::OrReplace => (sql::OPEN_UPSERT, sql::DONE_UPSERT),
        };
        let (new, changed, ended, end) = (&tasks.new, &tasks.changed, &tasks.ended, &tasks.done);
        let calls: [(&'static str, &[&(dyn ToSql + Sync)], usize); 13] = [
            (sql::BEGIN, &[], 1),
            (sql::FENCE, &[&partitions, &openings], 1),
            (open, &[&new.partitions, &new.queues, &new.ids, &new.records], new.ids.len()),
            (
                sql::OPEN_UPSERT,
                &[&changed.partitions, &changed.queues, &changed.ids, &changed.records],
                changed.ids.len(),
            ),
            (sql::OPEN_DELETE, &[&ended.partitions, &ended.ids], ended.ids.len()),
            (done, &[&end.partitions, &end.queues, &end.ids, &end.records, &end.states, &end.finish_ms], end.ids.len()),
            (
                sql::LABELS_INSERT,
                &[&labels.partitions, &labels.ids, &labels.labels, &labels.contents],
                labels.ids.len(),
            ),
            (sql::BLOBS_UPSERT, &[&blobs.partitions, &blobs.ids, &blobs.numbers, &blobs.contents], blobs.ids.len()),
            (sql::KEYS_UPSERT, &[&keys.partitions, &keys.numbers, &keys.ids, &keys.contents], keys.ids.len()),
            (sql::LOGS_UPSERT, &[&logs.partitions, &logs.ids, &logs.numbers, &logs.contents], logs.ids.len()),
            (
                sql::ENTRIES_UPSERT,
                &[&puts.partitions, &puts.tables, &puts.keys, &puts.contents, &puts.expires_ms],
                puts.keys.len(),
            ),
            (sql::ENTRIES_DELETE, &[&deletes.partitions, &deletes.tables, &deletes.keys], deletes.keys.len()),
            (sql::COMMIT, &[], 1),
        ];
        let calls: Vec<_> =
            calls.iter().filter(|(.., rows)| *rows > 0).map(|(sql, params, _)| (*sql, *params)).collect();
        self.connection.pipeline(&calls).await.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }

    /// The numbers of queues, in order. New ones get theirs at once, apart from any transaction: a number that is used
    /// by no task does no harm.
    async fn numbers(&mut self, names: &[(String, String)]) -> Result<Vec<i32>, Error> {
        let missing: Vec<_> = names.iter().filter(|name| !self.queues.contains_key(*name)).collect();
        if !missing.is_empty() {
            let failed = failed("number its queues");
            let (namespaces, queues): (Vec<_>, Vec<_>) = missing.iter().map(|(a, b)| (a.as_str(), b.as_str())).unzip();
            self.connection.execute(sql::NUMBER_QUEUES, &[&namespaces, &queues]).await.map_err(&failed)?;
            let rows = self.connection.query(sql::QUEUE_NUMBERS, &[&namespaces, &queues]).await.map_err(&failed)?;
            let found: Vec<i32> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(&failed)?;
            if self.queues.len() + found.len() > QUEUES_KNOWN_MAX {
                self.queues.retain(|name, _| names.contains(name));
            }
            self.queues.extend(missing.into_iter().cloned().zip(found));
        }
        let number = |name| self.queues.get(name).copied();
        names
            .iter()
            .map(number)
            .collect::<Option<_>>()
            .ok_or_else(|| unavailable("number its queues", "one is missing"))
    }
}

/// How tasks are inserted.
#[derive(Debug, Clone, Copy)]
enum Insert {
    Plain,
    OrReplace,
}
