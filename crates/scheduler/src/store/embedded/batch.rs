//! From writes to one batch of fjall's.

use fjall::OwnedWriteBatch;
use prost::Message as _;

use super::{
    key::{self, Blob},
    shared::{Keyspaces, Shared},
};
use crate::store::{Entry, Fixed, KeyRecord, Moving, SPEC_INLINE_MAX, Stored, Write, record::KeyValue};

/// A batch under construction.
pub(super) struct Batch<'a> {
    keyspaces: &'a Keyspaces,
    batch: OwnedWriteBatch,
    /// Where records are built.
    scratch: Vec<u8>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(shared: &'a Shared, writes: usize) -> Self {
        let batch = OwnedWriteBatch::with_capacity(shared.database.clone(), writes * 2);
        Self { keyspaces: &shared.keyspaces, batch, scratch: Vec::new() }
    }

    pub(super) fn finish(self) -> OwnedWriteBatch {
        self.batch
    }

    pub(super) fn put(&mut self, partition: u32, write: &Write) {
        let Keyspaces { open, done, blobs, logs, entries, .. } = self.keyspaces;
        match write {
            Write::Submitted { id, fixed, whole, moving, key } => {
                let record = self.record(fixed, moving);
                self.batch.insert(open, key::task(partition, *id), record);
                if let Some(whole) = whole {
                    self.batch.insert(blobs, key::blob(partition, *id, Blob::Spec), &whole[..]);
                }
                if let Some(key) = key {
                    self.put_key(partition, key);
                }
            }
            Write::Updated { id, fixed, moving } => {
                let record = self.record(fixed, moving);
                self.batch.insert(open, key::task(partition, *id), record);
            }
            Write::Finished { id, fixed, moving } => {
                self.batch.remove(open, key::task(partition, *id));
                let record = match &moving.output {
                    Some(output) if output.len() > SPEC_INLINE_MAX => {
                        self.batch.insert(blobs, key::blob(partition, *id, Blob::Output), &output[..]);
                        self.record(fixed, &moving.without_output())
                    }
                    _ => self.record(fixed, moving),
                };
                self.batch.insert(done, key::task(partition, *id), record);
            }
            Write::Logs { id, chunk } => {
                let first = chunk.lines.first().map_or(0, |line| line.seq);
                self.batch.insert(logs, key::log(partition, *id, first), chunk.encode_to_vec());
            }
            Write::Put(entry) => self.put_entry(partition, entry),
            // An expiry that is left behind finds no entry when its time comes.
            Write::Delete { table, key } => self.batch.remove(entries, key::entry(partition, *table, key)),
        }
    }

    fn put_key(&mut self, partition: u32, key: &KeyRecord) {
        let value = KeyValue::from(key).encode_to_vec();
        self.batch.insert(&self.keyspaces.keys, key::forget(partition, key.forget_at, key.task), value);
    }

    fn put_entry(&mut self, partition: u32, entry: &Entry) {
        let Entry { table, key, value, expires_ms } = entry;
        if *expires_ms != 0 {
            let expiry = key::expiry(partition, *expires_ms, *table as u8, key);
            self.batch.insert(&self.keyspaces.expiries, expiry, []);
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&expires_ms.to_le_bytes());
        self.scratch.extend_from_slice(value);
        let key = key::entry(partition, *table, key);
        self.batch.insert(&self.keyspaces.entries, key, &self.scratch[..]);
    }

    fn record(&mut self, fixed: &Fixed, moving: &Moving) -> fjall::Slice {
        self.scratch.clear();
        Stored::encode(fixed, moving, &mut self.scratch);
        fjall::Slice::from(&self.scratch[..])
    }
}
