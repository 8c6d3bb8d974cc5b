//! Lists: which index leads to the tasks, and what is left to be looked at.

use bytes::Bytes;
use mcp_proto::{TaskId, scheduler::v1::TaskState};
use prost::Message as _;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{failure::failed, partition::Partition, partition_number, read::id_in, sql, uuid_of};
use crate::store::{Error, ListQuery, Moving, Page, Stored, error::corrupt};

/// Fewest and most records that are asked for at once.
const ROWS_MIN: usize = 50;
const ROWS_MAX: usize = 500;
/// Most queues of a namespace, or of one name, that are listed through their index; with more, all tasks are looked at.
const QUEUES_MAX: i64 = 64;
/// What is said of a failure.
const WHAT: &str = "list tasks";

/// The index that leads to the tasks.
enum Lead<'a> {
    Label { label: &'a str, content: &'a str },
    Unsuccessful,
    Queues(Vec<i32>),
    All,
}

impl Partition {
    pub(super) fn read_page(&self, query: &ListQuery) -> Result<Page, Error> {
        let mut page = Page::default();
        let lead = self.lead(query)?;
        let mut before = query.before.map_or(Uuid::max(), uuid_of);
        loop {
            let left = query.scan_max - page.scanned;
            let rows_max = (query.limit - page.tasks.len()).clamp(ROWS_MIN, ROWS_MAX).min(left);
            let rows = self.rows(&lead, query, before, rows_max)?;
            for row in &rows {
                let id = id_in(row, 0).map_err(failed(WHAT))?;
                before = uuid_of(id);
                page.next = Some(id);
                page.scanned += 1;
                if let Some(task) = matching(query, id, row)? {
                    page.tasks.push(task);
                    if page.tasks.len() == query.limit {
                        return Ok(page);
                    }
                }
            }
            if rows.len() < rows_max {
                page.next = None;
                return Ok(page);
            }
            if page.scanned >= query.scan_max {
                return Ok(page);
            }
        }
    }

    fn lead<'a>(&self, query: &'a ListQuery) -> Result<Lead<'a>, Error> {
        if let Some((label, content)) = query.labels.first() {
            return Ok(Lead::Label { label, content });
        }
        if !query.states.has(TaskState::Succeeded) && query.states.has_final(true) {
            return Ok(Lead::Unsuccessful);
        }
        let limit = QUEUES_MAX + 1;
        let (sql, params): (_, &[&(dyn ToSql + Sync)]) = match (&query.namespace, &query.queue) {
            (Some(namespace), Some(queue)) => (sql::QUEUES_OF_BOTH, &[namespace, queue, &limit]),
            (Some(namespace), None) => (sql::QUEUES_OF_NAMESPACE, &[namespace, &limit]),
            (None, Some(queue)) => (sql::QUEUES_OF_NAME, &[queue, &limit]),
            (None, None) => return Ok(Lead::All),
        };
        let rows =
            self.shared.read(WHAT, async |connection| connection.query(sql, params).await.map_err(failed(WHAT)))?;
        let queues: Vec<i32> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(failed(WHAT))?;
        Ok(if i64::try_from(queues.len()).is_ok_and(|len| len <= QUEUES_MAX) {
            Lead::Queues(queues)
        } else {
            Lead::All
        })
    }

    /// Up to `rows_max` rows older than `before`, newest first.
    fn rows(&self, lead: &Lead<'_>, query: &ListQuery, before: Uuid, rows_max: usize) -> Result<Vec<Row>, Error> {
        let (number, rows_max) = (partition_number(self.number), i64::try_from(rows_max).unwrap_or(i64::MAX));
        let (open, done) = (query.states.has_final(false), query.states.has_final(true));
        let mut params: Vec<&(dyn ToSql + Sync)> = vec![&number, &before, &rows_max, &open, &done];
        let sql = match lead {
            Lead::Label { label, content } => {
                params.extend([label as &(dyn ToSql + Sync), content]);
                sql::LIST_LABELLED
            }
            Lead::Unsuccessful => sql::LIST_UNSUCCESSFUL,
            Lead::Queues(queues) => {
                params.push(queues);
                sql::LIST_QUEUES
            }
            Lead::All => sql::LIST_ALL,
        };
        self.shared.read(WHAT, async |connection| connection.query(sql, &params).await.map_err(failed(WHAT)))
    }
}

/// The task, if the query wants it. A label may be there without its task.
fn matching(query: &ListQuery, id: TaskId, row: &Row) -> Result<Option<Stored>, Error> {
    let Some(record) = row.try_get::<_, Option<&[u8]>>(1).map_err(failed(WHAT))? else { return Ok(None) };
    let (fixed, moving) = Stored::split(id, &Bytes::copy_from_slice(record))?;
    let moving = Moving::decode(moving).map_err(|error| corrupt(&id.to_string(), &error))?;
    Ok((query.states.has(moving.state()) && query.takes(&fixed)?).then_some(Stored { id, fixed, moving }))
}
