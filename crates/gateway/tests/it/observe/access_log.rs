//! The access log.

use std::path::Path;

use bytes::Bytes;
use gateway::Config;
use http::Method;
use mcp_proto::scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient};
use serde_json::{Value, json};
use testkit::eventually;
use tonic::Request;

use super::trace_of;
use crate::{
    backend::Backend,
    faulty::{Faulty, Manner},
    support::{Cluster, LIMIT},
};

fn logging(file: &Path) -> Config {
    let mut config = Config::default();
    config.gateway.access_log = true;
    config.gateway.access_log_file = Some(file.to_owned());
    config.gateway.data_plane_threads = 1;
    config
}

/// The line of a trace, once it is written; every line is JSON.
async fn line(file: &Path, trace: &str) -> Value {
    eventually(LIMIT, || async {
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.into_iter().find(|line| line["trace_id"] == trace).ok_or(text)
    })
    .await
}

#[tokio::test]
async fn a_call_is_one_line_of_json_without_secrets() {
    const KEY: &str = "a-bootstrap-key-that-nobody-may-read-0123456789";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let backend = Backend::start("one").await;
    let mut config = logging(&file);
    config.gateway.security.bootstrap_key = KEY.to_owned().into();
    let cluster = Cluster::configured(config, &[&backend]).await;

    let mut client = TaskServiceClient::new(cluster.channel().await);
    let mut request = Request::new(GetTaskRequest { task_id: "7".into() });
    request.metadata_mut().insert("authorization", format!("Bearer {KEY}").parse().unwrap());
    let response = client.get_task(request).await.unwrap();
    let trace = response.metadata().get("x-trace-id").unwrap().to_str().unwrap().to_owned();
    let found = line(&file, &trace).await;
    let expected = json!({
        "protocol": "grpc", "method": "POST", "path": "/mcp.scheduler.v1.TaskService/GetTask", "route": "default",
        "status": 200, "code": "OK", "rpc": "mcp.scheduler.v1.TaskService/GetTask",
        "upstream": "mcp.scheduler.v1.TaskService", "endpoint": backend.record.address, "retries": 0,
        "principal": "bootstrap", "bytes_received": 8,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name} of {found:#}");
    }
    assert!(found["duration_us"].as_u64().unwrap() > 0 && found["bytes_sent"].as_u64().unwrap() > 5, "{found:#}");
    assert!(found["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{found:#}");
    let timestamp = found["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z') && timestamp.len() == "2026-11-21T21:13:57.000000Z".len(), "{timestamp}");

    // A refused one has no principal; neither the key nor the query is in the log.
    let headers = [("authorization", "Bearer wrong-secret"), ("cookie", "secret-cookie")];
    let answer = cluster.send(Method::GET, "/v1/tasks/7?token=secret-query", &headers, Bytes::new()).await;
    let found = line(&file, &trace_of(&answer.headers)).await;
    assert_eq!((&found["status"], &found["code"]), (&json!(401), &json!("UNAUTHENTICATED")), "{found:#}");
    assert!(found.get("principal").is_none() && found.get("endpoint").is_none(), "{found:#}");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("secret") && !text.contains(KEY), "{text}");
}

#[tokio::test]
async fn a_line_tells_how_often_it_was_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let backend = Faulty::start("one", Manner::Status(14)).await;
    let mut config = logging(&file);
    config.gateway.policy.retry.attempts = 3;
    config.gateway.policy.breaker.failure_percent = 0;
    let cluster = Cluster::of_records(config, &[&backend.record]).await;
    let answer = cluster.get("/v1/tasks/7").await;
    let found = line(&file, &trace_of(&answer.headers)).await;
    assert_eq!((&found["retries"], &found["code"], &found["status"]), (&json!(2), &json!("UNAVAILABLE"), &json!(503)));
    assert_eq!(found["bytes_sent"], json!(answer.body.len()), "{found:#}");
}

#[tokio::test]
async fn it_is_turned_on_and_off_while_the_gateway_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let backend = Backend::start("one").await;
    let mut config = logging(&file);
    config.gateway.access_log = false;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let turn = async |is_on: bool| {
        let path = format!("/admin/access-log?enabled={is_on}");
        let answer = cluster.send(Method::POST, &path, &[], Bytes::new()).await;
        assert_eq!(answer.json()["enabled"], json!(is_on), "{answer:?}");
    };
    let first = trace_of(&cluster.get("/v1/tasks/7").await.headers);
    turn(true).await;
    let second = trace_of(&cluster.get("/v1/tasks/7").await.headers);
    line(&file, &second).await;
    turn(false).await;
    let third = trace_of(&cluster.get("/v1/tasks/7").await.headers);
    turn(true).await;
    let fourth = trace_of(&cluster.get("/v1/tasks/7").await.headers);
    line(&file, &fourth).await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(&first) && !text.contains(&third), "{text}");
    assert_eq!(
        cluster.send(Method::POST, "/admin/access-log", &[], Bytes::new()).await.error(),
        "400 INVALID_ARGUMENT"
    );
}
