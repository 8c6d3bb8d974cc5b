//! Entries that a load visits: those of each table go to whoever keeps them.

use super::{closing, merged_keys, queues, request::Restored};
use crate::{
    store::{self, Entry, Table},
    workflow::records::Reader,
};

/// What an entry means to the loop: rules of a queue, idempotency keys and the last owner's word are its own, everything
/// else is the conductor's. Nothing for an
/// entry of a workflow that cannot be read: it is left alone, so that it never blocks the others.
///
/// # Errors
/// The entry cannot be read.
pub(super) fn restored(entry: Entry, reader: &mut Reader) -> Result<Option<Restored>, store::Error> {
    match entry.table {
        Table::Queue => queues::restored(&entry).map(Some),
        Table::MergedKey => merged_keys::restored(&entry).map(Some),
        Table::Closed => closing::restored(&entry).map(Some),
        Table::Workflow | Table::Step => match reader.read(&entry) {
            Ok(found) => Ok(Some(Restored::Run(Box::new(found)))),
            Err(error) => {
                tracing::error!(%error, table = ?entry.table, "an entry of a workflow cannot be read");
                Ok(None)
            }
        },
        _ => Ok(Some(Restored::Entry(entry))),
    }
}
