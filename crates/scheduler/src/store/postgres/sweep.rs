//! Retention: removes old finished tasks, their logs, forgotten idempotency keys and expired entries, a little at a
//! time.

use std::sync::PoisonError;

use mcp_proto::TaskId;
use tokio_postgres::Error as PgError;
use uuid::Uuid;

use super::{
    connection::Connection,
    failure::{failed, fenced},
    ms,
    partition::Partition,
    partition_number,
    read::{bytes, id_in},
    sql, uuid_of,
};
use crate::store::{Error, PartitionStore as _, Stored, Swept};

/// Most tasks that one sweep looks at.
const SWEEP_TASKS_MAX: usize = 1_000;
/// Most rows that one sweep removes from a table.
const SWEEP_ROWS_MAX: i64 = 5_000;
/// Bits of a task id after its time.
const ID_TIME_SHIFT: u32 = 80;
/// Latest time in a task id.
const ID_TIME_MAX: u64 = (1 << 48) - 1;
/// What is said of a failure.
const WHAT: &str = "sweep";

/// What a sweep has found.
#[derive(Debug, Default)]
struct Found {
    /// Old tasks.
    tasks: Vec<Uuid>,
    /// Where the next sweep begins; `None` for the oldest.
    next: Option<TaskId>,
    /// There are keys to forget, or expired entries.
    keys: bool,
    entries: bool,
}

impl Partition {
    pub(super) fn sweep_some(&self, now: u64, finished_before: u64) -> Result<Swept, Error> {
        let mut at = self.sweep_at.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.shared.read(WHAT, async |connection| {
            self.look(connection, *at, now, finished_before).await.map_err(failed(WHAT))
        })?;
        *at = found.next;
        let mut swept = Swept { more: found.next.is_some(), ..Swept::default() };
        if found.tasks.is_empty() && !found.keys && !found.entries {
            return Ok(swept);
        }
        let ticket = self.ticket();
        let removed = self.shared.read(WHAT, async |connection| {
            self.remove(connection, &found, now, finished_before)
                .await
                .map_err(|error| fenced(&[ticket], &error).unwrap_or_else(|| failed(WHAT)(error)))
        });
        let (removed, all_logs) = removed?;
        if !all_logs {
            // Their logs were too long for one sweep; it begins at the same tasks again.
            *at = found.tasks.iter().min().map(|id| TaskId::from_u128(id.as_u128()));
        }
        swept = Swept { more: swept.more || removed.more || !all_logs, ..removed };
        Ok(swept)
    }

    /// Looks for what is old, without a write.
    async fn look(
        &self,
        connection: &mut Connection,
        at: Option<TaskId>,
        now: u64,
        finished_before: u64,
    ) -> Result<Found, PgError> {
        let number = partition_number(self.number);
        // What was submitted later finished later.
        let end = Uuid::from_u128(u128::from(finished_before.min(ID_TIME_MAX)) << ID_TIME_SHIFT);
        let from = at.map_or(Uuid::nil(), uuid_of);
        let limit = i64::try_from(SWEEP_TASKS_MAX).unwrap_or(i64::MAX);
        let rows = connection.query(sql::SWEEP_LOOK, &[&number, &from, &end, &limit]).await?;
        let mut found = Found::default();
        for row in &rows {
            let id = id_in(row, 0)?;
            if row.try_get::<_, i64>(1)? < ms(finished_before) {
                found.tasks.push(uuid_of(id));
            }
            if rows.len() == SWEEP_TASKS_MAX {
                found.next = Some(TaskId::from_u128(id.as_u128() + 1));
            }
        }
        let rows = connection.query(sql::SWEEP_DUE, &[&number, &ms(now)]).await?;
        if let Some(row) = rows.first() {
            (found.keys, found.entries) = (row.try_get(0)?, row.try_get(1)?);
        }
        Ok(found)
    }

    /// Removes what was found, in one fenced transaction. The flag is false when logs, and so their tasks, are left.
    async fn remove(
        &self,
        connection: &mut Connection,
        found: &Found,
        now: u64,
        finished_before: u64,
    ) -> Result<(Swept, bool), PgError> {
        let (number, now) = (partition_number(self.number), ms(now));
        let opening = self.ticket().opening.cast_signed();
        let (mut swept, mut all_logs) = (Swept::default(), true);
        connection.execute(sql::BEGIN, &[]).await?;
        connection.query(sql::FENCE, &[&vec![number], &vec![opening]]).await?;
        if !found.tasks.is_empty() {
            let removed = self.remove_tasks(connection, &found.tasks, ms(finished_before)).await?;
            (swept.tasks, all_logs) = (removed.unwrap_or_default(), removed.is_some());
        }
        if found.keys {
            let removed = connection.execute(sql::SWEEP_KEYS, &[&number, &now, &SWEEP_ROWS_MAX]).await?;
            (swept.keys, swept.more) = (count(removed), swept.more || is_full(removed));
        }
        if found.entries {
            let removed = connection.execute(sql::SWEEP_ENTRIES, &[&number, &now, &SWEEP_ROWS_MAX]).await?;
            (swept.entries, swept.more) = (count(removed), swept.more || is_full(removed));
        }
        connection.execute(sql::COMMIT, &[]).await?;
        Ok((swept, all_logs))
    }

    /// Removes tasks with all that belongs to them; `None` when there are more logs than a sweep may remove.
    async fn remove_tasks(
        &self,
        connection: &mut Connection,
        tasks: &[Uuid],
        finished_before: i64,
    ) -> Result<Option<usize>, PgError> {
        let number = partition_number(self.number);
        let rows = connection.query(sql::SWEEP_TAKE, &[&number, &tasks, &finished_before]).await?;
        let (mut taken, mut ids, mut labels, mut contents) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for row in &rows {
            let id = id_in(row, 0)?;
            taken.push(uuid_of(id));
            // A record that cannot be read goes without its labels, which lists then skip.
            let marks = Stored::split(id, &bytes(row, 1)?).and_then(|(fixed, _)| fixed.marks());
            for (label, content) in marks.map(|marks| marks.labels).unwrap_or_default() {
                ids.push(uuid_of(id));
                labels.push(label);
                contents.push(content);
            }
        }
        let removed = connection.execute(sql::SWEEP_LOGS, &[&number, &taken, &SWEEP_ROWS_MAX]).await?;
        if is_full(removed) {
            return Ok(None);
        }
        if !ids.is_empty() {
            connection.execute(sql::SWEEP_LABELS, &[&number, &ids, &labels, &contents]).await?;
        }
        connection.execute(sql::SWEEP_BLOBS, &[&number, &taken]).await?;
        connection.execute(sql::SWEEP_TASKS, &[&number, &taken]).await.map(|removed| Some(count(removed)))
    }
}

fn count(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

fn is_full(rows: u64) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= SWEEP_ROWS_MAX)
}
