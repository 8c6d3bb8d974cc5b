//! Starting late and stopping in order.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use gateway::Config;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mcp_coord::{Coordinator, keys};
use mcp_proto::scheduler::v1::{GetTaskRequest, WatchTasksRequest, task_service_client::TaskServiceClient};
use testkit::eventually;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    client_async,
    tungstenite::{Message, protocol::frame::coding::CloseCode},
};

use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

/// The gateways that are registered.
async fn registered(coord: &Arc<dyn Coordinator>) -> Vec<String> {
    let found = coord.range(&keys::service("test", "gateway")).await.unwrap();
    found.entries.into_iter().map(|entry| String::from_utf8(entry.value.to_vec()).unwrap()).collect()
}

async fn is_registered(cluster: &Cluster, expected: bool) {
    eventually(LIMIT, || async {
        let found = registered(&cluster.coord).await;
        if found.is_empty() != expected { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

#[tokio::test]
async fn the_gateway_registers_itself() {
    let cluster = Cluster::with(&[]).await;
    is_registered(&cluster, true).await;
    let record = registered(&cluster.coord).await.remove(0);
    assert!(record.contains(&cluster.address.to_string()), "{record}");
}

#[tokio::test]
async fn a_drain_lets_running_calls_finish_and_takes_no_new_ones() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    is_registered(&cluster, true).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    let grpc = tokio::spawn(async move { client.get_task(GetTaskRequest { task_id: "held".into() }).await });
    let http = cluster.open(Method::GET, "/v1/tasks:watch", &[], Bytes::new()).await;
    let (address, base) = (cluster.address, cluster.base());
    let json = tokio::spawn(async move { testkit::http::get(&base, "/v1/tasks/held").await });
    eventually(LIMIT, || async {
        if backend.state.running() == 3 { Ok(()) } else { Err(backend.state.running().to_string()) }
    })
    .await;

    cluster.stop.cancel();
    is_registered(&cluster, false).await;
    eventually(LIMIT, || async {
        if TcpStream::connect(address).await.is_err() { Ok(()) } else { Err("the port is still open".into()) }
    })
    .await;
    assert!(!cluster.task.is_finished() && backend.state.running() == 3);

    backend.state.release.add_permits(2);
    grpc.await.unwrap().unwrap();
    assert_eq!(json.await.unwrap().status, 200);
    assert!(!cluster.task.is_finished(), "a stream still runs");
    drop(http);
    cluster.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_does_not_finish_within_the_grace_is_cut_off() {
    let backend = Backend::start("one").await;
    let mut config = Config::default();
    config.service.shutdown_grace = Duration::from_millis(300);
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    let mut watch = client.watch_tasks(WatchTasksRequest::default()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    cluster.stop.cancel();
    tokio::time::timeout(LIMIT, cluster.task).await.expect("it does not wait for ever").unwrap().unwrap();
    assert!(watch.message().await.is_err());
    eventually(LIMIT, || async {
        if backend.state.running() == 0 { Ok(()) } else { Err("the call still runs behind".into()) }
    })
    .await;
}

#[tokio::test]
async fn while_it_waits_for_load_balancers_it_is_not_ready_and_still_answers() {
    let backend = Backend::start("one").await;
    let mut config = Config::default();
    config.gateway.drain_delay = Duration::from_secs(3600);
    config.service.shutdown_grace = Duration::from_secs(1);
    let cluster = Cluster::configured(config, &[&backend]).await;
    cluster.stop.cancel();
    eventually(LIMIT, || async {
        let answer = cluster.get("/readyz").await;
        if answer.status == 503 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    let http = cluster.open(Method::GET, "/v1/tasks/7", &[], Bytes::new()).await;
    assert_eq!(http.status(), 200);
    assert!(!http.into_body().collect().await.unwrap().to_bytes().is_empty());
    // The grace bounds the delay.
    tokio::time::timeout(LIMIT, cluster.task).await.expect("it stops").unwrap().unwrap();
}

async fn is_closed(cluster: &Cluster) {
    eventually(LIMIT, || async {
        if TcpStream::connect(cluster.address).await.is_err() { Ok(()) } else { Err("the port is open".into()) }
    })
    .await;
}

#[tokio::test]
async fn a_call_on_its_way_on_an_idle_connection_is_answered_and_the_connection_closed() {
    let backend = Backend::start("one").await;
    let mut config = Config::default();
    config.gateway.drain_linger = LIMIT;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    // One more that has said nothing yet.
    let silent = TcpStream::connect(cluster.address).await.unwrap();
    let request = || Request::get("/v1/tasks/7").header("host", "gateway").body(Empty::<Bytes>::new()).unwrap();
    let answer = sender.send_request(request()).await.unwrap();
    assert!(!answer.headers().contains_key("connection"), "{answer:?}");
    answer.into_body().collect().await.unwrap();

    cluster.stop.cancel();
    is_closed(&cluster).await;
    sender.ready().await.unwrap();
    let answer = sender.send_request(request()).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["connection"]), (200, &"close".parse().unwrap()));
    answer.into_body().collect().await.unwrap();
    assert!(sender.ready().await.is_err(), "the connection is closed");
    let (mut sender, connection) = http1::handshake(TokioIo::new(silent)).await.unwrap();
    tokio::spawn(connection);
    assert_eq!(sender.send_request(request()).await.unwrap().status(), 200);
    drop(sender);
    cluster.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn websockets_that_may_last_are_closed_as_going_away_and_others_finish() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut sockets = Vec::new();
    // One that streams, one that has not begun, one that runs.
    for path in ["/v1/tasks:watch", "/v1/tasks:batchSubmit", "/v1/tasks/held"] {
        let stream = TcpStream::connect(cluster.address).await.unwrap();
        sockets.push(client_async(format!("ws://{}{path}", cluster.address), stream).await.unwrap().0);
    }
    eventually(LIMIT, || async {
        if backend.state.running() == 2 { Ok(()) } else { Err(backend.state.running().to_string()) }
    })
    .await;
    cluster.stop.cancel();
    is_closed(&cluster).await;
    let mut held = sockets.pop().unwrap();
    for mut socket in sockets {
        let code = loop {
            match socket.next().await.unwrap().unwrap() {
                Message::Close(Some(frame)) => break frame.code,
                Message::Text(_) | Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(code, CloseCode::Away);
    }
    backend.state.release.add_permits(1);
    assert!(matches!(held.next().await.unwrap().unwrap(), Message::Text(_)), "the call that runs finishes");
    match held.next().await.unwrap().unwrap() {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Normal),
        other => panic!("{other:?}"),
    }
    drop(held);
    cluster.task.await.unwrap().unwrap();
}
