//! Outages, restarts and compaction of a real etcd.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use mcp_coord::{
    Change, Coordinator, Error, Etcd, Expected, InstanceRecord, LeaseId, Ownership, Registration, Revision,
    WatchStream, keys,
};
use testkit::{etcd::EtcdProcess, eventually};
use tokio::time::{Instant, timeout};

use crate::backends::RealEtcd;

/// Longest wait for what takes a second or two on an idle machine.
const SOON: Duration = Duration::from_secs(60);
/// "Within a few seconds", with room for a busy machine.
const FAILS_WITHIN: Duration = Duration::from_secs(8);

fn text(value: &str) -> Bytes {
    Bytes::copy_from_slice(value.as_bytes())
}

async fn next(watch: &mut WatchStream) -> Change {
    timeout(SOON, watch.next()).await.expect("the watch tells something in time").expect("a watch never ends")
}

fn keys_of(change: &Change) -> Vec<&str> {
    match change {
        Change::Snapshot(snapshot) => snapshot.entries.iter().map(|entry| entry.key.as_str()).collect(),
        other => panic!("a snapshot was expected, not {other:?}"),
    }
}

/// Removes all history before `revision`.
async fn compact(process: &EtcdProcess, revision: Revision) {
    let mut client = etcd_client::Client::connect([process.endpoint()], None).await.unwrap();
    client.compact(revision.0, None).await.unwrap();
}

#[tokio::test]
async fn a_watch_goes_on_after_compaction_with_a_fresh_snapshot() {
    let RealEtcd { mut process, coord } = RealEtcd::start().await;
    let mut watch = coord.watch("/w/").await.unwrap();
    assert!(keys_of(&next(&mut watch).await).is_empty());
    coord.put("/w/old", text("x"), None).await.unwrap();
    assert!(matches!(next(&mut watch).await, Change::Put(_)));

    // The stream breaks, and what happened in the meantime is compacted before the watch looks again.
    process.restart().await;
    eventually(SOON, || async { coord.delete("/w/old").await.map_err(|error| error.to_string()) }).await;
    let last = coord.put("/w/new", text("x"), None).await.unwrap();
    compact(&process, last).await;

    let change = next(&mut watch).await;
    assert_eq!(keys_of(&change), ["/w/new"]);
    coord.delete("/w/new").await.unwrap();
    let change = next(&mut watch).await;
    assert!(matches!(&change, Change::Delete { key, .. } if key == "/w/new"), "{change:?}");
}

#[tokio::test]
async fn a_watch_loses_no_change_when_etcd_restarts() {
    let RealEtcd { mut process, coord } = RealEtcd::start().await;
    let mut watch = coord.watch("/w/").await.unwrap();
    assert!(keys_of(&next(&mut watch).await).is_empty());
    let first = coord.put("/w/1", text("x"), None).await.unwrap();
    assert!(matches!(next(&mut watch).await, Change::Put(put) if put.modified == first));

    let reader = tokio::spawn(async move {
        let mut changes = Vec::new();
        while !matches!(changes.last(), Some(Change::Put(put)) if put.key == "/w/end") {
            changes.push(next(&mut watch).await);
        }
        changes
    });
    coord.put("/w/2", text("x"), None).await.unwrap();
    process.restart().await;
    // Another client: it writes as soon as etcd is back, maybe before the watch is.
    let other = Etcd::connect(&[process.endpoint()]).await.unwrap();
    let third =
        eventually(SOON, || async { other.put("/w/3", text("x"), None).await.map_err(|e| e.to_string()) }).await;
    other.delete("/w/1").await.unwrap();
    other.put("/w/end", text("x"), None).await.unwrap();

    let changes = timeout(SOON, reader).await.expect("the reader sees the end").unwrap();
    // A put whose answer was lost may have been repeated; nothing else may differ.
    let told: Vec<String> = changes
        .iter()
        .filter(|change| !matches!(change, Change::Put(put) if put.key == "/w/3" && put.modified < third))
        .map(|change| match change {
            Change::Put(put) => format!("+{}", put.key),
            Change::Delete { key, .. } => format!("-{key}"),
            Change::Snapshot(_) => "snapshot".to_owned(),
        })
        .collect();
    assert_eq!(told, ["+/w/2", "+/w/3", "-/w/1", "+/w/end"]);
}

#[tokio::test]
async fn a_watch_that_starts_while_etcd_is_away_begins_when_it_is_back() {
    let RealEtcd { mut process, coord } = RealEtcd::start().await;
    coord.put("/w/1", text("x"), None).await.unwrap();
    process.stop();
    let coord_early = Etcd::connect(&[process.endpoint()]).await.unwrap();
    let mut watch = timeout(FAILS_WITHIN, coord_early.watch("/w/")).await.expect("it answers at once").unwrap();
    let first = tokio::spawn(async move { next(&mut watch).await });
    process.restart().await;
    assert_eq!(keys_of(&first.await.unwrap()), ["/w/1"]);
}

/// Every call on the trait but `watch`, which must all fail as unavailable in time.
async fn every_call_is_unavailable(coord: &Etcd) {
    let lease = LeaseId(1);
    let calls = async {
        tokio::join!(
            async { coord.get("/a").await.map(drop) },
            async { coord.range("/a").await.map(drop) },
            async { coord.put("/a", text("x"), None).await.map(drop) },
            async { coord.delete("/a").await.map(drop) },
            async { coord.compare_and_put("/a", Expected::Absent, text("x"), None).await.map(drop) },
            async { coord.compare_and_delete("/a", Revision(1)).await },
            async { coord.grant(Duration::from_secs(5)).await.map(drop) },
            async { coord.keep_alive(lease).await.map(drop) },
            async { coord.revoke(lease).await },
        )
    };
    let (a, b, c, d, e, f, g, h, i) = timeout(FAILS_WITHIN, calls).await.expect("no call hangs");
    for (call, outcome) in [a, b, c, d, e, f, g, h, i].into_iter().enumerate() {
        assert!(matches!(outcome, Err(Error::Unavailable { .. })), "call {call}: {outcome:?}");
    }
}

async fn answers_again(coord: &Etcd) {
    eventually(SOON, || async { coord.put("/b", text("x"), None).await.map_err(|error| error.to_string()) }).await;
}

#[tokio::test]
async fn calls_fail_within_seconds_while_etcd_is_down_and_work_again_after() {
    let RealEtcd { mut process, coord } = RealEtcd::start().await;
    coord.put("/a", text("x"), None).await.unwrap();
    process.stop();
    for _ in 0..2 {
        every_call_is_unavailable(&coord).await;
    }
    process.restart().await;
    answers_again(&coord).await;
    assert!(coord.get("/a").await.unwrap().is_some());
}

#[tokio::test]
async fn calls_fail_within_seconds_while_etcd_hangs_and_work_again_after() {
    let RealEtcd { process, coord } = RealEtcd::start().await;
    coord.put("/a", text("x"), None).await.unwrap();
    process.freeze();
    every_call_is_unavailable(&coord).await;
    process.thaw();
    answers_again(&coord).await;
}

#[tokio::test]
async fn endpoints_that_can_never_work_are_refused() {
    for endpoints in [vec![], vec![""], vec!["https://localhost:2379"], vec!["http://a b"]] {
        let endpoints: Vec<String> = endpoints.into_iter().map(str::to_owned).collect();
        let outcome = Etcd::connect(&endpoints).await;
        assert!(matches!(outcome, Err(Error::Invalid { .. })), "{endpoints:?}: {outcome:?}");
    }
}

#[tokio::test]
async fn an_instance_is_registered_again_after_an_outage_longer_than_its_lease() {
    let RealEtcd { mut process, coord } = RealEtcd::start().await;
    let coord: Arc<dyn Coordinator> = Arc::new(coord);
    let record: InstanceRecord =
        serde_json::from_str(r#"{"service": "s", "instance_id": "i", "address": "127.0.0.1:1"}"#).unwrap();
    let ttl = Duration::from_secs(2);
    let registration = Registration::start(Arc::clone(&coord), "test", record, ttl);
    let mut registered = registration.is_registered();
    timeout(SOON, registered.wait_for(|&is| is)).await.expect("it registers").unwrap();

    process.stop();
    timeout(SOON, registered.wait_for(|&is| !is)).await.expect("it knows that its lease may have ended").unwrap();
    process.restart().await;
    timeout(SOON, registered.wait_for(|&is| is)).await.expect("it registers again").unwrap();
    assert!(coord.get(&keys::instance("test", "s", "i")).await.unwrap().is_some());
    registration.deregister().await;
}

#[tokio::test]
async fn an_owner_gives_up_before_its_lease_can_end_while_etcd_is_away() {
    let RealEtcd { mut process, coord } = RealEtcd::start().await;
    let coord: Arc<dyn Coordinator> = Arc::new(coord);
    let ttl = Duration::from_secs(3);
    let first = Ownership::claim(Arc::clone(&coord), "/owned".to_owned(), text("a"), ttl).await;
    process.stop();
    let stopped = Instant::now();
    timeout(ttl, first.lost()).await.expect("the owner gives up within its lease");
    assert!(!first.is_held() && stopped.elapsed() < ttl);

    let claim = tokio::spawn(Ownership::claim(coord, "/owned".to_owned(), text("b"), ttl));
    process.restart().await;
    let second = timeout(SOON, claim).await.expect("the key becomes free").unwrap();
    assert!(second.is_held() && second.epoch() > first.epoch());
}
