//! HTTP/JSON in front of gRPC.

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::{
    backend::Backend,
    support::{Answer, Cluster},
};

async fn cluster() -> (Backend, Cluster) {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    (backend, cluster)
}

/// What the test backend understood of a list request.
fn understood(answer: &Answer) -> String {
    answer.json()["nextPageToken"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

#[tokio::test]
async fn a_path_sets_fields_and_the_answer_is_the_field_that_the_rule_names() {
    let (_backend, cluster) = cluster().await;
    for (path, id) in [
        ("/v1/tasks/7", "7"),
        ("/v1/tasks/a%20b%2Fc", "a b/c"),
        ("/v1/tasks/x:unknown", "x:unknown"),
        ("/v1/tasks/x%3Await", "x:wait"),
        ("/v1/tasks/%C3%A9+", "é+"),
    ] {
        let answer = cluster.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.headers["x-backend"], "here");
        assert_eq!(answer.json()["id"], id, "{path}");
        assert_eq!(answer.json()["workerId"], "one");
    }
    assert_eq!(cluster.get("/v1/tasks/%ff").await.error(), "400 INVALID_ARGUMENT");
    let answer = cluster.get("/v1/services/scheduler/instances?grpc_service=x.Y").await.json();
    assert_eq!(
        (&answer["instances"][0]["service"], &answer["instances"][0]["address"]),
        (&json!("scheduler"), &json!("x.Y"))
    );
    let answer = cluster.get("/v1/services?grpcService=x.Y").await.json();
    assert_eq!((&answer["instances"][0]["service"], &answer["instances"][0]["address"]), (&json!(""), &json!("x.Y")));
    let answer = cluster.send(Method::DELETE, "/v1/services/scheduler/instances/s-1", &[], Bytes::new()).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({})));
}

#[tokio::test]
async fn an_answer_holds_every_field_that_cannot_be_unset() {
    let (_backend, cluster) = cluster().await;
    let task = cluster.get("/v1/tasks/7").await.json();
    assert_eq!((&task["state"], &task["attempt"]), (&json!("TASK_STATE_UNSPECIFIED"), &json!(0)));
    assert_eq!(task["cancelRequested"], json!(false));
    assert!(task.get("createTime").is_none() && task.get("exitCode").is_none(), "{task}");
    let list = cluster.get("/v1/tasks").await.json();
    assert_eq!(list["tasks"], json!([]));
}

#[tokio::test]
async fn a_query_sets_fields_of_every_kind() {
    let (_backend, cluster) = cluster().await;
    let answer =
        cluster.get("/v1/tasks?namespace=a%26b+c&states=TASK_STATE_RUNNING&states=6&page_size=20&pageToken=t%3D").await;
    let text = understood(&answer);
    for part in ["namespace: \"a&b c\"", "states: [Running, Succeeded]", "page_size: 20", "page_token: \"t=\""] {
        assert!(text.contains(part), "{text}");
    }
    let answer = cluster.get("/v1/tasks/7:wait?timeout=1.5s").await;
    assert_eq!(answer.json()["traceId"], "Some(Duration { seconds: 1, nanos: 500000000 })", "{answer:?}");
    for (query, expected, field) in [
        ("nonsense=1", "400 UNKNOWN_FIELD", "nonsense"),
        ("namespace.x=1", "400 UNKNOWN_FIELD", "namespace.x"),
        ("page_size=many", "400 INVALID_ARGUMENT", "page_size"),
        ("page_size=", "400 INVALID_ARGUMENT", "page_size"),
        ("page_size=99999999999", "400 INVALID_ARGUMENT", "page_size"),
        ("states=NO_SUCH_STATE", "400 INVALID_ARGUMENT", "states"),
        ("namespace=a&namespace=b", "400 INVALID_ARGUMENT", "namespace"),
        ("namespace=%zz", "400 INVALID_ARGUMENT", "namespace"),
    ] {
        let answer = cluster.get(&format!("/v1/tasks?{query}")).await;
        assert_eq!(answer.error(), expected, "{query}");
        assert_eq!(violation(&answer), field, "{query}");
    }
    for (path, field) in [
        ("/v1/tasks/7:wait?timeout=soon", "timeout"),
        ("/v1/tasks/7:wait?task_id=8", "task_id"),
        ("/v1/tasks/7/logs?follow=perhaps", "follow"),
        ("/v1/tasks/7/logs?after_seq=-1", "after_seq"),
    ] {
        let answer = cluster.get(path).await;
        assert_eq!(answer.error(), "400 INVALID_ARGUMENT", "{path}");
        assert_eq!(violation(&answer), field, "{path}");
    }
}

/// The field that an error names.
fn violation(answer: &Answer) -> String {
    let json = answer.json();
    let bad = json["details"].as_array().unwrap().iter().find_map(|detail| detail["fieldViolations"].as_array());
    bad.unwrap_or_else(|| panic!("{json}"))[0]["field"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_body_is_the_whole_request_or_one_field() {
    let (_backend, cluster) = cluster().await;
    let answer = cluster.post("/v1/tasks", r#"{"namespace": "n", "name": "x", "process": {"argv": ["a", "b"]}}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    assert_eq!((&json["state"], &json["deduplicated"]), (&json!("TASK_STATE_PENDING"), &json!(false)));
    assert!(json["taskId"].as_str().unwrap().contains("n/x/Some(Process(ProcessWork { argv: [\"a\", \"b\"]"), "{json}");
    // Both forms of a name are understood, and `Value` is any JSON.
    let answer = cluster
        .post("/v1/tasks", r#"{"handler": {"handler": "h", "input": [1, null, {"a": true}]}, "run_timeout": "3s"}"#);
    assert_eq!(answer.await.status, 200);
    let answer = cluster.post("/v1/tasks:batchSubmit", r#"{"tasks": [{"name": "a"}, {"name": "b"}]}"#).await.json();
    assert_eq!(answer["results"].as_array().unwrap().len(), 2);
    assert_eq!(answer["results"][1]["taskId"], "b");
    let answer = cluster.post("/v1/tasks/7:cancel", r#"{"reason": "enough"}"#).await.json();
    assert_eq!((&answer["id"], &answer["traceId"]), (&json!("7"), &json!("enough")));
    // The path wins over the body, and an empty body is an empty request.
    let answer = cluster.post("/v1/tasks/7:cancel", r#"{"task_id": "8"}"#).await.json();
    assert_eq!(answer["id"], "7");
    let answer = cluster.send(Method::POST, "/v1/tasks/7:cancel", &[], Bytes::new()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["id"]), (200, &json!("7")));
    let answer = cluster.post("/v1/services/s/instances/i:heartbeat", r#"{"leaseId": "1"}"#).await;
    assert_eq!(answer.json(), json!({"ttl": "10.500s"}));
    let answer = cluster.post("/v1/services/s/instances/i:heartbeat?lease_id=1", "{}").await;
    assert_eq!(answer.error(), "400 INVALID_ARGUMENT");
    let answer = cluster.send(Method::POST, "/v1/tasks", &[], Bytes::new()).await;
    assert_eq!(answer.error(), "400 INVALID_ARGUMENT");
    assert_eq!(violation(&answer), "task");
}

#[tokio::test]
async fn a_wrong_body_is_refused_with_its_place() {
    let (backend, cluster) = cluster().await;
    for (path, body, expected, place) in [
        ("/v1/tasks", "{\"name\": \"x\",\n \"nonsense\": 1}", "400 UNKNOWN_FIELD", "line 2"),
        ("/v1/tasks", "{\"process\": {\"argvv\": []}}", "400 UNKNOWN_FIELD", "`task.process.argvv`"),
        ("/v1/tasks:batchSubmit", "{\"tasks\": [{}, {\"x\": 1}]}", "400 UNKNOWN_FIELD", "`tasks[1].x`"),
        ("/v1/tasks", "{\"name\": \"x\",\n", "400 MALFORMED_BODY", "line 2 column 0"),
        ("/v1/tasks", "nonsense", "400 MALFORMED_BODY", "line 1 column 2"),
        ("/v1/tasks", "{} {}", "400 MALFORMED_BODY", "line 1 column 4"),
        ("/v1/tasks", "{\"priority\": \"high\"}", "400 INVALID_ARGUMENT", "`task.priority`"),
        ("/v1/tasks", "{\"process\": {\"argv\": [1]}}", "400 INVALID_ARGUMENT", "`task.process.argv"),
        ("/v1/tasks", "{\"runTimeout\": \"soon\"}", "400 INVALID_ARGUMENT", "`task.runTimeout`"),
        ("/v1/tasks", "[]", "400 INVALID_ARGUMENT", "`task`"),
        ("/v1/tasks", "{\"process\": {}, \"handler\": {}}", "400 INVALID_ARGUMENT", "work"),
    ] {
        let answer = cluster.post(path, body).await;
        assert_eq!(answer.error(), expected, "{body}");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(place), "{body}: {message}");
    }
    assert_eq!(backend.state.reached(), 0);
}

#[tokio::test]
async fn an_error_of_the_service_is_its_catalogue_entry() {
    let (_backend, cluster) = cluster().await;
    let answer = cluster.get("/v1/tasks/missing").await;
    assert_eq!(answer.error(), "404 TASK_NOT_FOUND");
    assert_eq!(answer.json()["code"], 1005);
    let answer = cluster.get("/v1/tasks/full").await;
    assert_eq!((answer.error().as_str(), &answer.headers["retry-after"]), ("429 QUEUE_FULL", &"3".parse().unwrap()));
    assert_eq!(cluster.get("/v1/tasks/foreign").await.error(), "403 PERMISSION_DENIED");
    // A plain tonic server resets the stream of a handler that panicked.
    assert_eq!(cluster.get("/v1/tasks/panic").await.error(), "502 UPSTREAM_FAILED");
}

#[tokio::test]
async fn a_path_or_a_method_that_is_not_there_is_said_to_be_so() {
    let (_backend, cluster) = cluster().await;
    assert_eq!(cluster.get("/v2/tasks").await.error(), "404 PATH_NOT_FOUND");
    assert_eq!(cluster.get("/v1/tasks/").await.error(), "404 PATH_NOT_FOUND");
    let answer = cluster.send(Method::PUT, "/v1/tasks", &[], Bytes::new()).await;
    assert_eq!(answer.error(), "405 HTTP_METHOD_NOT_ALLOWED");
    let allow = answer.headers["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    assert_eq!(cluster.get("/v1/tasks:batchSubmit").await.error(), "405 HTTP_METHOD_NOT_ALLOWED");
    assert_eq!(cluster.post("/metrics", "{}").await.error(), "405 HTTP_METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn only_json_is_taken() {
    let (_backend, cluster) = cluster().await;
    let send = async |kind: &str| {
        cluster.send(Method::POST, "/v1/tasks", &[("content-type", kind)], Bytes::from_static(b"{}")).await
    };
    assert_eq!(send("text/plain").await.error(), "415 UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(send("application/x-www-form-urlencoded").await.error(), "415 UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(send("application/grpc").await.error(), "415 UNSUPPORTED_MEDIA_TYPE");
    assert_eq!(send("application/merge-patch+json; charset=utf-8").await.status, 200);
    let untyped = cluster.send(Method::POST, "/v1/tasks", &[], Bytes::from_static(b"{}")).await;
    assert_eq!(untyped.status, 200, "{untyped:?}");
    let packed = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = cluster.send(Method::POST, "/v1/tasks", &packed, Bytes::from_static(b"{}")).await;
    assert_eq!(answer.error(), "415 UNSUPPORTED_MEDIA_TYPE");
}

#[tokio::test]
async fn headers_become_metadata_and_the_trace_goes_on() {
    let (_backend, cluster) = cluster().await;
    let headers = [
        ("mcp-partition-key", "a/b"),
        ("authorization", "Bearer x"),
        ("connection", "x-mine"),
        ("x-mine", "ends here"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    let answer = cluster.send(Method::GET, "/v1/tasks/7", &headers, Bytes::new()).await;
    assert_eq!(answer.headers["x-trace-id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    let seen = &answer.json()["spec"]["labels"];
    assert_eq!((&seen["mcp-partition-key"], &seen["authorization"]), (&json!("a/b"), &json!("Bearer x")));
    assert!(seen["traceparent"].as_str().unwrap().starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_eq!((&seen["x-mine"], &seen["host"]), (&Value::Null, &Value::Null));

    for path in ["/", "/livez", "/metrics", "/v1/tasks", "/nothing"] {
        let trace_id = cluster.get(path).await.headers["x-trace-id"].to_str().unwrap().to_owned();
        assert!(trace_id.len() == 32 && trace_id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{path}: {trace_id}");
    }
}

#[tokio::test]
async fn a_caller_may_set_a_deadline_and_a_request_that_waits_gets_longer() {
    let (backend, cluster) = cluster().await;
    for headers in [[("x-timeout", "100ms")], [("x-timeout", "0.1")], [("grpc-timeout", "100m")]] {
        let answer = cluster.send(Method::GET, "/v1/tasks/never", &headers, Bytes::new()).await;
        assert_eq!(answer.error(), "504 DEADLINE_EXCEEDED", "{headers:?}");
    }
    let answer = cluster.send(Method::GET, "/v1/tasks/7", &[("x-timeout", "soon")], Bytes::new()).await;
    assert_eq!(answer.error(), "400 INVALID_ARGUMENT");
    testkit::eventually(crate::support::LIMIT, || async {
        if backend.state.running() == 0 { Ok(()) } else { Err("a call still runs".into()) }
    })
    .await;

    let seconds = |answer: Answer| {
        let text = answer.json()["spec"]["labels"]["grpc-timeout"].as_str().unwrap().to_owned();
        text.trim_end_matches('u').parse::<f64>().unwrap() / 1e6
    };
    assert!((50.0..=60.0).contains(&seconds(cluster.get("/v1/tasks/7").await)));
    let waits = cluster.get("/v1/tasks/7:wait?timeout=300s").await;
    // Beyond eight digits of microseconds, the unit is milliseconds.
    let text = waits.json()["spec"]["labels"]["grpc-timeout"].as_str().unwrap().to_owned();
    let millis: u64 = text.trim_end_matches('m').parse().unwrap_or_else(|_| panic!("{text}"));
    assert!((350_000..=361_000).contains(&millis), "{millis} ms");
}

#[tokio::test]
async fn a_service_that_is_known_and_not_there_is_unavailable() {
    let cluster = Cluster::with(&[]).await;
    let answer = cluster.get("/v1/tasks/7").await;
    assert_eq!(answer.error(), "503 NO_INSTANCE");
    assert!(answer.headers.contains_key("retry-after"));
}
