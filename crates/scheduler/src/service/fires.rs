//! Ledgers of schedules: what callers read, and what a backfill has to know.

use std::sync::Arc;

use mcp_cron::{Known, Outcome, ScheduleId};
use mcp_proto::{Error as WireError, scheduler::v1::ListFiresResponse};

use super::{Deps, schedule_view};
use crate::{
    conductor::{FireEntry, Kept},
    error::Error,
    shell::Home,
    store::{self, PartitionStore, Table},
    validate::{FirePage, KeyToken, ledger_from, ledger_prefix},
};

/// Entries that are read at a time.
const SCAN_LEN: usize = 1_000;
/// Entries of a ledger that a backfill looks at.
const BACKFILL_SCAN_MAX: usize = 200_000;
/// Fire times that ran, in the range of one backfill: one more than the book takes.
const BACKFILL_RAN_MAX: usize = 10_001;
/// Last byte of the key of a fire time by itself, as `FireRecord::key_of_fire` has it.
const CLASS_FIRE: u8 = 0;

impl Deps {
    /// A schedule on record.
    pub(super) async fn kept(&self, home: &Home, id: &ScheduleId) -> Result<Option<Kept>, Error> {
        let (store, key) = (Arc::clone(home.store()), id.key());
        self.reads.read(move || store.entry(Table::Schedule, &key)?.map(|value| Kept::read(&value)).transpose()).await
    }

    /// One page of a ledger.
    pub(super) async fn fires(&self, home: &Home, page: FirePage) -> Result<ListFiresResponse, Error> {
        let store = Arc::clone(home.store());
        let FirePage { id, limit, after, is_first, filters } = page;
        let prefix = ledger_prefix(&id);
        let found = self.reads.read(move || scan(&*store, Table::Fire, &prefix, after, limit + 1)).await?;
        let mut fires = Vec::with_capacity(limit.min(found.len()));
        for (_, value) in found.iter().take(limit) {
            fires.push(schedule_view::fire(FireEntry::read(value)?));
        }
        if is_first && fires.is_empty() && self.kept(home, &id).await?.is_none() {
            return Err(schedule_not_found(&id));
        }
        let next = found.get(limit).and_then(|_| found.get(limit - 1));
        let next_page_token = next.map(|(key, _)| KeyToken::encode(key, filters)).unwrap_or_default();
        Ok(ListFiresResponse { fires, next_page_token })
    }

    /// What the ledger says of a range, and as of when.
    pub(super) async fn known(&self, home: &Home, id: &ScheduleId, from: u64, to: u64) -> Result<Known, Error> {
        // The record first: whatever runs after it is known to the book.
        let as_of = self.kept(home, id).await?.ok_or_else(|| schedule_not_found(id))?.record.revision;
        let (store, id) = (Arc::clone(home.store()), id.clone());
        let read = self.reads.read(move || {
            let (prefix, mut after) = (ledger_prefix(&id), ledger_from(&id, from));
            let mut known = Known { as_of, ..Known::default() };
            let mut looked_at = 0;
            loop {
                let entries = store.scan(Table::Fire, &prefix, Some(&after), SCAN_LEN)?;
                let Some((last, _)) = entries.last() else { return Ok(Some(known)) };
                after = last.to_vec();
                looked_at += entries.len();
                for (key, value) in &entries {
                    let entry = FireEntry::read(value)?;
                    if entry.fire.time >= to || known.ran.len() >= BACKFILL_RAN_MAX {
                        return Ok(Some(known));
                    }
                    if key.last() == Some(&CLASS_FIRE) && matches!(entry.fire.outcome, Outcome::Ran { .. }) {
                        known.ran.insert(entry.fire.time);
                    }
                }
                if looked_at >= BACKFILL_SCAN_MAX {
                    return Ok(None);
                }
            }
        });
        let too_long = || Error::Refused(WireError::invalid("start_time", "has too much of a ledger; ask for less"));
        read.await?.ok_or_else(too_long)
    }
}

/// There is no such schedule.
pub(super) fn schedule_not_found(id: &ScheduleId) -> Error {
    crate::conductor::schedule_not_found(id)
}

/// Entries of a table in the order of their keys, as many as `limit` when there are.
pub(super) fn scan(
    store: &dyn PartitionStore,
    table: Table,
    prefix: &[u8],
    mut after: Option<Vec<u8>>,
    limit: usize,
) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, store::Error> {
    let mut found = Vec::new();
    while found.len() < limit {
        let more = store.scan(table, prefix, after.as_deref(), limit - found.len())?;
        let Some((last, _)) = more.last() else { break };
        after = Some(last.to_vec());
        found.extend(more);
    }
    Ok(found)
}
