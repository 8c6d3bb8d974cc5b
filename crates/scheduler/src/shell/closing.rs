//! A word for the next owner of a partition: what may run of it.
//!
//! A dispatch is not on record, so a new owner lets restored tasks wait for a worker's lease, in case one of them runs.
//! An owner that closes in order knows what runs. It says so in an entry, after its last commit and under its fence; the
//! next owner takes it and deletes it in the commit that comes before its first dispatch. So a word is believed only by
//! whoever follows the one that left it. Without a word, and when it cannot be written, everything waits as after a crash.

use bytes::Bytes;
use mcp_engine::{Partition, TaskId};

use super::{Shell, request::Restored};
use crate::store::{self, Entry, Table, Write};

/// Most tasks in a word: 160 kB. When more may run, there is none.
const NAMED_MAX: usize = 10_000;
/// Key of the entry.
const KEY: &[u8] = b"running";
/// Bytes of an id.
const ID_BYTES: usize = 16;

impl Shell {
    /// Leaves word of what may run of an open partition that is about to be closed, everything else being committed.
    pub(super) fn leave_word(&self, partition: u16) {
        let Some(store) = self.hosted.store(partition).filter(|_| self.hosted.is_open(partition)) else { return };
        let running = self.engine.perhaps_running(Partition(partition));
        if running.len() > NAMED_MAX {
            return;
        }
        if let Err(error) = store.commit(&[Write::Put(entry(&running))]) {
            tracing::debug!(partition, %error, "no word for the next owner: its tasks wait as after a crash");
        }
    }

    /// Believes no word of an earlier owner any more, from the next commit on.
    pub(super) fn delete_word(&mut self, partition: u16) {
        let delete = Write::Delete { table: Table::Closed, key: Bytes::from_static(KEY) };
        self.staging.writes.push(partition, delete);
    }
}

fn entry(running: &[TaskId]) -> Entry {
    let value: Vec<u8> = running.iter().flat_map(|task| task.0.to_be_bytes()).collect();
    Entry { table: Table::Closed, key: Bytes::from_static(KEY), value: value.into(), expires_ms: 0 }
}

/// What an entry means to the engine.
///
/// # Errors
/// [`store::Error::Corrupt`].
pub(super) fn restored(entry: &Entry) -> Result<Restored, store::Error> {
    let (ids, []) = entry.value.as_chunks::<ID_BYTES>() else {
        let (key, reason) = (entry.key.escape_ascii().to_string(), "not a list of tasks".to_owned());
        return Err(store::Error::Corrupt { key, reason });
    };
    Ok(Restored::ClosedInOrder(ids.iter().map(|id| TaskId(u128::from_be_bytes(*id))).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_comes_back_as_it_was_left() {
        for running in [vec![], vec![TaskId(7)], vec![TaskId(1), TaskId(u128::MAX)]] {
            let Restored::ClosedInOrder(found) = restored(&entry(&running)).unwrap() else { panic!("not a word") };
            assert_eq!(found, running);
        }
        let cut = Entry { value: Bytes::from_static(&[0; 17]), ..entry(&[]) };
        assert!(restored(&cut).is_err());
    }
}
