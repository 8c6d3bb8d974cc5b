//! What is known about the instances: the changes of the watch applied one by one. Pure: the time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mcp_coord::{Change, InstanceRecord, KeyValue, Snapshot};
use tokio::time::Instant;
use tracing::warn;

use super::instances::Instances;

/// How long the instances of a service stay known after a snapshot showed none of them.
pub const EMPTY_SERVICE_HOLD: Duration = Duration::from_secs(15);

/// The known instances by key.
#[derive(Debug, Default)]
pub(super) struct Known {
    entries: BTreeMap<String, Entry>,
    undecodable: u64,
    has_snapshot: bool,
}

#[derive(Debug)]
struct Entry {
    record: Arc<InstanceRecord>,
    /// Set while a snapshot lacks it, and with it the whole service: when it goes for good.
    held_until: Option<Instant>,
}

impl Known {
    /// Applies a change; true when the instances are not the same as before.
    pub(super) fn apply(&mut self, change: Change, now: Instant) -> bool {
        match change {
            Change::Snapshot(snapshot) => self.replace(snapshot, now),
            Change::Put(entry) => self.put(&entry),
            Change::Delete { key, .. } => self.entries.remove(&key).is_some(),
        }
    }

    /// Drops what was held and has not come back; true when there was any.
    pub(super) fn expire(&mut self, now: Instant) -> bool {
        let len = self.entries.len();
        self.entries.retain(|_, entry| entry.held_until.is_none_or(|until| until > now));
        self.entries.len() != len
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.entries.values().filter_map(|entry| entry.held_until).min()
    }

    /// The view of now.
    pub(super) fn instances(&self) -> Instances {
        Instances::new(self.entries.values().map(|entry| Arc::clone(&entry.record)))
    }

    /// Records that could not be decoded so far.
    pub(super) fn undecodable(&self) -> u64 {
        self.undecodable
    }

    fn replace(&mut self, snapshot: Snapshot, now: Instant) -> bool {
        let first = !std::mem::replace(&mut self.has_snapshot, true);
        let mut changed = first;
        let listed: BTreeSet<String> = snapshot.entries.iter().map(|entry| entry.key.clone()).collect();
        for entry in &snapshot.entries {
            changed |= self.put(entry);
        }
        let alive: BTreeSet<String> = self
            .entries
            .iter()
            .filter(|(key, _)| listed.contains(*key))
            .map(|(_, entry)| entry.record.service.clone())
            .collect();
        let mut held_services = BTreeSet::new();
        self.entries.retain(|key, entry| {
            if listed.contains(key) || entry.held_until.is_some() {
                return true;
            }
            if alive.contains(&entry.record.service) {
                changed = true;
                return false;
            }
            entry.held_until = Some(now + EMPTY_SERVICE_HOLD);
            held_services.insert(entry.record.service.clone());
            true
        });
        for service in held_services {
            warn!(service, hold = ?EMPTY_SERVICE_HOLD, "all instances gone at once: kept for a while");
        }
        changed
    }

    fn put(&mut self, entry: &KeyValue) -> bool {
        let record: InstanceRecord = match serde_json::from_slice(&entry.value) {
            Ok(record) => record,
            Err(error) => {
                self.undecodable += 1;
                warn!(key = entry.key, %error, "instance record cannot be decoded: skipped");
                // The last valid record under this key stays, and is not held: the key is there.
                if let Some(known) = self.entries.get_mut(&entry.key) {
                    known.held_until = None;
                }
                return false;
            }
        };
        match self.entries.get_mut(&entry.key) {
            Some(known) => {
                known.held_until = None;
                if *known.record == record {
                    return false;
                }
                known.record = Arc::new(record);
            }
            None => {
                let entry_known = Entry { record: Arc::new(record), held_until: None };
                self.entries.insert(entry.key.clone(), entry_known);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use mcp_coord::{Change, InstanceRecord, KeyValue, Revision, Snapshot};
    use tokio::time::Instant;

    use super::{EMPTY_SERVICE_HOLD, Known};

    fn entry(service: &str, id: &str, address: &str) -> KeyValue {
        let record = InstanceRecord {
            service: service.into(),
            instance_id: id.into(),
            address: address.into(),
            version: String::new(),
            zone: String::new(),
            weight: 100,
            grpc_services: vec![format!("mcp.{service}.v1.Service")],
            labels: Default::default(),
            registered_unix_ms: 0,
        };
        raw(&format!("/s/{service}/{id}"), serde_json::to_vec(&record).unwrap())
    }

    fn raw(key: &str, value: Vec<u8>) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: Bytes::from(value),
            created: Revision(1),
            modified: Revision(1),
            lease: None,
        }
    }

    fn snapshot(entries: Vec<KeyValue>) -> Change {
        Change::Snapshot(Snapshot { entries, revision: Revision(1) })
    }

    fn delete(key: &str) -> Change {
        Change::Delete { key: key.into(), revision: Revision(2) }
    }

    fn addresses(known: &Known, service: &str) -> Vec<String> {
        known.instances().by_service(service).iter().map(|record| record.address.clone()).collect()
    }

    #[test]
    fn deltas_change_what_a_snapshot_showed() {
        let (mut known, now) = (Known::default(), Instant::now());
        assert!(known.apply(snapshot(vec![entry("a", "1", "h:1"), entry("a", "2", "h:2")]), now));
        assert!(!known.apply(Change::Put(entry("a", "1", "h:1")), now), "nothing new");
        assert!(known.apply(Change::Put(entry("a", "1", "h:9")), now));
        assert!(known.apply(delete("/s/a/2"), now));
        assert!(!known.apply(delete("/s/a/2"), now));
        assert_eq!(addresses(&known, "a"), ["h:9"]);
        assert_eq!(known.instances().by_grpc_service("mcp.a.v1.Service").len(), 1);
        assert!(known.instances().by_grpc_service("mcp.b.v1.Service").is_empty());
    }

    #[test]
    fn a_snapshot_removes_single_instances_at_once() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.apply(snapshot(vec![entry("a", "1", "h:1"), entry("a", "2", "h:2")]), now);
        assert!(known.apply(snapshot(vec![entry("a", "2", "h:2")]), now));
        assert_eq!(addresses(&known, "a"), ["h:2"]);
    }

    #[test]
    fn a_service_that_vanishes_from_a_snapshot_is_kept_for_a_while() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.apply(snapshot(vec![entry("a", "1", "h:1"), entry("a", "2", "h:2"), entry("b", "1", "h:3")]), now);
        assert!(!known.apply(snapshot(vec![entry("b", "1", "h:3")]), now));
        assert_eq!(addresses(&known, "a"), ["h:1", "h:2"]);

        // One comes back in time, a second empty snapshot does not prolong the wait of the other.
        let later = now + EMPTY_SERVICE_HOLD / 2;
        known.apply(Change::Put(entry("a", "1", "h:1")), later);
        known.apply(snapshot(vec![entry("a", "1", "h:1"), entry("b", "1", "h:3")]), later);
        assert_eq!(known.next_expiry(), Some(now + EMPTY_SERVICE_HOLD));
        assert!(!known.expire(later));
        assert!(known.expire(now + EMPTY_SERVICE_HOLD));
        assert_eq!(addresses(&known, "a"), ["h:1"]);
        assert_eq!(known.next_expiry(), None);
    }

    #[test]
    fn a_delta_removes_a_kept_instance_at_once() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.apply(snapshot(vec![entry("a", "1", "h:1")]), now);
        known.apply(snapshot(vec![]), now);
        assert!(known.apply(delete("/s/a/1"), now));
        assert!(addresses(&known, "a").is_empty());
    }

    #[test]
    fn what_cannot_be_decoded_is_skipped_and_the_last_valid_record_stays() {
        let (mut known, now) = (Known::default(), Instant::now());
        known.apply(snapshot(vec![entry("a", "1", "h:1"), raw("/s/a/2", b"{".to_vec())]), now);
        assert!(!known.apply(Change::Put(raw("/s/a/1", b"[]".to_vec())), now));
        assert_eq!((addresses(&known, "a"), known.undecodable()), (vec!["h:1".to_owned()], 2));
    }
}
