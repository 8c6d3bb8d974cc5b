//! Clauses about watches: a snapshot, then every change once, in order.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;

use super::{LEASE_LONG, LEASE_SHORT, next, next_put, next_snapshot, text};
use crate::{Change, Coordinator, Revision, WatchStream};

/// How many writers and writes make the load.
const WRITERS: usize = 8;
const WRITES: usize = 50;
/// More changes than any backend remembers for a watch.
const MANY_WRITES: usize = 2_500;

/// The first item is a snapshot of what is there; every later change follows, in revision order.
pub async fn a_watch_tells_what_is_there_then_every_change_in_order(coord: Arc<dyn Coordinator>) {
    let before = coord.put("/w/1", text("one"), None).await.unwrap();
    let mut watch = coord.watch("/w/").await.unwrap();
    let snapshot = next_snapshot(&mut watch).await;
    assert!(snapshot.revision >= before);
    assert_eq!(snapshot.entries, [coord.get("/w/1").await.unwrap().unwrap()]);

    let second = coord.put("/w/2", text("two"), None).await.unwrap();
    let again = coord.put("/w/1", text("uno"), None).await.unwrap();
    assert!(coord.delete("/w/2").await.unwrap());
    let anew = coord.put("/w/2", text("dos"), None).await.unwrap();

    let put = next_put(&mut watch).await;
    assert_eq!((put.key.as_str(), put.value, put.created, put.modified), ("/w/2", text("two"), second, second));
    let put = next_put(&mut watch).await;
    assert_eq!((put.key.as_str(), put.value, put.created, put.modified), ("/w/1", text("uno"), before, again));
    match next(&mut watch).await {
        Change::Delete { key, revision } => {
            assert_eq!(key, "/w/2");
            assert!(again < revision && revision < anew, "{revision:?}");
        }
        other => panic!("a removal was expected, not {other:?}"),
    }
    let put = next_put(&mut watch).await;
    assert_eq!((put.key.as_str(), put.created), ("/w/2", anew));
}

/// Changes outside of the prefix are not told. A key counts as a prefix of itself and of longer keys.
pub async fn a_watch_tells_nothing_of_other_prefixes(coord: Arc<dyn Coordinator>) {
    let mut watch = coord.watch("/w/1").await.unwrap();
    assert!(next_snapshot(&mut watch).await.entries.is_empty());
    for key in ["/w/", "/w/0", "/w/2", "/x/1", "/w/1", "/w/10"] {
        coord.put(key, text("x"), None).await.unwrap();
    }
    assert_eq!(next_put(&mut watch).await.key, "/w/1");
    assert_eq!(next_put(&mut watch).await.key, "/w/10");
}

/// A watch tells the removal of keys whose lease expired or was revoked.
pub async fn a_watch_tells_the_end_of_a_lease(coord: Arc<dyn Coordinator>) {
    let mut watch = coord.watch("/w/").await.unwrap();
    next_snapshot(&mut watch).await;
    let expiring = coord.grant(LEASE_SHORT).await.unwrap();
    let revoked = coord.grant(LEASE_LONG).await.unwrap();
    coord.put("/w/expiring", text("x"), Some(expiring)).await.unwrap();
    coord.put("/w/revoked/1", text("x"), Some(revoked)).await.unwrap();
    coord.put("/w/revoked/2", text("x"), Some(revoked)).await.unwrap();
    for expected in [("/w/expiring", expiring), ("/w/revoked/1", revoked), ("/w/revoked/2", revoked)] {
        let put = next_put(&mut watch).await;
        assert_eq!((put.key.as_str(), put.lease), (expected.0, Some(expected.1)));
    }
    coord.revoke(revoked).await.unwrap();
    let mut removed = Vec::new();
    for _ in 0..3 {
        match next(&mut watch).await {
            Change::Delete { key, .. } => removed.push(key),
            other => panic!("a removal was expected, not {other:?}"),
        }
    }
    removed.sort();
    assert_eq!(removed, ["/w/expiring", "/w/revoked/1", "/w/revoked/2"]);
}

/// Watches that start at any time under load tell every later change exactly once.
pub async fn watches_under_load_tell_every_change_once(coord: Arc<dyn Coordinator>) {
    let writers = (0..WRITERS).map(|writer| {
        let coord = Arc::clone(&coord);
        async move {
            let mut written = Vec::new();
            for n in 0..WRITES {
                let key = format!("/w/{writer}/{}", n % 5);
                written.push((coord.put(&key, text(&n.to_string()), None).await.unwrap(), key));
            }
            written
        }
    });
    let watchers = (0..3).map(|_| {
        let coord = Arc::clone(&coord);
        async move {
            let mut watch = coord.watch("/w/").await.unwrap();
            let start = next_snapshot(&mut watch).await.revision;
            (start, watch)
        }
    });
    let (written, watches) = tokio::join!(join_all(writers), join_all(watchers));
    let mut written: Vec<(Revision, String)> = written.into_iter().flatten().collect();
    written.sort();
    for (start, mut watch) in watches {
        for (revision, key) in written.iter().filter(|(revision, _)| *revision > start) {
            let put = next_put(&mut watch).await;
            assert_eq!((put.modified, &put.key), (*revision, key));
        }
    }
}

/// A watch whose reader is slow either tells every change or starts again with a snapshot; it ends up with what is
/// there.
pub async fn a_slow_watch_ends_up_with_the_truth(coord: Arc<dyn Coordinator>) {
    let mut watch = coord.watch("/w/").await.unwrap();
    next_snapshot(&mut watch).await;
    for n in 0..MANY_WRITES / WRITES {
        let writes = (0..WRITES).map(|i| {
            let coord = Arc::clone(&coord);
            async move { coord.put(&format!("/w/{i}"), text(&n.to_string()), None).await }
        });
        assert!(join_all(writes).await.into_iter().all(|outcome| outcome.is_ok()));
    }
    coord.delete("/w/0").await.unwrap();
    let last = coord.put("/w/last", text("x"), None).await.unwrap();

    let truth: BTreeMap<String, Bytes> =
        coord.range("/w/").await.unwrap().entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
    assert_eq!(replay(&mut watch, last).await, truth);
}

/// What a reader knows that applies every change up to `last`.
async fn replay(watch: &mut WatchStream, last: Revision) -> BTreeMap<String, Bytes> {
    let (mut known, mut seen) = (BTreeMap::new(), Revision(0));
    while seen < last {
        let revision = match next(watch).await {
            Change::Snapshot(snapshot) => {
                known = snapshot.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                snapshot.revision
            }
            Change::Put(entry) => {
                known.insert(entry.key, entry.value);
                entry.modified
            }
            Change::Delete { key, revision } => {
                known.remove(&key);
                revision
            }
        };
        assert!(revision >= seen, "{revision:?} after {seen:?}");
        seen = revision;
    }
    known
}
