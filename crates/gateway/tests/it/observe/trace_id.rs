//! Every answer names its trace.

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::json;
use testkit::eventually;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;

use super::{trace_of, traceparent};
use crate::{
    backend::Backend,
    sink::sink,
    support::{Cluster, LIMIT},
};

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

/// The trace that the answer to a gRPC request names, in its head: with `path` that nobody serves there is nothing else.
async fn by_grpc(cluster: &Cluster, path: &str, kind: &str) -> String {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<Full<Bytes>>();
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("{}{path}", cluster.base()))
        .header("content-type", kind)
        .header("te", "trailers")
        .header("traceparent", traceparent(TRACE, false));
    let answer = client.request(request.body(Full::from(&b"\0\0\0\0\0"[..])).unwrap()).await.unwrap();
    let trace = trace_of(answer.headers());
    answer.into_body().collect().await.unwrap();
    trace
}

#[tokio::test]
async fn an_answer_of_any_kind_names_the_trace_of_its_caller() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    for (id, action) in
        [("redirect", json!({"redirect": {"host": "x"}})), ("respond", json!({"respond": {"body": "x"}}))]
    {
        let mut route = json!({"match": {"path": {"exact": format!("/{id}")}}});
        route.as_object_mut().unwrap().extend(action.as_object().unwrap().clone());
        let json = [("content-type", "application/json")];
        let answer = cluster.send(Method::PUT, &format!("/v1/routes/{id}"), &json, route.to_string().into()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    eventually(LIMIT, || async {
        let answers = [cluster.get("/respond").await, cluster.get("/redirect").await];
        if answers.iter().all(|answer| answer.status != 404) { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await;
    let (expected, traceparent) = (format!("{TRACE:032x}"), traceparent(TRACE, false));
    for (method, path, status) in [
        (Method::GET, "/v1/tasks/7", 200),
        (Method::GET, "/v1/tasks/missing", 404),
        (Method::GET, "/nowhere", 404),
        (Method::DELETE, "/v1/tasks/7", 405),
        (Method::GET, "/respond", 200),
        (Method::GET, "/redirect", 308),
        (Method::GET, "/", 200),
        (Method::GET, "/livez", 200),
        (Method::GET, "/readyz", 200),
        (Method::GET, "/metrics", 200),
        (Method::POST, "/metrics", 405),
        (Method::GET, "/admin", 200),
        (Method::GET, "/admin/routes?limit=x", 400),
    ] {
        let answer = cluster.send(method, path, &[("traceparent", &traceparent)], Bytes::new()).await;
        assert_eq!(
            (answer.status.as_u16() / 100, trace_of(&answer.headers)),
            (status / 100, expected.clone()),
            "{path}"
        );
    }
    for (path, kind) in [
        ("/mcp.scheduler.v1.TaskService/GetTask", "application/grpc"),
        ("/acme.v1.Unknown/Do", "application/grpc"),
        ("/nothing", "application/grpc"),
        ("/grpc.health.v1.Health/Check", "application/grpc"),
        ("/mcp.scheduler.v1.TaskService/GetTask", "application/grpc-web"),
        ("/acme.v1.Unknown/Do", "application/grpc-web"),
    ] {
        assert_eq!(by_grpc(&cluster, path, kind).await, expected, "{path} {kind}");
    }
}

#[tokio::test]
async fn an_answer_without_a_caller_s_trace_names_a_new_one_also_when_a_websocket_begins() {
    let (_backend, cluster) = sink().await;
    let one = trace_of(&cluster.get("/nowhere").await.headers);
    let two = trace_of(&cluster.get("/nowhere").await.headers);
    assert!(one != two && one.len() == 32, "{one} {two}");
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (_socket, response) = client_async(format!("ws://{}/sink/v1/chat", cluster.address), stream).await.unwrap();
    assert_eq!((response.status().as_u16(), trace_of(response.headers()).len()), (101, 32));
}
