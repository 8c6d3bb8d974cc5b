//! Watch.

use mcp_coord::{Coordinator as _, keys};
use mcp_proto::{
    Code,
    registry::v1::{WatchRequest, WatchResponse, watch_response::Change},
};
use testkit::eventually;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::support::{Registry, SOON, code, instance};

async fn watch(registry: &mut Registry, service: &str) -> Streaming<WatchResponse> {
    let request = WatchRequest { service: service.to_owned() };
    registry.client.watch(request).await.unwrap().into_inner()
}

/// The next change in short: `=a,b` for a snapshot, `+a` and `-a` for the others; or how the stream ended.
async fn next(changes: &mut Streaming<WatchResponse>) -> Result<String, Status> {
    let response = timeout(SOON, changes.message()).await.expect("something is told in time")?;
    let change = response.expect("the stream ends with a status").change.expect("every response has a change");
    Ok(match change {
        Change::Snapshot(snapshot) => {
            let ids: Vec<String> = snapshot.instances.into_iter().map(|instance| instance.instance_id).collect();
            format!("={}", ids.join(","))
        }
        Change::Put(instance) => format!("+{}", instance.instance_id),
        Change::Removed(removed) => format!("-{}/{}", removed.service, removed.instance_id),
    })
}

#[tokio::test]
async fn a_watch_tells_what_is_there_then_every_change() {
    let mut registry = Registry::start().await;
    registry.register(instance("shop", "b"), 60).await;
    registry.register(instance("shop", "a"), 60).await;
    registry.register(instance("other", "x"), 60).await;
    let mut changes = watch(&mut registry, "shop").await;
    assert_eq!(next(&mut changes).await.unwrap(), "=a,b");

    registry.register(instance("other", "y"), 60).await;
    registry.register(instance("shop", "c"), 2).await; // and no heartbeat
    registry.coord.inner.delete(&keys::instance("local", "shop", "a")).await.unwrap();
    assert_eq!(next(&mut changes).await.unwrap(), "+c");
    assert_eq!(next(&mut changes).await.unwrap(), "-shop/a");
    assert_eq!(next(&mut changes).await.unwrap(), "-shop/c");
}

#[tokio::test]
async fn a_watch_of_every_service_tells_every_service() {
    let mut registry = Registry::with(|config| config.service.instance_id = Some("me".to_owned())).await;
    let mut changes = watch(&mut registry, "").await;
    assert!(matches!(next(&mut changes).await.unwrap().as_str(), "=" | "=me"));
    registry.register(instance("shop", "a"), 60).await;
    let mut told = next(&mut changes).await.unwrap();
    while told == "+me" {
        told = next(&mut changes).await.unwrap();
    }
    assert_eq!(told, "+a");
}

#[tokio::test]
async fn a_watch_ends_when_the_registry_stops() {
    let mut registry = Registry::start().await;
    let mut changes = watch(&mut registry, "shop").await;
    assert_eq!(next(&mut changes).await.unwrap(), "=");
    registry.stop.cancel();
    assert_eq!(code(next(&mut changes).await), Code::ShuttingDown);
    timeout(SOON, &mut registry.running).await.expect("it stops").unwrap().unwrap();
}

#[tokio::test]
async fn more_watches_than_allowed_are_refused_until_one_ends() {
    let mut registry = Registry::with(|config| config.registry.watches_max = 2).await;
    let mut first = watch(&mut registry, "shop").await;
    assert_eq!(next(&mut first).await.unwrap(), "=");
    let _second = watch(&mut registry, "shop").await;
    let third = registry.client.watch(WatchRequest { service: "shop".to_owned() }).await;
    assert_eq!(code(third), Code::Overloaded);

    drop(first);
    let client = registry.client.clone();
    eventually(SOON, || {
        let mut client = client.clone();
        async move { client.watch(WatchRequest::default()).await.map_err(|status| status.to_string()) }
    })
    .await;
}
