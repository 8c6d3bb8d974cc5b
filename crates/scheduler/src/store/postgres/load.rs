//! What an owner reads first, page by page, so that little of it is in memory at a time.

use prost::Message as _;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    failure::failed,
    ms,
    partition::Partition,
    partition_number,
    read::{bytes, id_in},
    sql, uuid_of,
};
use crate::store::{Entry, Error, Loaded, Stored, Table, error::corrupt, record::KeyValue};

/// Rows of a page.
const PAGE_ROWS: i64 = 4_000;
/// Entries of a page; they may be large.
const PAGE_ENTRIES: i64 = 256;
/// What is said of a failure.
const WHAT: &str = "load the partition";

impl Partition {
    pub(super) fn load_entries(&self, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        for table in Table::ALL.into_iter().filter(|table| table.is_loaded()) {
            let mut last = bytes::Bytes::new();
            loop {
                let rows = self.page(sql::LOAD_ENTRIES, &[&(table as i16), &&last[..], &PAGE_ENTRIES])?;
                for row in &rows {
                    let (key, value) = (bytes(row, 0).map_err(failed(WHAT))?, bytes(row, 1).map_err(failed(WHAT))?);
                    let expires_ms: i64 = row.try_get(2).map_err(failed(WHAT))?;
                    last = key.clone();
                    visit(Loaded::Entry(Entry { table, key, value, expires_ms: expires_ms.cast_unsigned() }));
                }
                if is_last(&rows, PAGE_ENTRIES) {
                    break;
                }
            }
        }
        Ok(())
    }

    pub(super) fn load_tasks(&self, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        let mut last = Uuid::nil();
        loop {
            let rows = self.page(sql::LOAD_OPEN, &[&last, &PAGE_ROWS])?;
            for row in &rows {
                let id = id_in(row, 0).map_err(failed(WHAT))?;
                last = uuid_of(id);
                let record = bytes(row, 1).map_err(failed(WHAT))?;
                visit(Loaded::Unfinished(Box::new(Stored::decode(id, &record)?)));
            }
            if is_last(&rows, PAGE_ROWS) {
                return Ok(());
            }
        }
    }

    pub(super) fn load_keys(&self, now: u64, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        let (mut last_ms, mut last_id) = (ms(now), Uuid::max());
        loop {
            let rows = self.page(sql::LOAD_KEYS, &[&last_ms, &last_id, &PAGE_ROWS])?;
            for row in &rows {
                last_ms = row.try_get(0).map_err(failed(WHAT))?;
                let id = id_in(row, 1).map_err(failed(WHAT))?;
                last_id = uuid_of(id);
                let value = KeyValue::decode(bytes(row, 2).map_err(failed(WHAT))?);
                let value = value.map_err(|error| corrupt(&format!("idempotency key of {id}"), &error))?;
                visit(Loaded::Key(value.record(id, last_ms.cast_unsigned())));
            }
            if is_last(&rows, PAGE_ROWS) {
                return Ok(());
            }
        }
    }

    /// One query, whose first parameter is the partition.
    fn page(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Error> {
        let number = partition_number(self.number);
        let params: Vec<_> = std::iter::once(&number as &(dyn ToSql + Sync)).chain(params.iter().copied()).collect();
        self.shared.read(WHAT, async |connection| connection.query(sql, &params).await.map_err(failed(WHAT)))
    }
}

fn is_last(rows: &[Row], page: i64) -> bool {
    i64::try_from(rows.len()).is_ok_and(|rows| rows < page)
}
