//! gRPC-Web, as browsers speak it.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{BufMut, Bytes, BytesMut};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost_reflect::{DescriptorPool, DynamicMessage, prost::Message};
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    dynamic,
    sink::{EVERYTHING, assert_same, sink},
    support::{Answer, Cluster},
};

/// A message as a frame.
fn frame(message: &DynamicMessage) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut frame).unwrap();
    frame.freeze()
}

/// The messages of an answer and its trailers, as lines.
fn parts(pool: &DescriptorPool, mut body: &[u8]) -> (Vec<DynamicMessage>, String) {
    let mut messages = Vec::new();
    while let Some((head, rest)) = body.split_at_checked(5) {
        let (content, rest) = rest.split_at(u32::from_be_bytes(head[1..].try_into().unwrap()) as usize);
        if head[0] == 0x80 {
            assert!(rest.is_empty(), "trailers come last");
            return (messages, String::from_utf8(content.to_vec()).unwrap());
        }
        messages.push(DynamicMessage::decode(pool.get_message_by_name(EVERYTHING).unwrap(), content).unwrap());
        body = rest;
    }
    panic!("there are no trailers");
}

async fn call(cluster: &Cluster, path: &str, kind: &str, body: Bytes) -> Answer {
    let headers = [("content-type", kind), ("x-grpc-web", "1"), ("accept", kind)];
    cluster.send(Method::POST, path, &headers, body).await
}

#[tokio::test]
async fn a_browser_gets_messages_and_trailers() {
    let (backend, cluster) = sink().await;
    let message = dynamic::message(&backend.pool, EVERYTHING, &json!({"fString": "x", "inner": {"number": "7"}}));
    for kind in ["application/grpc-web", "application/grpc-web+proto"] {
        let answer = call(&cluster, "/sink.v1.Sink/Echo", kind, frame(&message)).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["content-type"]), (200, &kind.parse().unwrap()));
        assert_eq!(answer.headers["x-backend"], "here");
        let (messages, trailers) = parts(&backend.pool, &answer.body);
        assert_same(&messages[0], &message);
        assert!(messages.len() == 1 && trailers.contains("grpc-status: 0\r\n"), "{trailers}");
    }
}

#[tokio::test]
async fn over_http_2_it_is_the_same() {
    let (backend, cluster) = sink().await;
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let message = dynamic::message(&backend.pool, EVERYTHING, &json!({"fString": "x"}));
    let text = Bytes::from(BASE64_STANDARD.encode(frame(&message)));
    for (kind, body) in [("application/grpc-web+proto", frame(&message)), ("application/grpc-web-text", text)] {
        let request =
            Request::post(format!("http://{}/sink.v1.Sink/Echo", cluster.address)).header("content-type", kind);
        let request = request.header("x-grpc-web", "1").body(Full::new(body)).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["content-type"]), (200, &kind.parse().unwrap()));
        let whole = answer.into_body().collect().await.unwrap();
        assert!(whole.trailers().is_none(), "they are in the body, where browsers can read them");
        let body = whole.to_bytes();
        let decoded: Vec<u8> = if kind.ends_with("text") {
            body.chunks(4).flat_map(|group| BASE64_STANDARD.decode(group).unwrap()).collect()
        } else {
            body.to_vec()
        };
        let (messages, trailers) = parts(&backend.pool, &decoded);
        assert_same(&messages[0], &message);
        assert!(messages.len() == 1 && trailers.contains("grpc-status: 0\r\n"), "{trailers}");
    }
}

#[tokio::test]
async fn text_is_base64_both_ways() {
    let (backend, cluster) = sink().await;
    let message = dynamic::message(&backend.pool, EVERYTHING, &json!({"fString": "some text"}));
    let text = Bytes::from(BASE64_STANDARD.encode(frame(&message)));
    let answer = call(&cluster, "/sink.v1.Sink/Echo", "application/grpc-web-text", text).await;
    assert_eq!(answer.headers["content-type"], "application/grpc-web-text");
    // Each part was encoded alone, with padding of its own.
    let mut body = Vec::new();
    for group in answer.body.chunks(4) {
        body.extend(BASE64_STANDARD.decode(group).unwrap());
    }
    let (messages, trailers) = parts(&backend.pool, &body);
    assert_same(&messages[0], &message);
    assert!(messages.len() == 1 && trailers.contains("grpc-status: 0\r\n"), "{trailers}");
    let answer =
        call(&cluster, "/sink.v1.Sink/Echo", "application/grpc-web-text", Bytes::from_static(b"no base64!!!")).await;
    assert_eq!(answer.headers.get("grpc-status").map(|status| status.to_str().unwrap()), Some("3"), "{answer:?}");
}

#[tokio::test]
async fn a_stream_and_its_error_come_through() {
    let (backend, cluster) = sink().await;
    let request = dynamic::message(&backend.pool, "sink.v1.CountRequest", &json!({"to": 3, "breaksAfter": 2}));
    let answer = call(&cluster, "/sink.v1.Sink/Count", "application/grpc-web+proto", frame(&request)).await;
    let (messages, trailers) = parts(&backend.pool, &answer.body);
    assert_eq!(messages.len(), 2);
    assert!(trailers.contains("grpc-status: 14\r\n") && trailers.contains("grpc-message: the%20store"), "{trailers}");
}

#[tokio::test]
async fn an_error_without_an_answer_stands_in_the_head() {
    let (backend, cluster) = sink().await;
    let fail = dynamic::message(&backend.pool, EVERYTHING, &json!({"fString": "fail"}));
    let answer = call(&cluster, "/sink.v1.Sink/Echo", "application/grpc-web", frame(&fail)).await;
    assert_eq!((answer.status.as_u16(), &answer.headers["grpc-status"]), (200, &"5".parse().unwrap()));
    let answer = call(&cluster, "/no.such.Service/Call", "application/grpc-web", Bytes::new()).await;
    assert_eq!(answer.headers["grpc-status"], "12");
    let answer =
        cluster.send(Method::GET, "/sink.v1.Sink/Echo", &[("content-type", "application/grpc-web")], Bytes::new());
    assert_eq!(answer.await.error(), "415 UNSUPPORTED_MEDIA_TYPE");
}
