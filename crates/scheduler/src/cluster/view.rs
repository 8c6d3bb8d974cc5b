//! The view, and how changes of the coordination store change it. Pure: the time is an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use mcp_coord::{Change, InstanceRecord, KeyValue};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};

use super::rendezvous::weight;

/// The view of the moment, and news of it.
pub(crate) type Views = watch::Receiver<Arc<View>>;

/// How a replica signs what it owns: readable JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Name under which it registers.
    #[serde(default)]
    pub(crate) instance_id: String,
    /// Unlike that of any other start, under the same name or not.
    #[serde(default)]
    pub(crate) incarnation: String,
    /// Where it listens, `host:port`.
    #[serde(default)]
    pub(crate) address: String,
}

impl Identity {
    /// The value of a key that it owns.
    pub(crate) fn value(&self) -> Bytes {
        serde_json::to_vec(self).expect("three texts are JSON").into()
    }
}

/// A registered scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Where it listens, `host:port`.
    pub(crate) address: String,
    /// When it registered; another start has another time.
    registered_unix_ms: u64,
}

/// A partition's key is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Vacancy {
    /// Since when, as seen here.
    pub(crate) since: Instant,
    /// The owner left it behind without a reason to hand it over: it may be dead.
    pub(crate) is_sudden: bool,
}

/// The cluster as seen here.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// The schedulers that are registered, by instance id.
    pub(crate) members: BTreeMap<String, Member>,
    /// The owner of each partition that has one.
    owners: BTreeMap<u16, Identity>,
    /// Partitions that had an owner and have none now.
    vacancies: BTreeMap<u16, Vacancy>,
    /// Members that lost a partition they should have kept, until when they are left out of account.
    suspects: BTreeMap<String, Instant>,
    has_members: bool,
    has_owners: bool,
    /// When the members changed last.
    pub(crate) members_changed: Option<Instant>,
}

impl View {
    /// True once both watches told what there is.
    pub(crate) fn is_synced(&self) -> bool {
        self.has_members && self.has_owners
    }

    /// The owner of a partition; `None` when it has none.
    pub(crate) fn owner(&self, partition: u16) -> Option<&Identity> {
        self.owners.get(&partition)
    }

    /// Since when a partition has no owner; `None` when it has one, or was never seen with one.
    pub(crate) fn vacancy(&self, partition: u16) -> Option<&Vacancy> {
        self.vacancies.get(&partition)
    }

    /// The members that may own a partition, the preferred one first. `me` is always among them.
    pub(crate) fn ranking<'a>(&'a self, me: &'a str, partition: u16, now: Instant) -> Vec<&'a str> {
        let is_trusted = |id: &&str| self.suspects.get(*id).is_none_or(|until| *until <= now);
        let others = self.members.keys().map(String::as_str).filter(|id| *id != me).filter(is_trusted);
        let mut ranking: Vec<&str> = others.chain([me]).collect();
        ranking.sort_by_key(|id| std::cmp::Reverse((weight(id, partition), *id)));
        ranking
    }

    /// When the first suspicion ends.
    pub(crate) fn next_trust(&self, now: Instant) -> Option<Instant> {
        self.suspects.values().copied().filter(|until| *until > now).min()
    }

    /// True when another scheduler is registered.
    pub(crate) fn has_others(&self, me: &str) -> bool {
        self.members.keys().any(|id| id != me)
    }

    /// Applies a change below the key of the schedulers' registrations; true when something is different.
    pub(super) fn change_members(&mut self, change: Change, prefix: &str, now: Instant) -> bool {
        let before = self.members.clone();
        match change {
            Change::Snapshot(snapshot) => {
                self.has_members = true;
                self.members = snapshot.entries.iter().filter_map(|entry| member(entry, prefix)).collect();
            }
            Change::Put(entry) => self.members.extend(member(&entry, prefix)),
            Change::Delete { key, .. } => {
                if let Some(id) = key.strip_prefix(prefix) {
                    self.members.remove(id);
                }
            }
        }
        let is_same_start = |id: &String| before.get(id) == self.members.get(id) && before.contains_key(id);
        self.suspects.retain(|id, _| is_same_start(id));
        let changed = self.members != before || self.members_changed.is_none();
        if changed {
            self.members_changed = Some(now);
        }
        changed
    }

    /// Applies a change below the key of the partitions' owners. `trust_after` is how long a member that lost a partition
    /// for no visible reason is left out of account: as long as its registration may outlive it.
    pub(super) fn change_owners(&mut self, change: Change, prefix: &str, now: Instant, trust_after: Duration) -> bool {
        match change {
            Change::Snapshot(snapshot) => {
                let found: BTreeMap<_, _> = snapshot.entries.iter().filter_map(|entry| owner(entry, prefix)).collect();
                let changed = !std::mem::replace(&mut self.has_owners, true) || found != self.owners;
                let gone: BTreeSet<u16> = self.owners.keys().copied().filter(|key| !found.contains_key(key)).collect();
                gone.into_iter().for_each(|partition| self.vacate(partition, now, trust_after));
                found.into_iter().for_each(|(partition, identity)| self.own(partition, identity));
                changed
            }
            Change::Put(entry) => match owner(&entry, prefix) {
                Some((partition, identity)) => {
                    self.own(partition, identity);
                    true
                }
                None => false,
            },
            Change::Delete { key, .. } => match number(&key, prefix) {
                Some(partition) => {
                    self.vacate(partition, now, trust_after);
                    true
                }
                None => false,
            },
        }
    }

    fn own(&mut self, partition: u16, identity: Identity) {
        self.vacancies.remove(&partition);
        if self.owners.get(&partition) != Some(&identity) {
            self.suspects.remove(&identity.instance_id); // it claims, so it lives
            self.owners.insert(partition, identity);
        }
    }

    /// Whoever hands a partition over, or stops, is not the preferred owner any more, or not registered. So a preferred
    /// owner that loses its key did not let it go.
    fn vacate(&mut self, partition: u16, now: Instant, trust_after: Duration) {
        let Some(last) = self.owners.remove(&partition) else { return };
        let preferred = self.members.keys().max_by_key(|id| (weight(id, partition), id.as_str()));
        let is_sudden = preferred == Some(&last.instance_id) || self.suspects.contains_key(&last.instance_id);
        if is_sudden && self.members.contains_key(&last.instance_id) {
            self.suspects.insert(last.instance_id, now + trust_after);
        }
        self.vacancies.insert(partition, Vacancy { since: now, is_sudden });
    }
}

fn member(entry: &KeyValue, prefix: &str) -> Option<(String, Member)> {
    let id = entry.key.strip_prefix(prefix)?;
    match serde_json::from_slice::<InstanceRecord>(&entry.value) {
        Ok(InstanceRecord { address, registered_unix_ms, .. }) => {
            Some((id.to_owned(), Member { address, registered_unix_ms }))
        }
        Err(error) => {
            tracing::warn!(key = entry.key, %error, "instance record cannot be decoded: skipped");
            None
        }
    }
}

/// An owner that cannot be read is an owner all the same, only one that nobody can call.
fn owner(entry: &KeyValue, prefix: &str) -> Option<(u16, Identity)> {
    let partition = number(&entry.key, prefix)?;
    Some((partition, serde_json::from_slice(&entry.value).unwrap_or_default()))
}

fn number(key: &str, prefix: &str) -> Option<u16> {
    key.strip_prefix(prefix)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use mcp_coord::{Revision, Snapshot};

    use super::*;

    const MEMBERS: &str = "/services/scheduler/";
    const OWNERS: &str = "/partitions/";
    const TRUST_AFTER: Duration = Duration::from_secs(10);

    fn entry(key: String, value: Vec<u8>) -> KeyValue {
        KeyValue { key, value: value.into(), created: Revision(1), modified: Revision(1), lease: None }
    }

    fn registered(id: &str, unix_ms: u64) -> Change {
        let record = serde_json::json!({
            "service": "scheduler", "instance_id": id, "address": format!("{id}:1"), "registered_unix_ms": unix_ms,
        });
        Change::Put(entry(format!("{MEMBERS}{id}"), record.to_string().into_bytes()))
    }

    fn owned(partition: u16, id: &str) -> Change {
        let identity = Identity { instance_id: id.to_owned(), ..Identity::default() };
        Change::Put(entry(format!("{OWNERS}{partition}"), identity.value().to_vec()))
    }

    fn gone(key: String) -> Change {
        Change::Delete { key, revision: Revision(2) }
    }

    struct Fixture {
        view: View,
        now: Instant,
    }

    impl Fixture {
        fn new(members: &[&str]) -> Self {
            let mut fixture = Self { view: View::default(), now: Instant::now() };
            let empty = || Change::Snapshot(Snapshot { entries: Vec::new(), revision: Revision(1) });
            fixture.members(empty());
            fixture.owners(empty());
            assert!(fixture.view.is_synced());
            members.iter().for_each(|id| fixture.members(registered(id, 1)));
            fixture
        }

        fn members(&mut self, change: Change) {
            self.view.change_members(change, MEMBERS, self.now);
        }

        fn owners(&mut self, change: Change) {
            self.view.change_owners(change, OWNERS, self.now, TRUST_AFTER);
        }

        fn first(&self, partition: u16) -> String {
            self.view.ranking("a", partition, self.now)[0].to_owned()
        }

        /// A partition that `id` is preferred for.
        fn partition_of(&self, id: &str) -> u16 {
            (0..256).find(|partition| self.first(*partition) == id).unwrap()
        }
    }

    #[test]
    fn a_preferred_owner_that_loses_its_key_is_left_out_until_its_registration_would_be_gone() {
        let mut fixture = Fixture::new(&["a", "b", "c"]);
        let partition = fixture.partition_of("b");
        fixture.owners(owned(partition, "b"));
        fixture.owners(gone(format!("{OWNERS}{partition}")));
        assert!(fixture.view.vacancy(partition).unwrap().is_sudden);
        assert_ne!(fixture.first(partition), "b");
        assert_eq!(fixture.view.next_trust(fixture.now), Some(fixture.now + TRUST_AFTER));
        fixture.now += TRUST_AFTER;
        assert_eq!(fixture.first(partition), "b", "it lives after all");
    }

    #[test]
    fn a_suspect_that_claims_or_starts_again_is_trusted() {
        for sign_of_life in [owned(200, "b"), registered("b", 2)] {
            let mut fixture = Fixture::new(&["a", "b", "c"]);
            let partition = fixture.partition_of("b");
            fixture.owners(owned(partition, "b"));
            fixture.owners(gone(format!("{OWNERS}{partition}")));
            match &sign_of_life {
                Change::Put(entry) if entry.key.starts_with(OWNERS) => fixture.owners(sign_of_life),
                _ => fixture.members(sign_of_life),
            }
            assert_eq!(fixture.first(partition), "b");
        }
    }

    #[test]
    fn whoever_hands_over_or_stops_is_not_suspected() {
        let mut fixture = Fixture::new(&["a", "b", "c"]);
        let partition = fixture.partition_of("b");
        fixture.owners(owned(partition, "c"));
        fixture.owners(gone(format!("{OWNERS}{partition}")));
        assert!(!fixture.view.vacancy(partition).unwrap().is_sudden);
        fixture.owners(owned(partition, "b"));
        assert_eq!(fixture.view.vacancy(partition), None);
        fixture.members(gone(format!("{MEMBERS}b")));
        fixture.owners(gone(format!("{OWNERS}{partition}")));
        assert!(!fixture.view.vacancy(partition).unwrap().is_sudden);
        assert_eq!(fixture.view.next_trust(fixture.now), None);
    }

    #[test]
    fn a_snapshot_replaces_what_was_known() {
        let mut fixture = Fixture::new(&["b"]);
        fixture.owners(owned(1, "b"));
        fixture.owners(owned(2, "b"));
        let Change::Put(kept) = owned(2, "c") else { unreachable!() };
        let stranger = entry(format!("{OWNERS}3"), b"somebody".to_vec());
        fixture.owners(Change::Snapshot(Snapshot { entries: vec![kept, stranger], revision: Revision(9) }));
        assert!(fixture.view.owner(1).is_none() && fixture.view.vacancy(1).is_some());
        assert_eq!(fixture.view.owner(2).unwrap().instance_id, "c");
        assert_eq!(fixture.view.owner(3), Some(&Identity::default()), "an owner that cannot be called");
        assert!(fixture.view.has_others("a") && !fixture.view.has_others("b"));
    }
}
