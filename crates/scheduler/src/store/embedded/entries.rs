//! Reads of entries.

use std::ops::Bound;

use bytes::Bytes;

use super::{key, partition::Partition, read::bytes_of};
use crate::store::{
    Entry, Error, Loaded, SCAN_BYTES_MAX, Table,
    error::{corrupt, unavailable},
};

/// Bytes of the expiry before an entry's value.
const EXPIRY_LEN: usize = 8;

impl Partition {
    pub(super) fn read_entry(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let key = key::entry(self.number, table, key);
        let found = self.shared.keyspaces.entries.get(&key).map_err(|error| unavailable("read", error))?;
        found.map(|value| split(&key, bytes_of(value)).map(|(_, value)| value)).transpose()
    }

    pub(super) fn scan_entries(
        &self,
        table: Table,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Error> {
        let prefix_key = key::entry(self.number, table, prefix);
        let after = after.map(|after| key::entry(self.number, table, after)).filter(|after| *after >= prefix_key);
        let from = after.map_or(Bound::Included(prefix_key.clone()), Bound::Excluded);
        let (mut found, mut bytes) = (Vec::new(), 0);
        for item in self.shared.keyspaces.entries.range((from, Bound::Unbounded)) {
            if found.len() >= limit || bytes > SCAN_BYTES_MAX {
                break;
            }
            let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
            if !key.starts_with(&prefix_key) {
                break;
            }
            let (_, value) = split(&key, bytes_of(value))?;
            bytes += value.len();
            found.push((Bytes::copy_from_slice(key::entry_of(&key)?), value));
        }
        Ok(found)
    }

    pub(super) fn load_entries(&self, visit: &mut dyn FnMut(Loaded)) -> Result<(), Error> {
        for table in Table::ALL.into_iter().filter(|table| table.is_loaded()) {
            for item in self.shared.keyspaces.entries.prefix(key::entry(self.number, table, b"")) {
                let (key, value) = item.into_inner().map_err(|error| unavailable("read", error))?;
                let (expires_ms, value) = split(&key, bytes_of(value))?;
                let key = Bytes::copy_from_slice(key::entry_of(&key)?);
                visit(Loaded::Entry(Entry { table, key, value, expires_ms }));
            }
        }
        Ok(())
    }
}

/// The expiry and the value.
pub(super) fn split(key: &[u8], mut value: Bytes) -> Result<(u64, Bytes), Error> {
    let rest = value.split_off(value.len().min(EXPIRY_LEN));
    let expires_ms = value[..].try_into().map_err(|_| corrupt(&format!("{key:02x?}"), &"cut off"))?;
    Ok((u64::from_le_bytes(expires_ms), rest))
}
