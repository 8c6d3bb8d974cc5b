//! The keys that are known, kept up to date by a watch. While coordination is away, the last ones count.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use mcp_coord::{Change, Coordinator, KeyValue, WatchStream, keys};
use tokio::{sync::watch, time::sleep};

use super::record::Record;
use crate::security::principal::{Principal, Proof};

/// Most keys of a cluster.
pub(crate) const KEYS_MAX: usize = 10_000;

/// Pause after a watch could not be opened, or ended.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// A key that is known.
#[derive(Debug)]
pub(crate) struct Key {
    /// What is kept of it.
    pub(crate) record: Record,
    /// Who bears it.
    pub(crate) principal: Arc<Principal>,
}

impl From<Record> for Key {
    fn from(record: Record) -> Self {
        let name = format!("key:{}", record.id).into();
        let principal = Principal { name, proof: Proof::ApiKey, grants: record.roles.clone() };
        Self { record, principal: Arc::new(principal) }
    }
}

/// Keys by their id.
type Known = HashMap<String, Arc<Key>>;

/// The keys that are known.
#[derive(Debug)]
pub(crate) struct Keys {
    known: ArcSwap<Known>,
    synced: watch::Sender<bool>,
}

impl Keys {
    /// None is known before [`follow`](Self::follow) has learned them.
    pub(crate) fn new() -> Self {
        Self { known: ArcSwap::default(), synced: watch::Sender::new(false) }
    }

    /// The key with an id.
    pub(crate) fn get(&self, id: &str) -> Option<Arc<Key>> {
        self.known.load().get(id).cloned()
    }

    /// True when there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.known.load().is_empty()
    }

    /// Waits until the first snapshot has come.
    pub(crate) async fn synced(&self) {
        // It cannot fail: the sender is ours.
        self.synced.subscribe().wait_for(|synced| *synced).await.map(drop).unwrap_or_default();
    }

    /// Follows the keys of a cluster for ever.
    pub(crate) async fn follow(self: Arc<Self>, coord: Arc<dyn Coordinator>, cluster: String) {
        let prefix = keys::api_keys(&cluster);
        let mut known = Known::new();
        loop {
            match coord.watch(&prefix).await {
                Ok(changes) => self.take(changes, &prefix, &mut known).await,
                Err(error) => tracing::debug!(%error, "the API keys cannot be watched yet"),
            }
            sleep(WATCH_PAUSE).await;
        }
    }

    async fn take(&self, mut changes: WatchStream, prefix: &str, known: &mut Known) {
        while let Some(change) = changes.next().await {
            apply(known, change, prefix);
            self.known.store(Arc::new(known.clone()));
            self.synced.send_replace(true);
        }
    }
}

/// Applies a change. A record that cannot be read keeps the last one that could.
fn apply(known: &mut Known, change: Change, prefix: &str) {
    match change {
        Change::Snapshot(snapshot) => {
            let mut before = std::mem::take(known);
            for entry in &snapshot.entries {
                if let Some(key) = before.remove(id(&entry.key, prefix)) {
                    known.insert(key.record.id.clone(), key);
                }
                put(known, entry, prefix);
            }
        }
        Change::Put(entry) => put(known, &entry, prefix),
        Change::Delete { key, .. } => drop(known.remove(id(&key, prefix))),
    }
}

fn put(known: &mut Known, entry: &KeyValue, prefix: &str) {
    let id = id(&entry.key, prefix);
    match serde_json::from_slice::<Record>(&entry.value) {
        Ok(record) if record.id != id => tracing::warn!(id, "an API key's record names another key: skipped"),
        Ok(_) if known.len() >= KEYS_MAX && !known.contains_key(id) => {
            tracing::warn!(id, max = KEYS_MAX, "more API keys than may be: skipped");
        }
        Ok(record) => drop(known.insert(record.id.clone(), Arc::new(record.into()))),
        Err(error) => tracing::warn!(id, %error, "an API key's record cannot be read: the last one stays"),
    }
}

fn id<'a>(key: &'a str, prefix: &str) -> &'a str {
    key.strip_prefix(prefix).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use mcp_coord::{Revision, Snapshot};
    use serde_json::json;

    use super::*;

    const PREFIX: &str = "/mcp/c/keys/";

    fn entry(id: &str, value: &str) -> KeyValue {
        let (created, modified) = (Revision(1), Revision(1));
        KeyValue { key: format!("{PREFIX}{id}"), value: value.to_owned().into(), created, modified, lease: None }
    }

    fn named(id: &str, name: &str) -> KeyValue {
        entry(id, &json!({"id": id, "name": name, "hash": "00", "roles": []}).to_string())
    }

    fn names(known: &Known) -> Vec<&str> {
        let mut names: Vec<&str> = known.values().map(|key| key.record.name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_record_that_cannot_be_read_keeps_the_last_one() {
        let mut known = Known::new();
        let snapshot = |entries| Change::Snapshot(Snapshot { entries, revision: Revision(1) });
        apply(&mut known, snapshot(vec![named("a", "one"), named("b", "two"), entry("c", "{")]), PREFIX);
        assert_eq!(names(&known), ["one", "two"]);
        apply(&mut known, Change::Put(entry("a", "not json")), PREFIX);
        apply(&mut known, Change::Put(KeyValue { key: format!("{PREFIX}a"), ..named("b", "other") }), PREFIX);
        assert_eq!(names(&known), ["one", "two"]);
        apply(&mut known, snapshot(vec![entry("a", "not json")]), PREFIX);
        assert_eq!(names(&known), ["one"], "what a snapshot lacks is gone");
        apply(&mut known, Change::Delete { key: format!("{PREFIX}a"), revision: Revision(2) }, PREFIX);
        assert!(known.is_empty());
    }
}
