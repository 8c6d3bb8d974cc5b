//! Clauses about what outlasts a restart.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use super::{Backend, LEASE_SHORT, SOON, text};
use crate::{Expected, Ownership};

/// Revisions after a restart are greater than all before, also those of removed keys.
pub async fn revisions_grow_over_a_restart(mut backend: Box<dyn Backend>) {
    let mut before = backend.coordinator().put("/r/1", text("x"), None).await.unwrap();
    for _ in 0..2 {
        let coord = backend.coordinator();
        let lease = coord.grant(LEASE_SHORT).await.unwrap();
        coord.put("/r/2", text("x"), Some(lease)).await.unwrap();
        coord.delete("/r/2").await.unwrap();
        before = before.max(coord.range("/").await.unwrap().revision);
        drop(coord);
        backend.restart().await;
        let after = backend.coordinator().put("/r/1", text("x"), None).await.unwrap();
        assert!(after > before, "{after:?} after {before:?}");
        before = after;
    }
}

/// Keys without a lease survive a restart with all that is known of them; removed ones stay removed.
pub async fn keys_without_a_lease_survive_a_restart(mut backend: Box<dyn Backend>) {
    let coord = backend.coordinator();
    coord.put("/r/gone", text("x"), None).await.unwrap();
    coord.put("/r/text", text("one"), None).await.unwrap();
    coord.put("/r/text", text("{\"two\": 2}"), None).await.unwrap();
    coord.put("/r/binary", Bytes::from_static(&[0xFF, 0]), None).await.unwrap();
    coord.delete("/r/gone").await.unwrap();
    let before = coord.range("/r/").await.unwrap().entries;
    assert_eq!(before.len(), 2);
    drop(coord);
    backend.restart().await;

    let coord = backend.coordinator();
    assert_eq!(coord.range("/r/").await.unwrap().entries, before);
    let expected = Expected::Modified(before[1].modified);
    coord.compare_and_put("/r/text", expected, text("three"), None).await.unwrap();
}

/// The owner after a restart has a greater epoch than the one before.
pub async fn an_epoch_grows_over_a_restart(mut backend: Box<dyn Backend>) {
    let claim = |coord| Ownership::claim(coord, "/r/owned".to_owned(), text("x"), Duration::from_secs(1));
    let first = timeout(SOON, claim(backend.coordinator())).await.expect("the key is free");
    let epoch = first.epoch();
    first.release().await;
    backend.restart().await;
    let coord = backend.coordinator();
    let second = timeout(SOON, claim(Arc::clone(&coord))).await.expect("the key becomes free");
    assert!(second.epoch() > epoch);
    second.release().await;
}
