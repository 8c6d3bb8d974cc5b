//! What works while coordination is away.

use mcp_coord::{Coordinator as _, keys};
use mcp_proto::{Code, Error, registry::v1::DeregisterRequest};
use testkit::eventually;

use crate::support::{Registry, SOON, code, heartbeat, instance, registration};

#[tokio::test]
async fn writes_say_that_coordination_is_away_and_when_to_retry() {
    let mut registry = Registry::start().await;
    let lease = registry.register(instance("shop", "a"), 60).await.lease_id;
    registry.coord.set_away(true);
    let status = registry.client.register(registration(instance("shop", "b"), 60)).await.unwrap_err();
    let error = Error::from(&status);
    assert_eq!(error.code(), Code::CoordinationUnavailable);
    assert!(error.retry_after().is_some());
    let outcome = registry.client.heartbeat(heartbeat("shop", "a", &lease)).await;
    assert_eq!(code(outcome), Code::CoordinationUnavailable);
    let removal = DeregisterRequest { service: "shop".to_owned(), instance_id: "a".to_owned() };
    assert_eq!(code(registry.client.deregister(removal).await), Code::CoordinationUnavailable);

    registry.coord.set_away(false);
    registry.client.heartbeat(heartbeat("shop", "a", &lease)).await.unwrap();
}

#[tokio::test]
async fn the_last_known_instances_are_told_while_coordination_is_away() {
    let registry = Registry::start().await;
    let (mut client, coord) = (registry.client.clone(), registry.coord.clone());
    for id in ["b", "a"] {
        client.register(registration(instance("shop", id), 60)).await.unwrap();
    }
    coord.set_away(true);
    // The registry's own watch may still be on its way to the last of them.
    let found = eventually(SOON, || {
        let mut client = client.clone();
        async move {
            let request = mcp_proto::registry::v1::DiscoverRequest { service: "shop".to_owned(), ..Default::default() };
            let found = client.discover(request).await.map_err(|status| status.to_string())?.into_inner().instances;
            if found.len() == 2 { Ok(found) } else { Err(format!("{found:?}")) }
        }
    })
    .await;
    assert_eq!(found.iter().map(|instance| instance.instance_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    drop(registry);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_hide_the_others() {
    let mut registry = Registry::start().await;
    let broken = keys::instance("local", "shop", "broken");
    registry.coord.inner.put(&broken, bytes::Bytes::from_static(b"{"), None).await.unwrap();
    registry.register(instance("shop", "a"), 60).await;
    assert_eq!(registry.ids("shop").await, ["a"]);
}
