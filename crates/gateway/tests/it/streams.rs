//! Server streams as lines and as server-sent events.

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use mcp_proto::scheduler::v1::WatchTasksResponse;
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

const SSE: [(&str, &str); 1] = [("accept", "text/event-stream")];

/// What comes next, or `None` at the end.
async fn next(response: &mut Response<Incoming>) -> Option<String> {
    let frame = tokio::time::timeout(LIMIT, response.frame()).await.expect("something comes")?;
    Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn each_message_comes_as_a_line_before_the_next_is_sent() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut response = cluster.open(Method::GET, "/v1/tasks:watch", &[], Bytes::new()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"application/x-ndjson".parse().unwrap())
    );
    assert_eq!(response.headers()["x-backend"], "here");
    assert_eq!(next(&mut response).await.unwrap(), "{\"events\":[],\"dropped\":\"0\"}\n");
    for dropped in 1..=3 {
        backend.state.events.send(WatchTasksResponse { events: Vec::new(), dropped }).unwrap();
        let line = next(&mut response).await.unwrap();
        assert_eq!(line, format!("{{\"events\":[],\"dropped\":\"{dropped}\"}}\n"));
    }
    drop(response);
    eventually(LIMIT, || async {
        if backend.state.running() == 0 { Ok(()) } else { Err("the stream still runs behind".into()) }
    })
    .await;
}

#[tokio::test]
async fn each_message_comes_as_an_event() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut response = cluster.open(Method::GET, "/v1/tasks:watch", &SSE, Bytes::new()).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(next(&mut response).await.unwrap(), "data: {\"events\":[],\"dropped\":\"0\"}\n\n");
    backend.state.events.send(WatchTasksResponse { events: Vec::new(), dropped: 5 }).unwrap();
    assert_eq!(next(&mut response).await.unwrap(), "data: {\"events\":[],\"dropped\":\"5\"}\n\n");
}

#[tokio::test]
async fn a_stream_that_ends_well_just_ends() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let answer = cluster.get("/v1/tasks/7/logs?after_seq=2").await;
    let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["lines"][0]["seq"], "2");
    let answer = cluster.get("/v1/services:watch").await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, ""));
    let answer = cluster.send(Method::GET, "/v1/tasks/7/logs?after_seq=1", &SSE, Bytes::new()).await;
    assert!(answer.text().ends_with("\n\nevent: end\ndata: {}\n\n"), "{}", answer.text());
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_its_error() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let answer = cluster.get("/v1/tasks/breaks/logs?after_seq=1").await;
    assert_eq!(answer.status, 200);
    let last: Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["name"], "STORE_UNAVAILABLE");
    let answer = cluster.send(Method::GET, "/v1/tasks/breaks/logs", &SSE, Bytes::new()).await;
    let data = answer.text().strip_prefix("event: error\ndata: ").unwrap_or_else(|| panic!("{answer:?}"));
    assert_eq!(serde_json::from_str::<Value>(data.trim()).unwrap()["code"], json!(2006));
}

#[tokio::test]
async fn a_stream_that_never_begins_is_an_error_like_any_other() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    assert_eq!(cluster.get("/v1/tasks/missing/logs").await.error(), "404 TASK_NOT_FOUND");
    let answer = cluster.send(Method::GET, "/v1/tasks:watch", &[("x-timeout", "100ms")], Bytes::new()).await;
    let last: Value = serde_json::from_str(answer.text().lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["name"], "DEADLINE_EXCEEDED");
}
