//! Spans, as a collector gets them.

use std::collections::BTreeMap;

use gateway::Config;
use mcp_chassis::{TelemetrySettings, telemetry};
use mcp_proto::{
    frame::{Command, Metadata},
    scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient},
};
use testkit::{
    eventually,
    otlp::{OtlpReceiver, ReceivedSpan},
};
use tonic::Request;

use super::{trace_of, traceparent};
use crate::{
    backend::Backend,
    frames::Client,
    support::{Cluster, LIMIT},
};

const GET_TASK: &str = "mcp.scheduler.v1.TaskService/GetTask";

/// The spans of a trace, the server's first, once there are so many.
async fn spans(receiver: &OtlpReceiver, trace: &str, count: usize) -> Vec<ReceivedSpan> {
    let mut spans = eventually(LIMIT, || async {
        let spans: Vec<_> = receiver.spans().into_iter().filter(|span| span.trace_id == trace).collect();
        if spans.len() >= count { Ok(spans) } else { Err(format!("{spans:#?}")) }
    })
    .await;
    assert_eq!(spans.len(), count, "{spans:#?}");
    spans.sort_by_key(|span| !span.attributes.contains_key("http.request.method"));
    spans
}

fn has(span: &ReceivedSpan, expected: &[(&str, &str)]) {
    let attributes: BTreeMap<&str, &str> =
        span.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (name, value) in expected {
        assert_eq!(attributes.get(name), Some(value), "{name} of {span:#?}");
    }
}

/// One test for all: the exporter is the process', and lives in this test's runtime.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_recorded_request_has_the_spans_of_the_conventions() {
    let receiver = OtlpReceiver::start().await;
    let identity = telemetry::Identity { service: "gateway".into(), version: "1".into(), instance_id: "i".into() };
    let settings = TelemetrySettings {
        otlp_endpoint: Some(receiver.endpoint().to_owned()),
        log_filter: "off".into(),
        ..TelemetrySettings::default()
    };
    let telemetry = telemetry::init(&identity, &settings).unwrap();
    let backend = Backend::start("one").await;
    let mut config = Config { telemetry: settings, ..Config::default() };
    config.gateway.frames.standard_addr = Some("127.0.0.1:0".parse().unwrap());
    let cluster = Cluster::configured(config, &[&backend]).await;
    json_has_the_span_of_http_and_one_below_it(&receiver, &cluster, &backend.record.address).await;
    grpc_has_the_span_of_its_method_in_its_callers_trace(&receiver, &cluster).await;
    a_frame_has_the_span_of_its_method_in_its_callers_trace(&receiver, &cluster).await;
    what_nobody_has_is_no_name(&receiver, &cluster).await;
    what_is_not_recorded_has_no_span(&receiver, &cluster).await;
    drop(telemetry);
}

async fn json_has_the_span_of_http_and_one_below_it(receiver: &OtlpReceiver, cluster: &Cluster, address: &str) {
    let (host, port) = address.rsplit_once(':').unwrap();
    let answer = cluster.get_as("/v1/tasks/7", &[("user-agent", "test")]).await;
    let found = spans(receiver, &trace_of(&answer.headers), 2).await;
    let (server, client) = (&found[0], &found[1]);
    assert_eq!((server.name.as_str(), server.parent_span_id.as_str()), ("GET /v1/tasks/{task_id}", ""));
    let expected = [
        ("http.request.method", "GET"),
        ("http.route", "/v1/tasks/{task_id}"),
        ("http.response.status_code", "200"),
        ("url.path", "/v1/tasks/7"),
        ("url.scheme", "http"),
        ("server.address", "gateway"),
        ("network.protocol.name", "http"),
        ("network.protocol.version", "1.1"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "test"),
        ("rpc.system.name", "grpc"),
        ("rpc.method", GET_TASK),
        ("rpc.response.status_code", "OK"),
        ("mcp.route", "default"),
    ];
    has(server, &expected);
    assert_eq!((client.name.as_str(), &client.parent_span_id), (GET_TASK, &server.span_id));
    let expected = [
        ("rpc.system.name", "grpc"),
        ("rpc.system", "grpc"),
        ("rpc.method", GET_TASK),
        ("rpc.service", "mcp.scheduler.v1.TaskService"),
        ("rpc.response.status_code", "OK"),
        ("rpc.grpc.status_code", "0"),
        ("server.address", host),
        ("server.port", port),
        ("network.protocol.version", "2"),
    ];
    has(client, &expected);
    let seen = &answer.json()["spec"]["labels"]["traceparent"];
    assert!(seen.as_str().unwrap().contains(&client.span_id), "{seen} is below {client:?}");
}

async fn grpc_has_the_span_of_its_method_in_its_callers_trace(receiver: &OtlpReceiver, cluster: &Cluster) {
    let mut grpc = TaskServiceClient::new(cluster.channel().await);
    let mut request = Request::new(GetTaskRequest { task_id: "missing".into() });
    request.metadata_mut().insert("traceparent", traceparent(0xabc, true).parse().unwrap());
    grpc.get_task(request).await.unwrap_err();
    let found = spans(receiver, &format!("{:032x}", 0xabc), 2).await;
    assert_eq!((found[0].name.as_str(), found[0].parent_span_id.as_str()), (GET_TASK, "00f067aa0ba902b7"));
    has(&found[0], &[("network.protocol.version", "2"), ("rpc.response.status_code", "NOT_FOUND")]);
    // What an instance says of a request is no fault of the server, but one of the call.
    assert!(!found[0].attributes.contains_key("error.type"), "{:#?}", found[0]);
    has(&found[1], &[("error.type", "NOT_FOUND"), ("rpc.grpc.status_code", "5")]);
}

async fn a_frame_has_the_span_of_its_method_in_its_callers_trace(receiver: &OtlpReceiver, cluster: &Cluster) {
    let mut client = Client::connect(cluster).await;
    let metadata = Metadata::new().with("traceparent", traceparent(0xf4a3, true));
    client.ask(Command::TASK_GET, &serde_json::json!({"taskId": "7"}), &metadata).await;
    client.next().await;
    let found = spans(receiver, &format!("{:032x}", 0xf4a3), 2).await;
    assert_eq!((found[0].name.as_str(), found[0].parent_span_id.as_str()), (GET_TASK, "00f067aa0ba902b7"));
    has(&found[0], &[("rpc.method", GET_TASK), ("rpc.response.status_code", "OK"), ("client.address", "127.0.0.1")]);
    assert_eq!((found[1].name.as_str(), &found[1].parent_span_id), (GET_TASK, &found[0].span_id));
}

async fn what_nobody_has_is_no_name(receiver: &OtlpReceiver, cluster: &Cluster) {
    let mut request = Request::new(GetTaskRequest { task_id: "7".into() });
    request.metadata_mut().insert("traceparent", traceparent(0xdef, true).parse().unwrap());
    let path = http::uri::PathAndQuery::from_static("/made.up.By/Callers");
    let mut unknown = tonic::client::Grpc::new(cluster.channel().await);
    unknown.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<GetTaskRequest, GetTaskRequest>::default();
    unknown.unary(request, path, codec).await.unwrap_err();
    let found = spans(receiver, &format!("{:032x}", 0xdef), 1).await;
    assert_eq!(found[0].name, "_OTHER");
    has(&found[0], &[("error.type", "UNIMPLEMENTED"), ("rpc.method", "_OTHER")]);

    // The same of a path, whose query and headers may be secret.
    let answer = cluster.get_as("/nowhere?key=secret", &[("authorization", "Bearer secret")]).await;
    let found = spans(receiver, &trace_of(&answer.headers), 1).await;
    assert_eq!(found[0].name, "GET");
    assert!(!format!("{found:?}").contains("secret"), "{found:?}");
}

async fn what_is_not_recorded_has_no_span(receiver: &OtlpReceiver, cluster: &Cluster) {
    cluster.get_as("/v1/tasks/7", &[("traceparent", &traceparent(0x123, false))]).await;
    // A probe has none, whoever asks.
    cluster.get_as("/livez", &[("traceparent", &traceparent(0x456, true))]).await;
    // What comes later has come: they are not merely late.
    let last = cluster.get("/v1/tasks/7").await;
    spans(receiver, &trace_of(&last.headers), 2).await;
    let unwanted = [format!("{:032x}", 0x123), format!("{:032x}", 0x456)];
    assert!(!receiver.spans().iter().any(|span| unwanted.contains(&span.trace_id)));
}
