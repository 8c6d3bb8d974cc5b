//! A wrong answer ends a load: a figure of wrong answers would be none.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use gateway_bench::{load, message};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use crate::target;

/// What a server does with a body.
type Reply = fn(Bytes) -> Answer;
type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A gRPC answer with this body and status.
fn grpc(body: Bytes, status: &'static str) -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) });
    Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
}

fn json(status: u16, body: String) -> Answer {
    Response::builder().status(status).body(Full::new(Bytes::from(body)).boxed()).unwrap()
}

/// A server that reads each request to its end and answers what `answer` says.
async fn server(is_http2: bool, answer: Reply) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request: Request<Incoming>| async move {
                let body = request.into_body().collect().await.unwrap().to_bytes();
                Ok::<_, Infallible>(answer(body))
            });
            let stream = TokioIo::new(stream);
            tokio::spawn(async move {
                // It ends with the caller.
                if is_http2 {
                    http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await.ok();
                } else {
                    http1::Builder::new().serve_connection(stream, service).await.ok();
                }
            });
        }
    });
    address
}

async fn unary_error(answer: Reply) -> String {
    let address = server(true, answer).await;
    format!("{:#}", load::unary(target(address), 1, 2).await.unwrap_err())
}

#[tokio::test]
async fn the_servers_of_these_tests_can_answer_well() {
    load::unary(target(server(true, |body| grpc(body, "0")).await), 1, 2).await.unwrap();
    let echo = |body: Bytes| json(200, String::from_utf8(body.to_vec()).unwrap());
    load::json(target(server(false, echo).await), 2).await.unwrap();
}

#[tokio::test]
async fn a_grpc_status_other_than_ok_ends_the_load() {
    let error = unary_error(|body| grpc(body, "14")).await;
    assert!(error.contains("gRPC status \"14\""), "{error}");
}

#[tokio::test]
async fn an_answer_of_other_content_ends_the_load() {
    let other = |body: Bytes| {
        let mut bytes = body.to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        grpc(bytes.into(), "0")
    };
    let error = unary_error(other).await;
    assert!(error.contains("not what was sent"), "{error}");
    let error = unary_error(|body| grpc(body.slice(..body.len() - 1), "0")).await;
    assert!(error.contains("an answer of"), "{error}");
    let error = unary_error(|body| grpc([body.clone(), body].concat().into(), "0")).await;
    assert!(error.contains("not what was sent"), "{error}");
}

#[tokio::test]
async fn an_http_error_ends_the_load() {
    let error = unary_error(|_| json(503, String::new())).await;
    assert!(error.contains("HTTP status 503"), "{error}");
}

#[tokio::test]
async fn json_of_other_content_or_status_ends_the_load() {
    let wrong: [(Reply, &str); 3] = [
        (|_| json(500, message::json().to_string()), "HTTP status 500"),
        (|_| json(200, "{}".into()), "not what was sent"),
        (|_| json(200, "no".into()), "not JSON"),
    ];
    for (answer, expected) in wrong {
        let error = format!("{:#}", load::json(target(server(false, answer).await), 1).await.unwrap_err());
        assert!(error.contains(expected), "{error}");
    }
}
