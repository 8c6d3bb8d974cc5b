//! Register, heartbeat, deregister.

use std::{collections::BTreeMap, time::Duration};

use mcp_coord::{Coordinator as _, InstanceRecord, keys};
use mcp_proto::{
    Code, Error,
    registry::v1::{DeregisterRequest, DiscoverRequest, Instance, RegisterRequest},
};
use testkit::eventually;
use tokio::time::{Instant, sleep};

use crate::support::{Registry, SOON, code, duration, heartbeat, instance, registration};

#[tokio::test]
async fn an_instance_is_found_as_it_was_registered_until_it_deregisters() {
    let mut registry = Registry::start().await;
    let full = Instance {
        version: "1.2.3".to_owned(),
        zone: "z1".to_owned(),
        weight: 7,
        grpc_services: vec!["shop.v1.Cart".to_owned()],
        labels: BTreeMap::from([("tier".to_owned(), "gold".to_owned())]).into_iter().collect(),
        ..instance("shop", "shop-1")
    };
    let answer = registry.register(full.clone(), 30).await;
    assert_eq!(answer.ttl, Some(duration(30)));
    assert!(!answer.lease_id.is_empty());

    let request = DiscoverRequest { service: "shop".to_owned(), ..Default::default() };
    let found = registry.client.discover(request).await.unwrap().into_inner().instances;
    assert!(found[0].register_time.is_some());
    assert_eq!(found, [Instance { register_time: found[0].register_time, ..full }]);

    let removal = DeregisterRequest { service: "shop".to_owned(), instance_id: "shop-1".to_owned() };
    for _ in 0..2 {
        registry.client.deregister(removal.clone()).await.unwrap(); // repeating it is not an error
        assert!(registry.ids("shop").await.is_empty());
    }
}

#[tokio::test]
async fn an_instance_is_written_where_services_look_for_it() {
    let mut registry = Registry::start().await;
    let request = RegisterRequest { instance: Some(instance("shop", "shop-1")), ttl: None };
    let answer = registry.client.register(request).await.unwrap().into_inner();
    assert_eq!(answer.ttl, Some(duration(10)), "the default");
    let entry = registry.coord.inner.get(&keys::instance("local", "shop", "shop-1")).await.unwrap().unwrap();
    assert_eq!(entry.lease.unwrap().to_string(), answer.lease_id);
    let record: InstanceRecord = serde_json::from_slice(&entry.value).unwrap();
    assert_eq!((record.address.as_str(), record.weight), ("127.0.0.1:4000", 100));
}

#[tokio::test]
async fn an_instance_stays_with_heartbeats_and_goes_without() {
    let mut registry = Registry::start().await;
    let kept = registry.register(instance("shop", "kept"), 2).await;
    let left = registry.register(instance("shop", "left"), 2).await;
    let end = Instant::now() + Duration::from_secs(4);
    while Instant::now() < end {
        let answer = registry.client.heartbeat(heartbeat("shop", "kept", &kept.lease_id)).await.unwrap();
        assert_eq!(answer.into_inner().ttl, Some(duration(2)));
        sleep(Duration::from_millis(500)).await; // the heartbeat interval, not a synchronisation
    }
    assert_eq!(registry.ids("shop").await, ["kept"]);
    let late = registry.client.heartbeat(heartbeat("shop", "left", &left.lease_id)).await;
    assert_eq!(code(late), Code::InstanceNotFound);

    let again = registry.register(instance("shop", "left"), 30).await;
    registry.client.heartbeat(heartbeat("shop", "left", &again.lease_id)).await.unwrap();
}

#[tokio::test]
async fn a_heartbeat_needs_the_lease_of_its_instance() {
    let mut registry = Registry::start().await;
    let first = registry.register(instance("shop", "a"), 30).await;
    let other = registry.register(instance("shop", "b"), 30).await;
    let second = registry.register(instance("shop", "a"), 30).await;
    for (id, lease) in [("a", &first.lease_id), ("a", &other.lease_id), ("c", &other.lease_id)] {
        let outcome = registry.client.heartbeat(heartbeat("shop", id, lease)).await;
        assert_eq!(code(outcome), Code::InstanceNotFound, "{id}");
    }
    registry.client.heartbeat(heartbeat("shop", "a", &second.lease_id)).await.unwrap();
    let outcome = registry.client.heartbeat(heartbeat("shop", "a", "no lease")).await;
    assert_eq!(code(outcome), Code::InvalidArgument);
}

#[tokio::test]
async fn every_wrong_field_of_a_registration_is_named() {
    let mut registry = Registry::start().await;
    let wrong = Instance {
        service: "Shop".to_owned(),
        instance_id: "a/b".to_owned(),
        address: "nowhere".to_owned(),
        version: "v".repeat(64),
        zone: "z".repeat(64),
        weight: 1001,
        grpc_services: vec!["shop.v1.Cart".to_owned(), "not a name".to_owned()],
        labels: std::iter::once((String::new(), "v".repeat(256))).collect(),
        register_time: None,
    };
    let status = registry.client.register(registration(wrong, 301)).await.unwrap_err();
    let error = Error::from(&status);
    let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(
        fields,
        [
            "ttl",
            "instance.service",
            "instance.instance_id",
            "instance.address",
            "instance.version",
            "instance.zone",
            "instance.weight",
            "instance.grpc_services[1]",
            "instance.labels",
            "instance.labels"
        ]
    );
    let empty = registry.client.register(RegisterRequest::default()).await;
    assert_eq!(code(empty), Code::InvalidArgument);
    let nameless = registry.client.deregister(DeregisterRequest::default()).await;
    assert_eq!(code(nameless), Code::InvalidArgument);
}

#[tokio::test]
async fn the_registry_registers_itself_and_leaves_when_it_stops() {
    let mut registry = Registry::with(|config| config.service.instance_id = Some("me".to_owned())).await;
    let key = keys::instance("local", registry::SERVICE, "me");
    let coord = registry.coord.clone();
    let entry = eventually(SOON, || async { coord.inner.get(&key).await.unwrap().ok_or("not there".to_owned()) }).await;
    let record: InstanceRecord = serde_json::from_slice(&entry.value).unwrap();
    assert!(record.grpc_services.contains(&"mcp.registry.v1.RegistryService".to_owned()), "{record:?}");

    registry.stop.cancel();
    (&mut registry.running).await.unwrap().unwrap();
    assert_eq!(coord.inner.get(&key).await.unwrap(), None);
}
