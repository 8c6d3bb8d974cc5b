//! Requests, errors and durations by route, by upstream and by method.

use std::collections::BTreeSet;

use bytes::Bytes;
use gateway::Config;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mcp_proto::scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient};
use serde_json::{Value, json};
use testkit::eventually;
use tokio::net::TcpStream;

use super::{Metrics, OPEN_METRICS, trace_of, traceparent};
use crate::{
    backend::Backend,
    faulty::{Faulty, Manner},
    support::{Cluster, LIMIT},
};

const TASKS: &str = "mcp.scheduler.v1.TaskService";

/// The families that have exemplars, and the labels of one call of `GetTask` as JSON.
const SECONDS: [(&str, &[(&str, &str)]); 3] = [
    ("mcp_gateway_request_duration_seconds_bucket", &[("route", "default"), ("protocol", "json")]),
    ("mcp_gateway_upstream_request_duration_seconds_bucket", &[("upstream", TASKS)]),
    ("mcp_gateway_call_duration_seconds_bucket", &[("rpc_service", TASKS), ("rpc_method", "GetTask"), ("code", "OK")]),
];

/// Waits until so much was counted.
async fn counted(cluster: &Cluster, name: &str, labels: &[(&str, &str)], expected: f64) -> Metrics {
    eventually(LIMIT, || async {
        let metrics = cluster.metrics().await;
        if (metrics.sum(name, labels) - expected).abs() < 0.5 {
            return Ok(metrics);
        }
        Err(format!("{name}{labels:?} is not {expected}:\n{}", metrics.shown(name)))
    })
    .await
}

async fn apply(cluster: &Cluster, id: &str, route: Value) {
    let path = format!("/v1/routes/{id}");
    let answer =
        cluster.send(Method::PUT, &path, &[("content-type", "application/json")], route.to_string().into()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn an_exemplar_is_the_trace_that_the_answer_names() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let unrecorded = traceparent(0xdead, false);
    assert_eq!(cluster.get_as("/v1/tasks/7", &[("traceparent", &unrecorded)]).await.status, 200);
    let answer = cluster.get("/v1/tasks/7").await;
    let trace = trace_of(&answer.headers);
    for (name, labels) in SECONDS {
        let (count, infinity) = (name, [labels, &[("le", "+Inf")]].concat());
        let metrics = counted(&cluster, count, &infinity, 2.0).await;
        let exemplars: BTreeSet<&str> = metrics
            .lines(name, labels)
            .into_iter()
            .filter_map(|line| line.split_once(" # {trace_id=\"")?.1.split('"').next())
            .collect();
        assert_eq!(exemplars, BTreeSet::from([trace.as_str()]), "{}", metrics.shown(name));
    }
}

#[tokio::test]
async fn a_scraper_gets_the_format_that_it_asks_for() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    assert_eq!(cluster.get("/v1/tasks/7").await.status, 200);
    let text = cluster.get("/metrics").await;
    assert_eq!(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(!text.text().contains(" # {") && !text.text().contains("# EOF"), "{}", text.text());
    let open = cluster.get_as("/metrics", &[OPEN_METRICS]).await;
    assert_eq!(open.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text().ends_with("\n# EOF\n"));
    // Every family is declared once, before its samples, and these have the name of the family.
    let mut families = BTreeSet::new();
    let mut current = ("", "");
    for line in open.text().lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            current = declared.split_once(' ').unwrap();
            assert!(families.insert(current.0), "{} is declared twice", current.0);
        } else if !line.starts_with('#') {
            let sample = line.split(['{', ' ']).next().unwrap();
            let suffix = sample.strip_prefix(current.0).unwrap_or_else(|| panic!("{line} is not of {}", current.0));
            match current.1 {
                "counter" => assert_eq!(suffix, "_total", "{line}"),
                "histogram" => assert!(["_bucket", "_sum", "_count"].contains(&suffix), "{line}"),
                _ => assert_eq!(suffix, "", "{line}"),
            }
        }
    }
    assert!(families.contains("mcp_gateway_requests") && families.contains("mcp_gateway_connections"), "{families:?}");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_upstream_with_their_errors() {
    let backend = Backend::start("one").await;
    let mut config = Config::default();
    config.gateway.data_plane_threads = 2;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let found = json!({"match": {"path": {"template": "/v1/tasks/{id}"}}});
    apply(&cluster, "tasks", found).await;
    apply(&cluster, "hello", json!({"match": {"path": {"exact": "/hello"}}, "respond": {"body": "hello"}})).await;
    eventually(LIMIT, || async {
        let answers = [cluster.get("/hello").await, cluster.get("/hello").await];
        if answers.iter().all(|answer| answer.status == 200) { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await;
    for id in ["1", "2", "3", "missing"] {
        cluster.get(&format!("/v1/tasks/{id}")).await;
    }
    let (name, route) = ("mcp_gateway_requests_total", ("route", "tasks"));
    counted(&cluster, name, &[route, ("status", "200"), ("code", "OK"), ("method", "GET")], 3.0).await;
    counted(&cluster, name, &[route, ("status", "404"), ("code", "NOT_FOUND"), ("protocol", "json")], 1.0).await;
    let seconds = "mcp_gateway_request_duration_seconds_count";
    let metrics = counted(&cluster, seconds, &[route, ("protocol", "json")], 4.0).await;
    assert!(metrics.sum(name, &[("route", "hello"), ("protocol", "http"), ("status", "200")]) >= 2.0);
    let (upstream, service) = ("mcp_gateway_upstream_requests_total", ("upstream", TASKS));
    counted(&cluster, upstream, &[service, ("code", "OK")], 3.0).await;
    counted(&cluster, upstream, &[service, ("code", "NOT_FOUND")], 1.0).await;
    counted(&cluster, "mcp_gateway_upstream_request_duration_seconds_count", &[service], 4.0).await;
    // What goes nowhere has its error too.
    let mut unknown = tonic::client::Grpc::new(cluster.channel().await);
    for path in ["/nothing", "/acme.v1.Unknown/Do"] {
        unknown.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<GetTaskRequest, GetTaskRequest>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        unknown.unary(tonic::Request::new(GetTaskRequest::default()), path, codec).await.unwrap_err();
    }
    counted(&cluster, name, &[("route", "default"), ("protocol", "grpc"), ("code", "UNIMPLEMENTED")], 2.0).await;
}

#[tokio::test]
async fn every_attempt_counts_for_the_upstream_and_the_request_once() {
    let backend = Faulty::start("one", Manner::Status(14)).await;
    let mut config = Config::default();
    config.gateway.data_plane_threads = 1;
    config.gateway.policy.retry.attempts = 3;
    config.gateway.policy.breaker.failure_percent = 0;
    let cluster = Cluster::of_records(config, &[&backend.record]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);
    client.get_task(GetTaskRequest { task_id: "7".into() }).await.unwrap_err();
    assert_eq!(backend.calls(), 3);
    let upstream = [("upstream", TASKS), ("code", "UNAVAILABLE")];
    counted(&cluster, "mcp_gateway_upstream_requests_total", &upstream, 3.0).await;
    let request = [("route", "default"), ("protocol", "grpc"), ("status", "200"), ("code", "UNAVAILABLE")];
    counted(&cluster, "mcp_gateway_requests_total", &request, 1.0).await;
}

#[tokio::test]
async fn a_thousand_random_paths_are_not_a_thousand_series() {
    const REQUESTS: u32 = 1_000;
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for index in 0..REQUESTS {
        let noise = index.wrapping_mul(2_654_435_761);
        let method = if index % 7 == 0 { format!("M{noise}") } else { ["GET", "POST"][index as usize % 2].to_owned() };
        let path = match index % 3 {
            0 => format!("/noise{noise}/{index}"),
            1 => format!("/noise{noise}.Service/Method{index}"),
            _ => format!("/v1/tasks/noise{noise}?noise{noise}=1"),
        };
        let request = Request::builder().method(method.as_str()).uri(path).header("host", format!("noise{noise}"));
        let answer = sender.send_request(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
        answer.into_body().collect().await.unwrap();
    }
    let metrics = counted(&cluster, "mcp_gateway_requests_total", &[], f64::from(REQUESTS)).await;
    assert!(!metrics.0.contains("noise") && !metrics.0.contains("M2654435761"), "{}", metrics.0);
    let requests = metrics.lines("mcp_gateway_requests_total", &[]);
    assert!(requests.len() < 20, "{requests:#?}");
    assert!(metrics.0.lines().count() < 1_000, "{}", metrics.0.lines().count());
}
