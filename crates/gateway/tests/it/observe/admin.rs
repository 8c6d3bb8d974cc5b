//! The pages below `/admin`.

use bytes::Bytes;
use gateway::Config;
use http::Method;
use mcp_proto::{
    scheduler::v1::{WatchTasksRequest, task_service_client::TaskServiceClient},
    worker::v1::{OpenSessionRequest, worker_session_service_client::WorkerSessionServiceClient},
};
use serde_json::{Value, json};
use testkit::eventually;
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::client_async;

use crate::{
    backend::{Backend, record},
    sink::sink,
    support::{Cluster, LIMIT},
};

fn one_thread() -> Config {
    let mut config = Config::default();
    config.gateway.data_plane_threads = 1;
    config
}

/// Waits until the connections are as `check` wants them.
async fn connections(cluster: &Cluster, check: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    eventually(LIMIT, || async {
        let view = cluster.get("/admin/connections").await.json();
        let connections = view["threads"][0]["connections"].as_array().cloned().unwrap_or_default();
        if check(&connections) { Ok(connections) } else { Err(format!("{view:#}")) }
    })
    .await
}

#[tokio::test]
async fn the_index_leads_to_every_page_as_json_or_html() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let index = cluster.get("/admin").await.json();
    let paths: Vec<&str> =
        index["pages"].as_array().unwrap().iter().map(|page| page["path"].as_str().unwrap()).collect();
    for path in ["/admin/routes", "/admin/upstreams", "/admin/descriptors", "/admin/connections", "/admin/access-log"] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    for path in paths {
        let answer = cluster.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        assert_eq!(answer.headers["cache-control"], "no-store");
        let browser = [("accept", "text/html,application/xhtml+xml,*/*;q=0.8")];
        let answer = cluster.send(Method::GET, path, &browser, Bytes::new()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (200, &"text/html; charset=utf-8".parse().unwrap())
        );
        assert!(answer.text().starts_with("<!doctype html>") && answer.text().contains(path), "{}", answer.text());
        assert_eq!(cluster.send(Method::DELETE, path, &[], Bytes::new()).await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn routes_are_shown_in_their_order_with_their_versions_and_problems() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let apply = async |id: &str, route: Value| {
        let json = [("content-type", "application/json")];
        let answer = cluster.send(Method::PUT, &format!("/v1/routes/{id}"), &json, route.to_string().into()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["version"].as_str().unwrap().parse::<u64>().unwrap()
    };
    let to = json!([{"service": "backend", "weight": 1}]);
    let all = apply("all", json!({"match": {"hosts": ["*.example.com"]}, "forward": {"targets": to}})).await;
    let first = apply(
        "first",
        json!({"priority": 7, "match": {"path": {"template": "/a/{b=c/*}/d"}}, "respond": {"body": "x"}}),
    )
    .await;
    let view = eventually(LIMIT, || async {
        let view = cluster.get("/admin/routes").await.json();
        if view["total"] == 3 { Ok(view) } else { Err(format!("{view:#}")) }
    })
    .await;
    let mut expected = json!([
        {"id": "first", "version": first, "priority": 7, "hosts": ["*"], "by": "http", "path": "/a/{b=c/*}/d",
         "action": "respond", "layers": 0},
        {"id": "all", "version": all, "priority": 0, "hosts": ["*.example.com"], "by": "http", "path": "/**",
         "action": "forward", "services": ["backend"], "layers": 0},
        {"id": "default", "version": 0, "hosts": [], "by": "http", "path": "/**", "action": "forward", "layers": 0},
    ]);
    assert_eq!(view["routes"], expected, "{view:#}");
    let part = cluster.get("/admin/routes?offset=1&limit=1").await.json();
    assert_eq!((&part["total"], &part["routes"]), (&json!(3), &json!([expected[1].take()])));
    assert_eq!(cluster.get("/admin/routes?limit=1001").await.error(), "400 INVALID_ARGUMENT");
}

#[tokio::test]
async fn descriptors_are_shown_with_where_they_came_from_and_why_they_did_not() {
    let (backend, cluster) = sink().await;
    let mut silent = record("silent", "127.0.0.1:1");
    (silent.service, silent.grpc_services) = ("silent".into(), vec!["acme.v1.Silent".into()]);
    crate::support::register(&cluster.coord, &silent).await;
    eventually(LIMIT, || async {
        let view = cluster.get("/admin/descriptors").await.json();
        let of = |service: &str| {
            let all = view["descriptors"].as_array().unwrap();
            all.iter().find(|source| source["service"] == service).cloned().unwrap_or_default()
        };
        let (known, failed) = (of("sink"), of("silent"));
        let is_known = known["instance"] == backend.record.instance_id.as_str()
            && known["address"] == backend.record.address.as_str()
            && known["version"] == backend.record.version.as_str()
            && known["digest"].as_str().is_some_and(|digest| digest.len() == 16)
            && known["services"] == json!(["sink.v1.Sink"])
            && known["error"].is_null();
        let has_failed = failed["failures"].as_u64() > Some(0)
            && failed["error"].is_string()
            && failed["digest"].is_null()
            && failed["instance"] == "silent";
        if is_known && has_failed { Ok(()) } else { Err(format!("{view:#}")) }
    })
    .await;
}

#[tokio::test]
async fn connections_are_shown_with_what_runs_on_them_until_they_close() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(one_thread(), &[&backend]).await;
    let channel = cluster.channel().await;
    let mut tasks = TaskServiceClient::new(channel.clone());
    let mut watch = tasks.watch_tasks(WatchTasksRequest::default()).await.unwrap().into_inner();
    watch.message().await.unwrap().unwrap();
    let (sender, receiver) = mpsc::channel(1);
    let mut workers = WorkerSessionServiceClient::new(channel.clone());
    let mut session = workers.open_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    sender.send(OpenSessionRequest { pong: 1, ..OpenSessionRequest::default() }).await.unwrap();
    session.message().await.unwrap().unwrap();
    let is_caller = |connection: &&Value| connection["protocol"] == "h2" && connection["requests"] == 2;
    let shown = connections(&cluster, |all| {
        all.iter().any(|connection| is_caller(&connection) && connection["streams_in_flight"] == 2)
    })
    .await;
    let caller = shown.iter().find(is_caller).unwrap();
    assert!(caller["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{caller:#}");
    assert!(caller["tls"].is_null() && caller["age_seconds"].is_u64(), "{caller:#}");
    drop(watch);
    connections(&cluster, |all| {
        all.iter().any(|connection| is_caller(&connection) && connection["streams_in_flight"] == 1)
    })
    .await;
    drop((session, sender, tasks, workers, channel));
    connections(&cluster, |all| !all.iter().any(|connection| is_caller(&connection))).await;
    // A page has so many and no more.
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(cluster.channel().await);
    }
    eventually(LIMIT, || async {
        let view = cluster.get("/admin/connections?limit=2").await.json();
        let thread = &view["threads"][0];
        let is_part = thread["total"].as_u64() > Some(5) && thread["connections"].as_array().unwrap().len() == 2;
        if is_part { Ok(()) } else { Err(format!("{view:#}")) }
    })
    .await;
}

#[tokio::test]
async fn a_websocket_is_a_connection_for_as_long_as_it_is_open() {
    let (_backend, cluster) = sink().await;
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let peer = stream.local_addr().unwrap().to_string();
    let (socket, _) = client_async(format!("ws://{}/sink/v1/chat", cluster.address), stream).await.unwrap();
    let of_peer = async || {
        let view = cluster.get("/admin/connections").await.json();
        let threads = view["threads"].as_array().unwrap().clone();
        let all = threads.iter().flat_map(|thread| thread["connections"].as_array().unwrap().clone());
        all.into_iter().find(|connection| connection["peer"] == peer.as_str())
    };
    eventually(LIMIT, || async {
        match of_peer().await {
            Some(shown) if shown["protocol"] == "websocket" && shown["streams_in_flight"] == 1 => Ok(()),
            shown => Err(format!("{shown:?}")),
        }
    })
    .await;
    drop(socket);
    eventually(LIMIT, || async { of_peer().await.map_or(Ok(()), |shown| Err(format!("{shown:?}"))) }).await;
}

#[tokio::test]
async fn the_pages_are_for_operators_and_switches_for_administrators() {
    const KEY: &str = "a-bootstrap-key-of-the-tests-0123456789";
    let mut config = Config::default();
    config.gateway.security.bootstrap_key = KEY.to_owned().into();
    let cluster = Cluster::configured(config, &[]).await;
    let send = async |method: Method, path: &str, token: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
        cluster.send(method, path, &headers, Bytes::from(body.to_owned())).await
    };
    let mut tokens = Vec::new();
    for (role, namespace) in [("VIEWER", ""), ("OPERATOR", "team"), ("OPERATOR", ""), ("ADMIN", "")] {
        let body = json!({"name": "x", "grants": [{"role": format!("ROLE_{role}"), "namespace": namespace}]});
        let made = send(Method::POST, "/v1/keys", KEY, &body.to_string()).await.json();
        let secret = made["secret"].as_str().unwrap().to_owned();
        eventually(LIMIT, || async {
            let answer = send(Method::GET, "/", &secret, "").await;
            if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
        tokens.push(secret);
    }
    let pages = ["/admin", "/admin/routes", "/admin/upstreams", "/admin/descriptors", "/admin/connections"];
    for (token, expected) in tokens.iter().zip([403, 403, 200, 200]) {
        for path in pages.into_iter().chain(["/admin/access-log"]) {
            let answer = send(Method::GET, path, token, "").await;
            assert_eq!(answer.status, expected, "{path} {answer:?}");
        }
    }
    for (token, expected) in tokens.iter().zip([403, 403, 403, 200]) {
        let answer = send(Method::POST, "/admin/access-log?enabled=false", token, "").await;
        assert_eq!(answer.status, expected, "{answer:?}");
    }
    assert_eq!(cluster.get("/admin").await.error(), "401 UNAUTHENTICATED");
}
