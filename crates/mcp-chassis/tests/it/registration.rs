//! How an instance gets into the directory, and back into it.

use mcp_coord::{InstanceRecord, keys};
use testkit::eventually;

use crate::support::{CLUSTER, LIMIT, Running, SERVICE, settings, start};

async fn record(server: &Running) -> Option<(InstanceRecord, mcp_coord::KeyValue)> {
    let key = keys::instance(CLUSTER, "probe", "probe-1");
    let entry = server.coord.get(&key).await.unwrap()?;
    Some((serde_json::from_slice(&entry.value).unwrap(), entry))
}

#[tokio::test]
async fn the_record_says_where_and_what() {
    let server = start(settings(LIMIT), |server| server).await;
    server.registered(true).await;
    let (record, entry) = record(&server).await.unwrap();
    assert_eq!(format!("http://{}", record.address), server.url);
    assert_eq!((record.version.as_str(), record.weight), ("1.2.3", 100));
    assert_eq!(record.grpc_services, [SERVICE], "health and reflection are everywhere and not listed");
    assert!(entry.lease.is_some() && record.registered_unix_ms > 0);
    server.stopped().await;
}

#[tokio::test]
async fn an_advertised_address_replaces_that_of_the_listener() {
    let settings = mcp_chassis::ServiceSettings { advertise: Some("probe.example:80".into()), ..settings(LIMIT) };
    let server = start(settings, |server| server).await;
    server.registered(true).await;
    assert_eq!(record(&server).await.unwrap().0.address, "probe.example:80");
    server.stopped().await;
}

#[tokio::test]
async fn a_lost_lease_is_followed_by_a_new_registration() {
    let server = start(settings(LIMIT), |server| server).await;
    server.registered(true).await;
    let (_, before) = record(&server).await.unwrap();
    server.coord.revoke(before.lease.unwrap()).await.unwrap();
    eventually(LIMIT, || async {
        match record(&server).await {
            Some((_, after)) if after.created > before.created => Ok(()),
            state => Err(format!("{state:?}")),
        }
    })
    .await;
    server.stopped().await;
}

#[tokio::test]
async fn a_stopped_server_is_gone_from_the_directory() {
    let server = start(settings(LIMIT), |server| server).await;
    server.registered(true).await;
    let coord = server.coord.clone();
    server.stopped().await;
    assert!(coord.range(&keys::services(CLUSTER)).await.unwrap().entries.is_empty());
}
