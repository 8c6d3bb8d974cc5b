//! What callers may not do.

use bytes::Bytes;
use gateway::Config;
use http::Method;
use mcp_proto::scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient};
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

#[tokio::test]
async fn seventeen_mib_are_too_many_over_http_too() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let body = |mib: usize| format!("{{\"name\":\"{}\"}}", "x".repeat(mib << 20));
    assert_eq!(cluster.post("/v1/tasks", &body(15)).await.status, 200);
    assert_eq!(cluster.post("/v1/tasks", &body(17)).await.error(), "413 PAYLOAD_TOO_LARGE");
    assert_eq!(backend.state.reached(), 1);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_unread() {
    let backend = Backend::start("one").await;
    let mut config = Config::default();
    config.gateway.json.body_bytes_max = 1_000;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let answer = cluster.post("/v1/tasks", &format!("{{\"name\":\"{}\"}}", "x".repeat(2_000))).await;
    assert_eq!(answer.error(), "413 PAYLOAD_TOO_LARGE");
    assert_eq!(cluster.post("/v1/tasks", "{}").await.status, 200);
}

#[tokio::test]
async fn more_calls_than_allowed_are_refused_and_not_queued() {
    let backend = Backend::start("one").await;
    let mut config = Config::default();
    config.gateway.data_plane_threads = 1;
    config.gateway.downstream.calls_max = 1;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    let held = tokio::spawn(async move { client.get_task(GetTaskRequest { task_id: "held".into() }).await });
    eventually(LIMIT, || async {
        if backend.state.running() == 1 { Ok(()) } else { Err("it has not arrived".into()) }
    })
    .await;
    let answer = cluster.get("/v1/tasks/7").await;
    assert_eq!((answer.error().as_str(), &answer.headers["retry-after"]), ("503 OVERLOADED", &"1".parse().unwrap()));
    let mut client = TaskServiceClient::new(cluster.channel().await);
    let status = client.get_task(GetTaskRequest::default()).await.unwrap_err();
    assert_eq!(mcp_proto::Error::from(&status).code(), mcp_proto::Code::Overloaded);
    backend.state.release.add_permits(1);
    held.await.unwrap().unwrap();
    eventually(LIMIT, || async {
        let answer = cluster.get("/v1/tasks/7").await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
}

/// What a connection says after `sent`, until it is closed.
async fn until_closed(cluster: &Cluster, sent: &[u8]) -> String {
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    stream.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.expect("it is closed");
    read.map(drop).unwrap_or_default(); // a reset is an end too
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_connection_that_is_too_slow_is_closed() {
    let mut config = Config::default();
    config.gateway.downstream.header_timeout = std::time::Duration::from_millis(200);
    let cluster = Cluster::configured(config, &[]).await;
    assert_eq!(until_closed(&cluster, b"").await, "");
    assert_eq!(until_closed(&cluster, b"PRI * HT").await, "");
    let answer = until_closed(&cluster, b"GET /livez HTTP/1.1\r\nHost: x\r\n").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let idle = until_closed(&cluster, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(idle.starts_with("HTTP/1.1 200"), "{idle}");
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let cluster = Cluster::with(&[]).await;
    let head = format!("GET /livez HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let answer = until_closed(&cluster, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let answer = until_closed(&cluster, b"\x00\x01\x02\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn the_pages_of_its_own_are_there() {
    let cluster = Cluster::with(&[]).await;
    for (path, expected) in [("/livez", "alive"), ("/readyz", "ready"), ("/startupz", "started")] {
        let answer = cluster.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, expected), "{path}");
    }
    assert_eq!(cluster.get("/").await.json()["name"], "mcp gateway");
    let head = cluster.send(Method::HEAD, "/livez", &[], Bytes::new()).await;
    assert_eq!((head.status.as_u16(), head.text()), (200, ""));
    assert_eq!(cluster.get("/v1/tasks/7").await.status, 503);
    let metrics = cluster.get("/metrics").await;
    assert!(metrics.text().contains("mcp_gateway_call_duration_seconds_bucket"), "{}", metrics.text());
    assert!(metrics.text().contains("rpc_method=\"GetTask\""), "{}", metrics.text());
}
