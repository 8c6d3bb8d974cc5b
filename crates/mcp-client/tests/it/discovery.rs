//! Discovery on a real coordinator.

use std::sync::Arc;

use mcp_client::{discovery::Discovery, testing::SOON};
use mcp_coord::{Coordinator, Embedded, InstanceRecord, keys};
use testkit::eventually;
use tokio::time::timeout;

const CLUSTER: &str = "test";

fn record(service: &str, instance_id: &str) -> InstanceRecord {
    InstanceRecord {
        service: service.to_owned(),
        instance_id: instance_id.to_owned(),
        address: format!("{instance_id}:80"),
        version: "1".to_owned(),
        zone: String::new(),
        weight: 100,
        grpc_services: vec![format!("acme.{service}.v1.Service"), "acme.common.v1.Service".to_owned()],
        labels: Default::default(),
        registered_unix_ms: 0,
    }
}

async fn register(coord: &dyn Coordinator, record: &InstanceRecord) {
    let key = keys::instance(CLUSTER, &record.service, &record.instance_id);
    coord.put(&key, serde_json::to_vec(record).unwrap().into(), None).await.unwrap();
}

fn ids(discovery: &Discovery, service: &str) -> Vec<String> {
    discovery.snapshot().by_service(service).iter().map(|record| record.instance_id.clone()).collect()
}

#[tokio::test]
async fn instances_come_and_go() {
    let coord: Arc<dyn Coordinator> = Arc::new(Embedded::in_memory());
    register(&*coord, &record("shop", "a")).await;
    register(&*coord, &record("stock", "x")).await;
    let mut discovery = Discovery::start(Arc::clone(&coord), CLUSTER);
    timeout(SOON, discovery.synced()).await.unwrap();
    assert_eq!(ids(&discovery, "shop"), ["a"]);
    let snapshot = discovery.snapshot();
    assert_eq!(snapshot.all().len(), 2);
    assert_eq!(snapshot.by_grpc_service("acme.shop.v1.Service").len(), 1);
    assert_eq!(snapshot.by_grpc_service("acme.common.v1.Service").len(), 2);
    assert!(snapshot.by_service("unheard-of").is_empty());

    // The first snapshot counts as a change, too.
    timeout(SOON, discovery.changed()).await.unwrap();
    register(&*coord, &record("shop", "b")).await;
    timeout(SOON, discovery.changed()).await.unwrap();
    assert_eq!(ids(&discovery, "shop"), ["a", "b"]);
    assert_eq!(snapshot.by_service("shop").len(), 1, "an old snapshot does not change");

    coord.delete(&keys::instance(CLUSTER, "shop", "a")).await.unwrap();
    timeout(SOON, discovery.changed()).await.unwrap();
    assert_eq!(ids(&discovery, "shop"), ["b"]);
}

#[tokio::test]
async fn a_record_that_cannot_be_decoded_is_counted_and_harms_no_other() {
    let coord: Arc<dyn Coordinator> = Arc::new(Embedded::in_memory());
    coord.put(&keys::instance(CLUSTER, "shop", "broken"), "{".into(), None).await.unwrap();
    let discovery = Discovery::start(Arc::clone(&coord), CLUSTER);
    timeout(SOON, discovery.synced()).await.unwrap();
    register(&*coord, &record("shop", "a")).await;
    eventually(SOON, || {
        let found = ids(&discovery, "shop");
        async move { if found == ["a"] { Ok(()) } else { Err(format!("{found:?}")) } }
    })
    .await;
    assert_eq!(discovery.undecodable_records(), 1);
}

#[tokio::test]
async fn clones_share_the_watch_and_remember_their_own_changes() {
    let coord: Arc<dyn Coordinator> = Arc::new(Embedded::in_memory());
    let mut one = Discovery::start(Arc::clone(&coord), CLUSTER);
    let mut two = one.clone();
    for discovery in [&mut one, &mut two] {
        timeout(SOON, discovery.changed()).await.unwrap();
    }
    drop(one);
    register(&*coord, &record("shop", "a")).await;
    timeout(SOON, two.changed()).await.unwrap();
    assert_eq!(ids(&two, "shop"), ["a"]);
}
