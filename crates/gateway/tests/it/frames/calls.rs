//! Calls by frames: the same as by every other way.

use mcp_proto::{
    Code,
    frame::{BodyCodec, Command, Flags, Frame, Kind, Metadata, parse_error},
    scheduler::v1::{GetTaskRequest, GetTaskResponse},
};
use prost::Message;
use serde_json::json;
use testkit::eventually;

use super::{
    client::{Client, json as body},
    config, gateway, task,
};
use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

#[tokio::test]
async fn commands_and_calls_are_answered_in_their_codec() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let submitted = client.call(Command::TASK_SUBMIT, &json!({"task": {"namespace": "n", "name": "x"}})).await;
    assert_eq!(submitted["taskId"], "n/x/None", "{submitted}");
    let by_command = client.call(Command::TASK_GET, &task("7")).await;
    assert_eq!((&by_command["task"]["id"], &by_command["task"]["workerId"]), (&json!("7"), &json!("one")));
    let by_name = client.call_method("/mcp.scheduler.v1.TaskService/GetTask", &task("7")).await;
    assert_eq!(by_name["task"]["id"], "7");
    assert_eq!(client.call(Command::TASK_CANCEL, &json!({"taskId": "7", "reason": "r"})).await["task"]["traceId"], "r");
    let found = client.call(Command::REGISTRY_DISCOVER, &json!({"service": "s"})).await;
    assert_eq!(found["instances"][0]["service"], "s");

    let asked = GetTaskRequest { task_id: "8".into() }.encode_to_vec();
    let frame = client.request(Command::TASK_GET, BodyCodec::Protobuf, asked);
    client.send(frame.clone()).await;
    let answer = client.answer(frame.sequence).await;
    assert_eq!(answer.codec, BodyCodec::Protobuf);
    assert_eq!(GetTaskResponse::decode(answer.body).unwrap().task.unwrap().id, "8");

    assert_eq!(client.call(Command::HEALTH, &json!({})).await, json!({"status": "SERVING"}));
    client.lives().await;
}

#[tokio::test]
async fn a_service_that_nobody_has_heard_of_is_called_by_protobuf_only() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let metadata = Metadata::new().with("method", "/acme.Unknown/Get");
    let sequence = client.ask(Command::CALL, &json!({}), &metadata).await;
    assert_eq!(client.error(sequence).await.code(), Code::MethodNotFound);
    let frame = client.request(Command::CALL, BodyCodec::Protobuf, "").with_metadata(&metadata);
    client.send(frame.clone()).await;
    let answer = client.next().await;
    assert_eq!((answer.kind, answer.codec), (Kind::Error, BodyCodec::Protobuf), "an error has the request's codec");
    assert_eq!(parse_error(&answer).code(), Code::ServiceNotFound);
}

#[tokio::test]
async fn metadata_goes_where_headers_go() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let metadata = Metadata::new()
        .with("traceparent", trace)
        .with("idempotency-key", "once")
        .with("x-mine", "1")
        .with("timeout-ms", "60000");
    let sequence = client.ask(Command::TASK_GET, &task("7"), &metadata).await;
    let seen = body(&client.answer(sequence).await)["task"]["spec"]["labels"].clone();
    assert_eq!((&seen["idempotency-key"], &seen["x-mine"]), (&json!("once"), &json!("1")), "{seen}");
    assert!(seen["traceparent"].as_str().unwrap().contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{seen}");
    assert!(seen["grpc-timeout"].as_str().is_some(), "{seen}");
    assert!(seen.get("timeout-ms").is_none() && seen.get("method").is_none(), "{seen}");
}

#[tokio::test]
async fn a_deadline_ends_a_call_and_errors_keep_their_details() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let sequence = client.ask(Command::TASK_GET, &task("never"), &Metadata::new().with("timeout-ms", "50")).await;
    assert_eq!(client.error(sequence).await.code(), Code::DeadlineExceeded);
    let sequence = client.ask(Command::TASK_GET, &task("full"), &Metadata::new()).await;
    let error = client.error(sequence).await;
    assert_eq!((error.code(), error.retry_after().unwrap().as_millis()), (Code::QueueFull, 2_500));
    for (sent, code, field) in [
        (json!({"nonsense": 1}), Code::UnknownField, Some("nonsense")),
        (json!({"taskId": 7}), Code::InvalidArgument, Some("taskId")),
        (json!({"taskId": "missing"}), Code::TaskNotFound, None),
    ] {
        let sequence = client.ask(Command::TASK_GET, &sent, &Metadata::new()).await;
        let error = client.error(sequence).await;
        let violation = error.violations().first().map(|violation| violation.field.as_str());
        assert_eq!((error.code(), violation), (code, field), "{sent}: {error}");
    }
}

#[tokio::test]
async fn a_stream_ends_with_a_frame_without_a_body_or_with_its_error() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let sequence = client.ask(Command::TASK_LOGS, &json!({"taskId": "7", "afterSeq": "3"}), &Metadata::new()).await;
    for line in 1..=3 {
        let frame = client.answer(sequence).await;
        assert!(frame.has_more());
        assert_eq!(body(&frame)["lines"][0]["text"], format!("line {line}"));
    }
    let last = client.answer(sequence).await;
    assert!(!last.has_more() && last.body.is_empty());

    let sequence = client.ask(Command::TASK_LOGS, &json!({"taskId": "breaks", "afterSeq": 1}), &Metadata::new()).await;
    assert!(client.answer(sequence).await.has_more());
    assert_eq!(client.error(sequence).await.code(), Code::StoreUnavailable);
    client.lives().await;
}

#[tokio::test]
async fn a_stream_ends_when_its_client_ends_it() {
    let (backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let sequence = client.ask(Command::TASK_WATCH, &json!({}), &Metadata::new()).await;
    assert!(client.answer(sequence).await.has_more());
    assert_eq!(backend.state.running(), 1);
    client.send(Frame::new(Kind::Unsubscribe, sequence)).await;
    assert!(!client.answer(sequence).await.has_more());
    eventually(LIMIT, || async {
        if backend.state.running() == 0 { Ok(()) } else { Err("the stream still runs behind".into()) }
    })
    .await;
    client.send(Frame::new(Kind::Unsubscribe, sequence)).await;
    assert_eq!(client.error(sequence).await.code(), Code::NotFound);
}

#[tokio::test]
async fn what_wants_no_answer_gets_none() {
    let (backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let notice = client.request(Command::TASK_GET, BodyCodec::Json, task("7").to_string());
    client.send(Frame { kind: Kind::Notification, ..notice.clone() }).await;
    client.send(Frame { sequence: 0, ..notice.clone() }).await;
    client.send(Frame { sequence: 0, body: "{".into(), ..notice }).await;
    eventually(LIMIT, || async {
        if backend.state.reached() == 2 { Ok(()) } else { Err(backend.state.reached().to_string()) }
    })
    .await;
    client.lives().await;
}

#[tokio::test]
async fn a_compressed_body_is_read_within_the_limit() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.frame_bytes_max = 100_000;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    let frame = client.request(Command::TASK_GET, BodyCodec::Json, task(&"x".repeat(50_000)).to_string()).deflate();
    assert!(frame.flags.has(Flags::ZSTD) && frame.body.len() < 1_000);
    let sequence = frame.sequence;
    client.send(frame).await;
    assert_eq!(body(&client.answer(sequence).await)["task"]["id"].as_str().unwrap().len(), 50_000);
    let bomb = client.request(Command::TASK_GET, BodyCodec::Json, task(&"x".repeat(200_000)).to_string()).deflate();
    let sequence = bomb.sequence;
    client.send(bomb).await;
    assert_eq!(client.error(sequence).await.code(), Code::PayloadTooLarge);
    client.lives().await;
}
