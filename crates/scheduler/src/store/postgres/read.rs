//! Reads of single tasks, logs and entries.

use bytes::Bytes;
use mcp_proto::{TaskId, scheduler::v1::LogLine};
use prost::Message as _;
use tokio_postgres::{Error as PgError, Row};
use uuid::Uuid;

use super::{Blob, failure::failed, id_of, ms, partition::Partition, partition_number, sql, uuid_of};
use crate::store::{Error, LOG_READ_BYTES_MAX, LogChunk, LogEnd, SCAN_BYTES_MAX, Stored, Table, ToRun, error::corrupt};

/// Most chunks of a log that are asked for at once.
const CHUNKS_MAX: i64 = 64;
/// Most entries that are asked for at once.
const ENTRIES_MAX: usize = 256;
/// Most tasks to run that are asked for at once.
const TO_RUN_MAX: usize = 256;

impl Partition {
    pub(super) fn read_task(&self, id: TaskId) -> Result<Option<Stored>, Error> {
        let Some((record, output)) = self.record(id, Blob::Output)? else { return Ok(None) };
        let mut task = Stored::decode(id, &record)?;
        if task.moving.output_apart {
            task.moving.output = Some(output.ok_or_else(|| missing(id, Blob::Output))?);
            task.moving.output_apart = false;
        }
        Ok(Some(task))
    }

    pub(super) fn read_spec(&self, id: TaskId) -> Result<Option<Bytes>, Error> {
        let Some((record, spec)) = self.record(id, Blob::Spec)? else { return Ok(None) };
        let (fixed, _) = Stored::split(id, &record)?;
        if fixed.is_brief() { spec.ok_or_else(|| missing(id, Blob::Spec)).map(Some) } else { Ok(Some(fixed.spec())) }
    }

    /// The record of a task, and one of its blobs, in one snapshot.
    fn record(&self, id: TaskId, blob: Blob) -> Result<Option<(Bytes, Option<Bytes>)>, Error> {
        let what = "read a task";
        let rows = self.shared.read(what, async |connection| {
            let (number, id, kind) = (partition_number(self.number), uuid_of(id), blob as i16);
            connection.query(sql::TASK, &[&number, &id, &kind]).await.map_err(failed(what))
        })?;
        let Some(row) = rows.first() else { return Ok(None) };
        let blob = row.try_get::<_, Option<&[u8]>>(1).map_err(failed(what))?.map(Bytes::copy_from_slice);
        Ok(Some((bytes(row, 0).map_err(failed(what))?, blob)))
    }

    pub(super) fn read_to_run(&self, ids: &[TaskId], bytes_max: usize) -> Result<Vec<Option<ToRun>>, Error> {
        let what = "read tasks to run";
        let wanted = &ids[..ids.len().min(TO_RUN_MAX)];
        let rows = self.shared.read(what, async |connection| {
            let ids: Vec<_> = wanted.iter().map(|id| uuid_of(*id)).collect();
            let room = i64::try_from(bytes_max).unwrap_or(i64::MAX).max(1);
            connection.query(sql::TO_RUN, &[&partition_number(self.number), &ids, &room]).await.map_err(failed(what))
        })?;
        let mut rows = rows.iter().peekable();
        let (mut tasks, mut bytes) = (Vec::with_capacity(wanted.len()), 0);
        for place in 1..=i64::try_from(wanted.len()).unwrap_or(i64::MAX) {
            let row = rows.next_if(|row| row.try_get::<_, i64>(0).is_ok_and(|found| found == place));
            let task = row.map(to_run).transpose()?;
            bytes += task.as_ref().map_or(0, |task| task.spec.len());
            tasks.push(task);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(tasks)
    }

    pub(super) fn read_logs(&self, id: TaskId, after_seq: u64, lines_max: usize) -> Result<Vec<LogLine>, Error> {
        let what = "read a log";
        let wanted = after_seq.saturating_add(1);
        let (mut lines, mut text_len, mut from) = (Vec::new(), 0, wanted);
        loop {
            let rows = self.shared.read(what, async |connection| {
                let (number, id, from) = (partition_number(self.number), uuid_of(id), ms(from));
                connection.query(sql::LOG_FROM, &[&number, &id, &from, &CHUNKS_MAX]).await.map_err(failed(what))
            })?;
            for row in &rows {
                let chunk = chunk(id, &bytes(row, 1).map_err(failed(what))?)?;
                from = chunk.lines.last().map_or(from, |line| from.max(line.seq.saturating_add(1)));
                for line in chunk.lines.into_iter().filter(|line| line.seq >= wanted) {
                    if lines.len() >= lines_max || text_len > LOG_READ_BYTES_MAX {
                        return Ok(lines);
                    }
                    text_len += line.text.len();
                    lines.push(line);
                }
            }
            if i64::try_from(rows.len()).is_ok_and(|rows| rows < CHUNKS_MAX) {
                return Ok(lines);
            }
        }
    }

    pub(super) fn read_log_end(&self, id: TaskId) -> Result<LogEnd, Error> {
        let what = "read the end of a log";
        let rows = self.shared.read(what, async |connection| {
            let number = partition_number(self.number);
            connection.query(sql::LOG_LAST, &[&number, &uuid_of(id)]).await.map_err(failed(what))
        })?;
        let Some(row) = rows.first() else { return Ok(LogEnd::default()) };
        let chunk = chunk(id, &bytes(row, 0).map_err(failed(what))?)?;
        let seq = chunk.lines.last().map_or(0, |line| line.seq);
        Ok(LogEnd { seq, bytes: chunk.bytes_total, truncated: chunk.truncated })
    }

    pub(super) fn read_entry(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let what = "read an entry";
        let rows = self.shared.read(what, async |connection| {
            let (number, table) = (partition_number(self.number), table as i16);
            connection.query(sql::ENTRY, &[&number, &table, &key]).await.map_err(failed(what))
        })?;
        rows.first().map(|row| bytes(row, 0)).transpose().map_err(failed(what))
    }

    pub(super) fn scan_entries(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let what = "scan entries";
        let (mut found, mut value_len) = (Vec::new(), 0);
        let mut last = after.filter(|after| *after >= prefix).map(Bytes::copy_from_slice);
        while found.len() < limit && value_len <= SCAN_BYTES_MAX {
            let page = (limit - found.len()).min(ENTRIES_MAX);
            let rows = self.shared.read(what, async |connection| {
                let (sql, from) = match &last {
                    Some(last) => (sql::SCAN_AFTER, &last[..]),
                    None => (sql::SCAN_FROM, prefix),
                };
                let (number, table) = (partition_number(self.number), table as i16);
                let page = i64::try_from(page).unwrap_or(i64::MAX);
                connection.query(sql, &[&number, &table, &from, &page]).await.map_err(failed(what))
            })?;
            for row in &rows {
                let (key, value) = (bytes(row, 0).map_err(failed(what))?, bytes(row, 1).map_err(failed(what))?);
                if !key.starts_with(prefix) || value_len > SCAN_BYTES_MAX {
                    return Ok(found);
                }
                value_len += value.len();
                last = Some(key.clone());
                found.push((key, value));
            }
            if rows.len() < page {
                break;
            }
        }
        Ok(found)
    }
}

/// A task in a row of place, id, record and blob.
fn to_run(row: &Row) -> Result<ToRun, Error> {
    let failed = failed("read tasks to run");
    let id = id_in(row, 1).map_err(&failed)?;
    let (fixed, _) = Stored::split(id, &bytes(row, 2).map_err(&failed)?)?;
    let spec = if fixed.is_brief() {
        let spec: Option<&[u8]> = row.try_get(3).map_err(&failed)?;
        Bytes::copy_from_slice(spec.ok_or_else(|| missing(id, Blob::Spec))?)
    } else {
        fixed.spec()
    };
    Ok(ToRun { fixed, spec })
}

/// The bytes in a column.
pub(super) fn bytes(row: &Row, column: usize) -> Result<Bytes, PgError> {
    row.try_get::<_, &[u8]>(column).map(Bytes::copy_from_slice)
}

/// The task id in a column.
pub(super) fn id_in(row: &Row, column: usize) -> Result<TaskId, PgError> {
    row.try_get::<_, Uuid>(column).map(id_of)
}

fn chunk(id: TaskId, bytes: &Bytes) -> Result<LogChunk, Error> {
    LogChunk::decode(bytes.clone()).map_err(|error| corrupt(&format!("log of {id}"), &error))
}

fn missing(id: TaskId, blob: Blob) -> Error {
    corrupt(&id.to_string(), &format!("its {blob:?} is missing"))
}
