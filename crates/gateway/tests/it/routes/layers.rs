//! What layers do to requests and answers.

use std::io::Read;

use bytes::Bytes;
use http::Method;
use mcp_proto::{
    Code, Error,
    scheduler::v1::{GetTaskRequest, SubmitTaskRequest, TaskSpec, task_service_client::TaskServiceClient},
};
use serde_json::{Value, json};

use super::Edge;

fn all(settings: Value) -> Vec<Value> {
    vec![json!({"id": "all", "settings": settings})]
}

#[tokio::test]
async fn headers_are_changed_on_the_way_in_and_out_and_on_errors() {
    let mut edge = Edge::start().await;
    edge.with(all(json!({"headers": [
        {"request": {"set": {"x-env": "prod"}, "remove": ["x-secret"]}, "response": {"set": {"x-good": "1"}, "remove": ["x-backend"]},
         "error": {"set": {"x-help": "ask"}}},
        {"when": {"headers": [{"name": "x-debug", "exact": "1"}]}, "response": {"add": {"x-debugged": "yes"}}},
        {"when": {"methods": ["POST"], "not": true}, "response": {"add": {"x-not-post": "yes"}}},
    ]})))
    .await;
    let answer =
        edge.cluster.send(Method::GET, "/v1/tasks/7", &[("x-secret", "s"), ("x-env", "dev")], Bytes::new()).await;
    let seen = answer.json()["spec"]["labels"].clone();
    assert_eq!((&seen["x-env"], &seen["x-secret"]), (&json!("prod"), &Value::Null));
    assert_eq!(
        (&answer.headers["x-good"], &answer.headers["x-not-post"]),
        (&"1".parse().unwrap(), &"yes".parse().unwrap())
    );
    assert!(!answer.headers.contains_key("x-backend") && !answer.headers.contains_key("x-help"), "{answer:?}");
    assert!(!answer.headers.contains_key("x-debugged"), "{answer:?}");
    let answer = edge.cluster.send(Method::GET, "/v1/tasks/7", &[("x-debug", "1")], Bytes::new()).await;
    assert_eq!(answer.headers["x-debugged"], "yes");
    for path in ["/v1/tasks/missing", "/nothing"] {
        let answer = edge.cluster.get(path).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["x-help"]), (404, &"ask".parse().unwrap()));
        assert!(!answer.headers.contains_key("x-good"), "{answer:?}");
    }
    let mut client = TaskServiceClient::new(edge.cluster.channel().await);
    let request = |id: &str| GetTaskRequest { task_id: id.into() };
    let answer = client.get_task(request("7")).await.unwrap();
    assert_eq!(answer.metadata().get("x-good").unwrap(), "1");
    let status = client.get_task(request("missing")).await.unwrap_err();
    assert_eq!(Error::from(&status).code(), Code::TaskNotFound);
    assert_eq!(status.metadata().get("x-help").unwrap(), "ask");
}

#[tokio::test]
async fn browsers_get_the_answers_of_the_cors_protocol() {
    let mut edge = Edge::start().await;
    edge.with(all(json!({"cors": {"allow_origins": ["https://app.example.com"], "expose_headers": ["x-trace-id"],
        "allow_credentials": true, "max_age": "60s"}, "body_bytes_max": 10})))
        .await;
    let asks = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "x-a"),
    ];
    let answer = edge.cluster.send(Method::OPTIONS, "/v1/tasks", &asks, Bytes::new()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    for (name, value) in [
        ("access-control-allow-origin", "https://app.example.com"),
        ("access-control-allow-methods", "PUT"),
        ("access-control-allow-headers", "x-a"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "60"),
    ] {
        assert_eq!(answer.headers[name], value, "{answer:?}");
    }
    assert_eq!(edge.backend.state.reached() + edge.canary.state.reached(), 0);
    let answer = edge.cluster.send(Method::GET, "/v1/tasks/7", &asks[..1], Bytes::new()).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers["access-control-expose-headers"]),
        (200, &"x-trace-id".parse().unwrap())
    );
    // A script may read a refusal too.
    let answer =
        edge.cluster.send(Method::POST, "/v1/tasks", &asks[..1], Bytes::from_static(b"{\"name\": \"long\"}")).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.headers["access-control-allow-origin"], "https://app.example.com");
    let answer =
        edge.cluster.send(Method::GET, "/v1/tasks/7", &[("origin", "https://evil.example")], Bytes::new()).await;
    assert!(!answer.headers.contains_key("access-control-allow-origin"), "{answer:?}");
}

#[tokio::test]
async fn answers_are_compressed_for_those_who_ask_but_never_streams() {
    let mut edge = Edge::start().await;
    edge.with(all(
        json!({"compression": {"bytes_min": 64, "when": {"headers": [{"name": "x-plain", "present": false}]}}}),
    ))
    .await;
    let gzip = ("accept-encoding", "gzip");
    let answer = edge.cluster.send(Method::GET, "/v1/tasks/7", &[gzip], Bytes::new()).await;
    assert_eq!(answer.headers["content-encoding"], "gzip", "{answer:?}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut text).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["id"], "7");
    for headers in [&[gzip, ("x-plain", "1")][..], &[]] {
        let answer = edge.cluster.send(Method::GET, "/v1/tasks/7", headers, Bytes::new()).await;
        assert_eq!((answer.headers.get("content-encoding"), &answer.json()["id"]), (None, &json!("7")));
    }
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let answer = edge
            .cluster
            .send(Method::GET, "/v1/tasks/7/logs?after_seq=9", &[gzip, ("accept", accept)], Bytes::new())
            .await;
        assert_eq!((answer.status.as_u16(), answer.headers.get("content-encoding")), (200, None), "{accept}");
    }
}

#[tokio::test]
async fn a_body_over_the_routes_limit_is_refused_announced_or_not() {
    let mut edge = Edge::start().await;
    edge.with(all(json!({"body_bytes_max": 1_000}))).await;
    let body = |len: usize| format!("{{\"name\": \"{}\"}}", "x".repeat(len));
    assert_eq!(edge.cluster.post("/v1/tasks", &body(900)).await.status, 200);
    assert_eq!(edge.cluster.post("/v1/tasks", &body(1_000)).await.error(), "413 PAYLOAD_TOO_LARGE");
    let mut client = TaskServiceClient::new(edge.cluster.channel().await);
    let mut submit = async |len: usize| {
        let task = TaskSpec { name: "x".repeat(len), ..TaskSpec::default() };
        client
            .submit_task(SubmitTaskRequest { task: Some(task) })
            .await
            .map(drop)
            .map_err(|status| Error::from(&status))
    };
    submit(900).await.unwrap();
    let error = submit(2_000).await.unwrap_err();
    assert_eq!((error.code(), &error.metadata()["limit_bytes"]), (Code::PayloadTooLarge, &"1000".to_owned()));
    submit(900).await.unwrap();
}

#[tokio::test]
async fn a_route_has_a_timeout_and_the_callers_may_be_shorter() {
    let mut edge = Edge::start().await;
    edge.with(all(json!({"timeout": "0.2s"}))).await;
    assert_eq!(edge.cluster.get("/v1/tasks/never").await.error(), "504 DEADLINE_EXCEEDED");
    let mut client = TaskServiceClient::new(edge.cluster.channel().await);
    let status = client.get_task(GetTaskRequest { task_id: "never".into() }).await.unwrap_err();
    assert_eq!(Error::from(&status).code(), Code::DeadlineExceeded);
    edge.with(all(json!({"timeout": "3600s"}))).await;
    let labels = edge.cluster.get("/v1/tasks/7").await.json()["spec"]["labels"].clone();
    assert!(labels["grpc-timeout"].as_str().unwrap().ends_with('m'), "an hour is told in milliseconds: {labels}");
    for headers in [[("x-timeout", "50ms")], [("grpc-timeout", "50m")]] {
        let answer = edge.cluster.send(Method::GET, "/v1/tasks/never", &headers, Bytes::new()).await;
        assert_eq!(answer.error(), "504 DEADLINE_EXCEEDED", "{headers:?}");
    }
}

#[tokio::test]
async fn settings_of_policies_hold_and_the_routes_own_win() {
    let mut edge = Edge::start().await;
    edge.apply_policy(
        json!({"id": "base", "settings": {"body_bytes_max": 10, "headers": [{"response": {"set": {"x-base": "1"}}}]}}),
    )
    .await;
    edge.apply_policy(
        json!({"id": "more", "settings": {"body_bytes_max": 20, "headers": [{"response": {"set": {"x-more": "1"}}}]}}),
    )
    .await;
    edge.with(vec![
        json!({"id": "own", "match": {"path": {"prefix": "/own"}}, "policies": ["base", "more"],
            "forward": {"rewrite": {"prefix": "/"}}, "settings": {"body_bytes_max": 1_000, "layers": [{"name": "log"}]}}),
        json!({"id": "both", "policies": ["base", "more"]}),
    ])
    .await;
    let body = r#"{"name": "xxxxx"}"#;
    assert_eq!(edge.cluster.post("/own/v1/tasks", body).await.status, 200);
    assert_eq!(edge.cluster.post("/v1/tasks", body).await.status, 200);
    assert_eq!(edge.cluster.post("/v1/tasks", &format!("{body}      ")).await.error(), "413 PAYLOAD_TOO_LARGE");
    let answer = edge.cluster.get("/own/v1/tasks/7").await;
    assert_eq!((&answer.headers["x-base"], &answer.headers["x-more"]), (&"1".parse().unwrap(), &"1".parse().unwrap()));
    // The routes follow a policy that changes.
    edge.apply_policy(json!({"id": "more", "settings": {"headers": [{"response": {"set": {"x-more": "2"}}}]}})).await;
    edge.settled().await;
    assert_eq!(edge.cluster.get("/v1/tasks/7").await.headers["x-more"], "2");
}
