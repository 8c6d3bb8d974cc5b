//! Clauses about what is built on the trait: ownership and registration.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, future::join_all};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{LEASE_LONG, LEASE_SHORT, SOON, eventually, instance, text};
use crate::{Coordinator, InstanceRecord, KeyValue, LeaseId, Ownership, Registration, keys};

const KEY: &str = "/owned/1";
/// A name that starts with the key's: another key.
const NEIGHBOUR: &str = "/owned/10";
const CLUSTER: &str = "test";
/// How many claim the same key at once.
const CLAIMANTS: usize = 4;

async fn claim(coord: &Arc<dyn Coordinator>, owner: &str, ttl: Duration) -> Ownership {
    timeout(SOON, Ownership::claim(Arc::clone(coord), KEY.to_owned(), text(owner), ttl)).await.expect("the key is free")
}

async fn lease_of(coord: &Arc<dyn Coordinator>, key: &str) -> LeaseId {
    coord.get(key).await.unwrap().expect("the key is there").lease.expect("it is under a lease")
}

/// Of many claimants one owns the key; the next one follows only after it released the key.
pub async fn a_key_has_one_owner_at_a_time(coord: Arc<dyn Coordinator>) {
    let (owners, last_epoch) = (AtomicUsize::new(0), AtomicU64::new(0));
    let turns = (0..CLAIMANTS).map(|n| {
        let (coord, owners, last_epoch) = (&coord, &owners, &last_epoch);
        async move {
            let ownership = claim(coord, &n.to_string(), LEASE_LONG).await;
            assert_eq!(owners.fetch_add(1, Ordering::SeqCst), 0, "two own the key");
            assert!(last_epoch.swap(ownership.epoch(), Ordering::SeqCst) < ownership.epoch());
            assert!(ownership.is_held());
            let found = coord.get(KEY).await.unwrap().expect("an owned key is there");
            assert_eq!((found.value, found.created.0.unsigned_abs()), (text(&n.to_string()), ownership.epoch()));
            assert_eq!(owners.fetch_sub(1, Ordering::SeqCst), 1);
            ownership.release().await;
        }
    });
    join_all(turns).await;
    assert_eq!(coord.get(KEY).await.unwrap(), None);
}

/// An owner renews its lease by itself.
pub async fn an_owner_keeps_its_key_longer_than_one_lease(coord: Arc<dyn Coordinator>) {
    let ownership = claim(&coord, "a", 2 * LEASE_SHORT).await;
    sleep(6 * LEASE_SHORT).await; // the passing of time is what is tested
    assert!(ownership.is_held() && ownership.lost().now_or_never().is_none());
    let found = coord.get(KEY).await.unwrap().expect("the lease was renewed");
    assert_eq!(found.created.0.unsigned_abs(), ownership.epoch());
}

/// An owner that comes after another has a greater epoch, however the one before ended. A neighbour's key does
/// not matter.
pub async fn every_owner_has_a_greater_epoch(coord: Arc<dyn Coordinator>) {
    coord.put(NEIGHBOUR, text("x"), None).await.unwrap();
    let first = claim(&coord, "a", LEASE_LONG).await;
    let first_epoch = first.epoch();
    drop(first);
    let second = claim(&coord, "b", LEASE_LONG).await;
    assert!(second.epoch() > first_epoch);

    // An owner that died: its key goes with its lease.
    let dead = coord.grant(LEASE_SHORT).await.unwrap();
    let second_epoch = second.epoch();
    second.release().await;
    coord.put(KEY, text("dead"), Some(dead)).await.unwrap();
    let third = claim(&coord, "c", LEASE_LONG).await;
    assert!(third.epoch() > second_epoch);
}

/// An owner whose key was removed by force learns of it, and its epoch never comes back.
pub async fn an_owner_notices_that_its_key_is_gone(coord: Arc<dyn Coordinator>) {
    let first = claim(&coord, "a", 2 * LEASE_SHORT).await;
    coord.delete(KEY).await.unwrap();
    let second = claim(&coord, "b", LEASE_LONG).await;
    timeout(SOON, first.lost()).await.expect("the loss is noticed");
    assert!(!first.is_held() && second.is_held());
    assert!(second.epoch() > first.epoch());
}

/// An owner whose lease was ended learns of it.
pub async fn an_owner_notices_that_its_lease_is_gone(coord: Arc<dyn Coordinator>) {
    let ownership = claim(&coord, "a", 2 * LEASE_SHORT).await;
    let lost = ownership.lost();
    coord.revoke(lease_of(&coord, KEY).await).await.unwrap();
    timeout(SOON, lost).await.expect("the loss is noticed");
    assert!(!ownership.is_held());
}

/// A registered instance is there under a lease, with its record, and gone when `deregister` returns.
pub async fn an_instance_is_registered_until_it_deregisters(coord: Arc<dyn Coordinator>) {
    let key = keys::instance(CLUSTER, "conformance", "a");
    let registration = Registration::start(Arc::clone(&coord), CLUSTER, instance("a"), LEASE_LONG);
    let mut registered = registration.is_registered();
    timeout(SOON, registered.wait_for(|&registered| registered)).await.expect("it registers").unwrap();
    let found = coord.get(&key).await.unwrap().expect("it is registered");
    assert!(found.lease.is_some());
    let record: InstanceRecord = serde_json::from_slice(&found.value).unwrap();
    assert!(record.registered_unix_ms > 0);
    assert_eq!(InstanceRecord { registered_unix_ms: 0, ..record }, instance("a"));

    registration.deregister().await;
    assert_eq!(coord.get(&key).await.unwrap(), None);
    assert!(!*registered.borrow());
}

/// An instance whose lease was lost registers again under a new one.
pub async fn an_instance_registers_again_after_its_lease_was_lost(coord: Arc<dyn Coordinator>) {
    let key = keys::instance(CLUSTER, "conformance", "a");
    let _registration = Registration::start(Arc::clone(&coord), CLUSTER, instance("a"), 2 * LEASE_SHORT);
    eventually(&coord, &key, |entry| entry.is_some()).await;
    let lost = lease_of(&coord, &key).await;
    coord.revoke(lost).await.unwrap();
    eventually(&coord, &key, |entry| entry.is_some_and(|entry| entry.lease != Some(lost))).await;
}

/// An instance whose key was removed by somebody else registers again.
pub async fn an_instance_registers_again_after_its_key_was_removed(coord: Arc<dyn Coordinator>) {
    let key = keys::instance(CLUSTER, "conformance", "a");
    let _registration = Registration::start(Arc::clone(&coord), CLUSTER, instance("a"), 2 * LEASE_SHORT);
    eventually(&coord, &key, |entry| entry.is_some()).await;
    assert!(coord.delete(&key).await.unwrap());
    eventually(&coord, &key, |entry| entry.is_some()).await;
}

/// Labels that change while the instance is registered are seen at once, under the lease it has.
pub async fn an_instance_shows_its_labels_of_the_moment(coord: Arc<dyn Coordinator>) {
    let key = keys::instance(CLUSTER, "conformance", "a");
    let label = |value: &str| BTreeMap::from([("colour".to_owned(), value.to_owned())]);
    let shown = |value: &'static str| {
        move |entry: Option<&KeyValue>| {
            let record = entry.and_then(|entry| serde_json::from_slice::<InstanceRecord>(&entry.value).ok());
            record.is_some_and(|record| record.labels["colour"] == value)
        }
    };
    let (labels, receiver) = watch::channel(label("red"));
    let _registration = Registration::start_with(Arc::clone(&coord), CLUSTER, instance("a"), LEASE_LONG, receiver);
    eventually(&coord, &key, shown("red")).await;
    let lease = lease_of(&coord, &key).await;
    labels.send(label("blue")).expect("the registration listens");
    timeout(SOON, eventually(&coord, &key, shown("blue"))).await.expect("long before the next renewal");
    assert_eq!(lease_of(&coord, &key).await, lease);
}

/// Dropping a registration removes the instance long before its lease ends.
pub async fn a_dropped_registration_removes_its_instance(coord: Arc<dyn Coordinator>) {
    let key = keys::instance(CLUSTER, "conformance", "a");
    let registration = Registration::start(Arc::clone(&coord), CLUSTER, instance("a"), LEASE_LONG);
    eventually(&coord, &key, |entry| entry.is_some()).await;
    drop(registration);
    eventually(&coord, &key, |entry| entry.is_none()).await;
}
