//! The order in which a server stops.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mcp_proto::registry::v1::{DiscoverRequest, WatchRequest};
use testkit::{eventually, http};
use tokio::sync::Semaphore;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::support::{LIMIT, Running, SERVICE, settings, soon, start};

async fn health(server: &Running, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(server.channel()).check(request).await.unwrap().into_inner().status()
}

/// `/livez`, `/readyz`, `/startupz`.
async fn probes(server: &Running) -> [u16; 3] {
    [server.status("/livez").await, server.status("/readyz").await, server.status("/startupz").await]
}

#[tokio::test]
async fn a_server_that_is_not_ready_lives_but_is_neither_registered_nor_started() {
    let server = start(settings(LIMIT), |server| server).await;
    server.registered(true).await;
    assert_eq!(probes(&server).await, [200, 200, 200]);
    assert_eq!(health(&server, "").await, ServingStatus::Serving);

    server.readiness.set_ready(false);
    eventually(LIMIT, || async {
        let health = [health(&server, "").await, health(&server, SERVICE).await];
        if health == [ServingStatus::NotServing; 2] { Ok(()) } else { Err(format!("{health:?}")) }
    })
    .await;
    assert_eq!(probes(&server).await, [200, 503, 200]);
    server.stopped().await;

    let readiness = mcp_chassis::Readiness::default();
    let server = start(settings(LIMIT), |server| server.readiness(readiness.clone())).await;
    assert_eq!(probes(&server).await, [200, 503, 503]);
    assert_eq!(health(&server, SERVICE).await, ServingStatus::NotServing);
    assert!(!server.is_registered().await);
    readiness.set_ready(true);
    server.registered(true).await;
    assert_eq!(probes(&server).await, [200, 200, 200]);
    server.stopped().await;
}

#[tokio::test]
async fn a_server_stops_in_order() {
    let hook = Arc::new(Semaphore::new(0));
    let in_hook = Arc::new(tokio::sync::Notify::new());
    let (gate, told) = (Arc::clone(&hook), Arc::clone(&in_hook));
    let server = start(settings(LIMIT), |server| {
        server.on_drain(move || async move {
            told.notify_one();
            gate.acquire().await.unwrap().forget();
        })
    })
    .await;
    server.registered(true).await;

    server.stop.cancel();
    soon(in_hook.notified()).await;
    // In the hook: not ready, deregistered, but still answering on new connections.
    assert_eq!(probes(&server).await, [200, 503, 200]);
    assert_eq!(health(&server, "").await, ServingStatus::NotServing);
    assert_eq!(health(&server, SERVICE).await, ServingStatus::NotServing);
    assert!(!server.is_registered().await);
    server.readiness.set_ready(true);
    assert_eq!(server.status("/readyz").await, 503, "a service cannot become ready again while it stops");

    hook.add_permits(1);
    let address = server.url.trim_start_matches("http://").to_owned();
    server.stopped().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_running_call_finishes_during_the_drain() {
    let server = start(settings(LIMIT), |server| server).await;
    let mut client = server.client();
    let call = tokio::spawn(async move { client.discover(DiscoverRequest::default()).await });
    soon(server.probe.arrived.notified()).await;

    server.stop.cancel();
    let address = server.url.trim_start_matches("http://").to_owned();
    eventually(LIMIT, || async {
        if tokio::net::TcpStream::connect(&address).await.is_err() { Ok(()) } else { Err("still accepts".to_owned()) }
    })
    .await;
    assert!(!call.is_finished() && !server.serving.is_finished());
    server.probe.go.add_permits(1);
    soon(call).await.unwrap().expect("the call that ran is answered");
    server.stopped().await;
}

#[tokio::test]
async fn calls_that_outlast_the_grace_are_cut_off_and_counted() {
    let grace = Duration::from_millis(200);
    let server = start(settings(grace), |server| server).await;
    let mut client = server.client();
    let mut stream = client.watch(WatchRequest { service: "x".into() }).await.unwrap().into_inner();
    soon(stream.message()).await.unwrap().expect("the first item");
    soon(server.probe.arrived.notified()).await;

    let since = Instant::now();
    server.stopped().await;
    assert!(since.elapsed() >= grace, "{:?}", since.elapsed());
    assert!(soon(stream.message()).await.is_err(), "the stream was cut off");
    let metrics = mcp_chassis::metrics::text();
    let counted = metrics.lines().find(|line| line.starts_with("mcp_server_calls_cut_total"));
    assert!(counted.is_some_and(|line| !line.ends_with(" 0")), "{metrics}");
}

#[tokio::test]
async fn a_hook_that_never_ends_does_not_outlast_the_grace() {
    let server = start(settings(Duration::from_millis(100)), |server| server.on_drain(std::future::pending)).await;
    server.stopped().await;
}

#[tokio::test]
async fn those_who_watch_health_do_not_hold_up_the_shutdown() {
    let server = start(settings(LIMIT * 10), |server| server).await;
    let mut watch =
        HealthClient::new(server.channel()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.stop.cancel();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    server.stopped().await;
}

#[tokio::test]
async fn silent_and_idle_connections_do_not_hold_up_the_shutdown() {
    let server = start(settings(LIMIT * 10), |server| server).await;
    let address = server.url.trim_start_matches("http://").to_owned();
    let _silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    let idle = server.channel();
    health(&server, "").await;
    let mut client = tonic_health::pb::health_client::HealthClient::new(idle.clone());
    client.check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(http::get(&server.url, "/livez").await.status, 200);
    server.stopped().await;
    drop(idle);
}
