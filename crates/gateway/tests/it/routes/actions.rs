//! Where requests go.

use bytes::Bytes;
use http::Method;
use mcp_proto::{
    Code, Error,
    scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient},
};
use serde_json::json;
use testkit::eventually;
use tonic::{Request, client::Grpc};

use super::Edge;
use crate::support::LIMIT;

fn get(id: &str) -> Request<GetTaskRequest> {
    Request::new(GetTaskRequest { task_id: id.into() })
}

#[tokio::test]
async fn a_target_gets_calls_by_grpc_and_by_json_under_either_name() {
    let mut edge = Edge::start().await;
    let mut client = TaskServiceClient::new(edge.cluster.channel().await);
    for (service, expected) in [("canary", "canary"), ("backend", "stable")] {
        edge.with(vec![json!({"id": "all", "match": {"grpc": {"service": "mcp.scheduler.v1.TaskService"}},
            "forward": {"targets": [{"service": service}]}})])
            .await;
        for _ in 0..5 {
            assert_eq!(edge.cluster.get("/v1/tasks/7").await.json()["workerId"], expected);
            assert_eq!(client.get_task(get("7")).await.unwrap().into_inner().task.unwrap().worker_id, expected);
        }
    }
    edge.with(vec![json!({"id": "all", "forward": {"targets": [{"service": "nobody"}]}})]).await;
    let answer = edge.cluster.get("/v1/tasks/7").await;
    assert_eq!(answer.error(), "404 SERVICE_NOT_FOUND", "{answer:?}");
}

#[tokio::test]
async fn a_split_sends_its_share_to_each_target() {
    let mut edge = Edge::start().await;
    edge.with(vec![json!({"id": "split", "match": {"path": {"prefix": "/v1/tasks"}}, "forward": {"targets": [
        {"service": "backend", "weight": 3}, {"service": "canary", "weight": 1}, {"service": "nobody", "weight": 0}]}})])
        .await;
    for _ in 0..200 {
        assert_eq!(edge.cluster.get("/v1/tasks/7").await.status, 200);
    }
    // 50 expected; the chance to be outside is less than one in a million.
    let canary = edge.canary.state.reached();
    assert!((20..=85).contains(&canary) && canary + edge.backend.state.reached() == 200, "{canary}");
}

#[tokio::test]
async fn paths_are_rewritten_for_grpc_and_for_json() {
    let mut edge = Edge::start().await;
    edge.with(vec![
        json!({"id": "strip", "match": {"path": {"prefix": "/team/a"}}, "forward": {"rewrite": {"prefix": "/"}}}),
        json!({"id": "template", "match": {"path": {"template": "/jobs/{job}/state"}},
            "forward": {"rewrite": {"path": "/v1/tasks/{job}"}, "targets": [{"service": "canary"}]}}),
        json!({"id": "renamed", "match": {"grpc": {"service": "acme.Tasks"}},
            "forward": {"rewrite": {"grpc_service": "mcp.scheduler.v1.TaskService"}}}),
    ])
    .await;
    let answer = edge.cluster.get("/team/a/v1/tasks/7?").await;
    assert_eq!((answer.status.as_u16(), &answer.json()["id"]), (200, &json!("7")));
    let answer = edge.cluster.get("/jobs/a%20b/state").await.json();
    assert_eq!((&answer["id"], &answer["workerId"]), (&json!("a b"), &json!("canary")));

    let channel = edge.cluster.channel().await;
    for path in ["/acme.Tasks/GetTask", "/team/a/mcp.scheduler.v1.TaskService/GetTask"] {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<GetTaskRequest, mcp_proto::scheduler::v1::GetTaskResponse>::default();
        let answer = grpc
            .unary(get("8"), path.parse().unwrap(), codec)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert_eq!(answer.into_inner().task.unwrap().id, "8");
    }
}

#[tokio::test]
async fn redirects_and_fixed_answers_are_given_without_an_instance() {
    let mut edge = Edge::start().await;
    edge.with(vec![
        json!({"id": "moved", "match": {"path": {"prefix": "/old"}}, "redirect": {"status": 301, "path": {"prefix": "/v1"}}}),
        json!({"id": "closed", "match": {"path": {"prefix": "/v1/schedules"}},
            "respond": {"status": 503, "body": "back at noon", "retry_after": "30s"}}),
        json!({"id": "grpc", "match": {"grpc": {"service": "mcp.scheduler.v1.TaskService", "method": "GetTask"}},
            "respond": {"status": 403, "body": "closed"}}),
        json!({"id": "welcome", "match": {"path": {"exact": "/"}}, "redirect": {"path": {"path": "/docs"}}}),
    ])
    .await;
    let answer = edge.cluster.get("/old/tasks?x=1").await;
    assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (301, &"/v1/tasks?x=1".parse().unwrap()));
    assert!(answer.headers.contains_key("x-trace-id"));
    let answer = edge.cluster.get("/v1/schedules").await;
    assert_eq!(
        (answer.status.as_u16(), answer.text(), &answer.headers["retry-after"]),
        (503, "back at noon", &"30".parse().unwrap())
    );
    assert_eq!(edge.cluster.get("/").await.headers["location"], "/docs");
    let mut client = TaskServiceClient::new(edge.cluster.channel().await);
    let error = Error::from(&client.get_task(get("7")).await.unwrap_err());
    assert_eq!((error.code(), error.message()), (Code::PermissionDenied, "closed"));
    assert_eq!(edge.cluster.get("/v1/tasks/7").await.status, 403, "the same call by JSON");
}

#[tokio::test]
async fn a_copy_goes_to_the_mirror_and_the_answer_comes_from_the_target() {
    let mut edge = Edge::start().await;
    edge.with(vec![json!({"id": "copied", "match": {"path": {"prefix": "/v1"}},
        "forward": {"targets": [{"service": "backend"}], "mirror": {"service": "canary"}}})])
        .await;
    let body = format!("{{\"name\": \"{}\"}}", "x".repeat(100_000));
    for _ in 0..5 {
        assert_eq!(edge.cluster.get("/v1/tasks/7").await.json()["workerId"], "stable");
        assert_eq!(edge.cluster.post("/v1/tasks", &body).await.status, 200);
    }
    let state = edge.canary.state.clone();
    eventually(LIMIT, || async {
        if state.reached() == 10 { Ok(()) } else { Err(format!("{} copies came", state.reached())) }
    })
    .await;
    assert_eq!(edge.backend.state.reached(), 10);
    // A mirror that is not there harms nobody.
    edge.with(vec![
        json!({"id": "copied", "forward": {"targets": [{"service": "backend"}], "mirror": {"service": "nobody"}}}),
    ])
    .await;
    assert_eq!(edge.cluster.get("/v1/tasks/7").await.json()["workerId"], "stable");
}

#[tokio::test]
async fn no_route_takes_the_gateways_own_interfaces_away() {
    let mut edge = Edge::start().await;
    edge.with(vec![json!({"id": "all", "priority": 1000, "respond": {"status": 410, "body": "gone"}})]).await;
    assert_eq!(edge.cluster.get("/v1/tasks/7").await.status, 410);
    assert_eq!(edge.cluster.get("/").await.status, 410);
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(edge.cluster.get(path).await.status, 200, "{path}");
    }
    edge.routes
        .delete_route(mcp_proto::gateway::v1::DeleteRouteRequest { id: "all".into(), version: 0 })
        .await
        .unwrap();
    edge.settled().await;
    assert_eq!(edge.cluster.send(Method::GET, "/v1/tasks/7", &[], Bytes::new()).await.status, 200);
}
