//! Clauses about keys: put, get, range, delete, compare-and-set.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;

use super::text;
use crate::{Coordinator, Error, Expected, Revision, limits};

/// More keys than any backend reads at once.
const MANY_KEYS: usize = 450;
/// How many writers race for one key.
const WRITERS: usize = 16;

/// A read that starts after a write returned sees it; a key that was never written is absent.
pub async fn a_written_key_is_read_back(coord: Arc<dyn Coordinator>) {
    assert_eq!(coord.get("/a/1").await.unwrap(), None);
    let revision = coord.put("/a/1", text("one"), None).await.unwrap();
    let found = coord.get("/a/1").await.unwrap().expect("the key was written");
    assert_eq!((found.key.as_str(), found.value, found.lease), ("/a/1", text("one"), None));
    assert_eq!((found.created, found.modified), (revision, revision));

    let binary = Bytes::from_static(&[0, 0xFF, 0xC0]);
    coord.put("/a/1", binary.clone(), None).await.unwrap();
    assert_eq!(coord.get("/a/1").await.unwrap().unwrap().value, binary);
}

/// A second write changes the revision of the latest write only; after a removal the key is a new one.
pub async fn a_key_keeps_its_creation_when_it_is_written_again(coord: Arc<dyn Coordinator>) {
    let first = coord.put("/a/1", text("one"), None).await.unwrap();
    let second = coord.put("/a/1", text("two"), None).await.unwrap();
    let found = coord.get("/a/1").await.unwrap().unwrap();
    assert_eq!((found.value, found.created, found.modified), (text("two"), first, second));

    assert!(coord.delete("/a/1").await.unwrap());
    let third = coord.put("/a/1", text("three"), None).await.unwrap();
    assert_eq!(coord.get("/a/1").await.unwrap().unwrap().created, third);
}

/// A range holds exactly the keys that start with the prefix, sorted, and tells its revision.
pub async fn a_range_is_sorted_and_holds_its_prefix_only(coord: Arc<dyn Coordinator>) {
    assert!(coord.range("/a/").await.unwrap().entries.is_empty());
    let mut last = Revision(0);
    for key in ["/a/2", "/a/10", "/a/1", "/a", "/b/1", "/a0"] {
        last = coord.put(key, text(key), None).await.unwrap();
    }
    let found = coord.range("/a/").await.unwrap();
    let keys: Vec<&str> = found.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["/a/1", "/a/10", "/a/2"]);
    assert!(found.entries.iter().all(|entry| entry.value == text(&entry.key)));
    assert_eq!(found.revision, last);
    assert_eq!(coord.range("").await.unwrap().entries.len(), 6);
}

/// A range is whole however many keys there are.
pub async fn a_long_range_is_whole(coord: Arc<dyn Coordinator>) {
    let keys: Vec<String> = (0..MANY_KEYS).map(|n| format!("/many/{n:04}")).collect();
    for written in join_all(keys.iter().map(|key| coord.put(key, text("x"), None))).await {
        written.unwrap();
    }
    let found: Vec<String> = coord.range("/many/").await.unwrap().entries.into_iter().map(|entry| entry.key).collect();
    assert_eq!(found, keys);
}

/// `delete` answers whether there was a key.
pub async fn deleting_tells_whether_there_was_a_key(coord: Arc<dyn Coordinator>) {
    assert!(!coord.delete("/a/1").await.unwrap());
    coord.put("/a/1", text("one"), None).await.unwrap();
    coord.put("/a/10", text("ten"), None).await.unwrap();
    assert!(coord.delete("/a/1").await.unwrap());
    assert!(!coord.delete("/a/1").await.unwrap());
    assert_eq!(coord.get("/a/1").await.unwrap(), None);
    assert!(coord.get("/a/10").await.unwrap().is_some());
}

/// `compare_and_put` writes only over what it expects, else nothing changes.
pub async fn compare_and_put_needs_what_it_expects(coord: Arc<dyn Coordinator>) {
    let write = |expected, value: &'static str| {
        let coord = Arc::clone(&coord);
        async move { coord.compare_and_put("/a/1", expected, text(value), None).await }
    };
    for modified in [0, 1] {
        let outcome = write(Expected::Modified(Revision(modified)), "early").await;
        assert!(matches!(&outcome, Err(Error::Conflict { key }) if key == "/a/1"), "{outcome:?}");
    }
    let first = write(Expected::Absent, "one").await.unwrap();
    assert!(matches!(write(Expected::Absent, "again").await, Err(Error::Conflict { .. })));
    let second = write(Expected::Modified(first), "two").await.unwrap();
    assert!(matches!(write(Expected::Modified(first), "stale").await, Err(Error::Conflict { .. })));
    let found = coord.get("/a/1").await.unwrap().unwrap();
    assert_eq!((found.value, found.created, found.modified), (text("two"), first, second));
}

/// `compare_and_delete` removes only what it expects, else nothing changes.
pub async fn compare_and_delete_needs_what_it_expects(coord: Arc<dyn Coordinator>) {
    for modified in [0, 1] {
        let outcome = coord.compare_and_delete("/a/1", Revision(modified)).await;
        assert!(matches!(outcome, Err(Error::Conflict { .. })), "{outcome:?}");
    }
    let first = coord.put("/a/1", text("one"), None).await.unwrap();
    let second = coord.put("/a/1", text("two"), None).await.unwrap();
    assert!(matches!(coord.compare_and_delete("/a/1", first).await, Err(Error::Conflict { .. })));
    assert!(coord.get("/a/1").await.unwrap().is_some());
    coord.compare_and_delete("/a/1", second).await.unwrap();
    assert_eq!(coord.get("/a/1").await.unwrap(), None);
}

/// Of many that write an absent key at once, one wins, and its value is there.
pub async fn of_many_writers_one_wins(coord: Arc<dyn Coordinator>) {
    let attempts = (0..WRITERS).map(|n| {
        let coord = Arc::clone(&coord);
        async move { coord.compare_and_put("/race", Expected::Absent, text(&n.to_string()), None).await }
    });
    let outcomes = join_all(attempts).await;
    let winners: Vec<usize> = (0..WRITERS).filter(|&n| outcomes[n].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Error::Conflict { .. }))), "{outcomes:?}");
    assert_eq!(coord.get("/race").await.unwrap().unwrap().value, text(&winners[0].to_string()));
}

/// Every successful write makes a new revision, whatever its key.
pub async fn revisions_grow_with_every_write(coord: Arc<dyn Coordinator>) {
    let mut revisions = vec![coord.range("/").await.unwrap().revision];
    for n in 0..10 {
        revisions.push(coord.put(&format!("/a/{}", n % 3), text("x"), None).await.unwrap());
    }
    coord.delete("/a/0").await.unwrap();
    revisions.push(coord.range("/").await.unwrap().revision);
    assert!(revisions.is_sorted_by(|before, after| before < after), "{revisions:?}");
}

/// Requests outside of the limits are refused; those at the limits are not.
pub async fn requests_outside_of_the_limits_are_refused(coord: Arc<dyn Coordinator>) {
    let long_key = "k".repeat(limits::KEY_BYTES_MAX + 1);
    let large = Bytes::from(vec![b'x'; limits::VALUE_BYTES_MAX + 1]);
    for outcome in [
        coord.put("", text("x"), None).await.map(drop),
        coord.put(&long_key, text("x"), None).await.map(drop),
        coord.put("/a", large.clone(), None).await.map(drop),
        coord.compare_and_put("/a", Expected::Absent, large.clone(), None).await.map(drop),
        coord.get("").await.map(drop),
        coord.delete("").await.map(drop),
        coord.watch(&long_key).await.map(drop),
        coord.grant(Duration::ZERO).await.map(drop),
        coord.grant(limits::LEASE_TTL_MAX + Duration::from_secs(1)).await.map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::Invalid { .. })), "{outcome:?}");
    }
    coord.put(&long_key[1..], large.slice(1..), None).await.unwrap();
    assert_eq!(coord.get(&long_key[1..]).await.unwrap().unwrap().value.len(), limits::VALUE_BYTES_MAX);
}
