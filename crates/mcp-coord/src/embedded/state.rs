//! The keys, leases and recent changes of the embedded backend: no I/O, no clock, no waiting.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::model::{Change, Error, Expected, KeyValue, LeaseId, Revision, Snapshot};

/// How many changes are remembered for watches. One that falls further behind gets a new snapshot.
pub(super) const HISTORY_LEN_MAX: usize = 1024;
/// How many keys there may be.
const KEYS_MAX: usize = 100_000;
/// How many leases there may be.
const LEASES_MAX: usize = 100_000;

/// What watches wait for: the state has another revision, or another lease ends next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signal {
    pub(super) revision: Revision,
    pub(super) next_end: Option<Instant>,
}

#[derive(Debug)]
struct Lease {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<String>,
}

/// Everything there is. `expire` must run before anything is read or written.
#[derive(Debug)]
pub(super) struct State {
    revision: i64,
    lease_last: i64,
    entries: BTreeMap<String, KeyValue>,
    leases: BTreeMap<LeaseId, Lease>,
    ends: BTreeSet<(Instant, LeaseId)>,
    history: VecDeque<(Revision, Change)>,
    /// The newest revision that left the history.
    forgotten: Revision,
    /// Counts changes to the keys without a lease, which outlive the process.
    lasting_version: u64,
}

impl State {
    /// A state whose revisions and lease ids are all greater than `floor`.
    pub(super) fn new(floor: i64, entries: Vec<KeyValue>) -> Self {
        Self {
            revision: floor,
            lease_last: floor,
            entries: entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect(),
            leases: BTreeMap::new(),
            ends: BTreeSet::new(),
            history: VecDeque::new(),
            forgotten: Revision(floor),
            lasting_version: 0,
        }
    }

    pub(super) fn signal(&self) -> Signal {
        Signal { revision: Revision(self.revision), next_end: self.ends.first().map(|(ends, _)| *ends) }
    }

    /// The keys that outlive the process, and the number of that set.
    pub(super) fn lasting(&self) -> (Vec<KeyValue>, u64) {
        let entries = self.entries.values().filter(|entry| entry.lease.is_none()).cloned().collect();
        (entries, self.lasting_version)
    }

    pub(super) const fn lasting_version(&self) -> u64 {
        self.lasting_version
    }

    /// Ends the leases whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(&(ends, lease)) = self.ends.first()
            && ends <= now
        {
            self.end(lease);
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<KeyValue> {
        self.entries.get(key).cloned()
    }

    pub(super) fn range(&self, prefix: &str) -> Snapshot {
        let entries = self
            .entries
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry.clone())
            .collect();
        Snapshot { entries, revision: Revision(self.revision) }
    }

    /// What a watch has not seen after `seen`, and the revision it then has seen.
    pub(super) fn since(&self, prefix: &str, seen: Option<Revision>) -> (Vec<Change>, Revision) {
        let now = Revision(self.revision);
        let changes = match seen {
            Some(seen) if seen >= self.forgotten => {
                let start = self.history.partition_point(|(revision, _)| *revision <= seen);
                self.history
                    .range(start..)
                    .filter(|(_, change)| concerns(change, prefix))
                    .map(|(_, c)| c.clone())
                    .collect()
            }
            _ => vec![Change::Snapshot(self.range(prefix))],
        };
        (changes, now)
    }

    pub(super) fn put(&mut self, key: &str, value: Bytes, lease: Option<LeaseId>) -> Result<Revision, Error> {
        let before = self.entries.get(key);
        if let Some(lease) = lease
            && !self.leases.contains_key(&lease)
        {
            return Err(Error::LeaseEnded { lease });
        }
        if before.is_none() && self.entries.len() >= KEYS_MAX {
            return Err(Error::Unavailable { reason: format!("there are {KEYS_MAX} keys already") });
        }
        let (created, old_lease) = before.map_or((None, None), |entry| (Some(entry.created), entry.lease));
        if lease.is_none() || (created.is_some() && old_lease.is_none()) {
            self.lasting_version += 1;
        }
        self.detach(key, old_lease);
        if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            lease.keys.insert(key.to_owned());
        }
        let revision = self.next_revision();
        let entry =
            KeyValue { key: key.to_owned(), value, created: created.unwrap_or(revision), modified: revision, lease };
        self.entries.insert(key.to_owned(), entry.clone());
        self.remember(revision, Change::Put(entry));
        Ok(revision)
    }

    pub(super) fn delete(&mut self, key: &str) -> bool {
        let Some(lease) = self.entries.get(key).map(|entry| entry.lease) else { return false };
        if lease.is_none() {
            self.lasting_version += 1;
        }
        self.detach(key, lease);
        let revision = self.next_revision();
        self.remove(key, revision);
        true
    }

    pub(super) fn compare_and_put(
        &mut self,
        key: &str,
        expected: Expected,
        value: Bytes,
        lease: Option<LeaseId>,
    ) -> Result<Revision, Error> {
        let modified = self.entries.get(key).map(|entry| entry.modified);
        let matches = match expected {
            Expected::Absent => modified.is_none(),
            Expected::Modified(revision) => modified == Some(revision),
        };
        if matches { self.put(key, value, lease) } else { Err(Error::Conflict { key: key.to_owned() }) }
    }

    pub(super) fn compare_and_delete(&mut self, key: &str, modified: Revision) -> Result<(), Error> {
        if self.entries.get(key).is_none_or(|entry| entry.modified != modified) {
            return Err(Error::Conflict { key: key.to_owned() });
        }
        self.delete(key);
        Ok(())
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> Result<LeaseId, Error> {
        if self.leases.len() >= LEASES_MAX {
            return Err(Error::Unavailable { reason: format!("there are {LEASES_MAX} leases already") });
        }
        self.lease_last += 1;
        let (lease, ends) = (LeaseId(self.lease_last), now + ttl);
        self.leases.insert(lease, Lease { ttl, ends, keys: BTreeSet::new() });
        self.ends.insert((ends, lease));
        Ok(lease)
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId, now: Instant) -> Result<Duration, Error> {
        let lease = self.leases.get_mut(&id).ok_or(Error::LeaseEnded { lease: id })?;
        self.ends.remove(&(lease.ends, id));
        lease.ends = now + lease.ttl;
        self.ends.insert((lease.ends, id));
        Ok(lease.ttl)
    }

    /// Ends a lease; all its keys go at one revision.
    pub(super) fn end(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else { return };
        self.ends.remove(&(lease.ends, id));
        if lease.keys.is_empty() {
            return;
        }
        let revision = self.next_revision();
        for key in &lease.keys {
            self.remove(key, revision);
        }
    }

    fn detach(&mut self, key: &str, lease: Option<LeaseId>) {
        if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            lease.keys.remove(key);
        }
    }

    const fn next_revision(&mut self) -> Revision {
        self.revision += 1;
        Revision(self.revision)
    }

    fn remove(&mut self, key: &str, revision: Revision) {
        self.entries.remove(key);
        self.remember(revision, Change::Delete { key: key.to_owned(), revision });
    }

    fn remember(&mut self, revision: Revision, change: Change) {
        self.history.push_back((revision, change));
        if self.history.len() > HISTORY_LEN_MAX
            && let Some((revision, _)) = self.history.pop_front()
        {
            self.forgotten = revision;
        }
    }
}

fn concerns(change: &Change, prefix: &str) -> bool {
    match change {
        Change::Snapshot(_) => true,
        Change::Put(entry) => entry.key.starts_with(prefix),
        Change::Delete { key, .. } => key.starts_with(prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(state: &mut State, times: usize) {
        for _ in 0..times {
            state.put("a", Bytes::from_static(b"1"), None).unwrap();
        }
    }

    #[test]
    fn a_watch_that_is_exactly_as_old_as_the_history_misses_nothing() {
        let mut state = State::new(0, Vec::new());
        let (_, seen) = state.since("a", None);
        write(&mut state, HISTORY_LEN_MAX);
        let (changes, _) = state.since("a", Some(seen));
        assert_eq!(changes.len(), HISTORY_LEN_MAX);
        assert!(changes.iter().all(|change| matches!(change, Change::Put(_))));
    }

    #[test]
    fn a_watch_that_is_older_than_the_history_gets_a_snapshot() {
        let mut state = State::new(0, Vec::new());
        let (_, seen) = state.since("a", None);
        write(&mut state, HISTORY_LEN_MAX + 1);
        let (changes, now) = state.since("a", Some(seen));
        assert!(matches!(&changes[..], [Change::Snapshot(snapshot)] if snapshot.revision == now));
    }

    #[test]
    fn a_key_that_gets_a_lease_no_longer_lasts() {
        let mut state = State::new(0, Vec::new());
        write(&mut state, 1);
        let (lasting, version) = state.lasting();
        assert_eq!(lasting.len(), 1);
        let lease = state.grant(Duration::from_secs(1), Instant::now()).unwrap();
        state.put("a", Bytes::new(), Some(lease)).unwrap();
        assert!(state.lasting().0.is_empty() && state.lasting_version() > version);
    }
}
