//! JSON over WebSockets.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gateway::Config;
use http::Method;
use prost_reflect::DynamicMessage;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::CloseFrame},
};

use crate::{
    dynamic::{self, codec},
    sink::{EVERYTHING, assert_same, everything, sink},
    support::{Cluster, LIMIT},
};

/// A caller's end.
struct Socket(WebSocketStream<TcpStream>);

/// What comes out of a WebSocket.
#[derive(Debug)]
enum Came {
    Json(Value),
    Closed(u16, String),
}

impl Socket {
    async fn open(cluster: &Cluster, path: &str) -> Self {
        let stream = TcpStream::connect(cluster.address).await.unwrap();
        let (socket, response) = client_async(format!("ws://{}{path}", cluster.address), stream).await.unwrap();
        assert_eq!(response.headers()["x-trace-id"].len(), 32);
        Self(socket)
    }

    async fn send(&mut self, json: Value) {
        self.0.send(Message::text(json.to_string())).await.unwrap();
    }

    /// Ends the caller's side.
    async fn end(&mut self) {
        self.0.send(Message::text("")).await.unwrap();
    }

    async fn next(&mut self) -> Came {
        loop {
            match timeout(LIMIT, self.0.next()).await.expect("something comes") {
                Some(Ok(Message::Text(text))) => return Came::Json(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(CloseFrame { code, reason })))) => {
                    return Came::Closed(code.into(), reason.to_string());
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn json(&mut self) -> Value {
        match self.next().await {
            Came::Json(json) => json,
            Came::Closed(code, reason) => panic!("closed: {code} {reason}"),
        }
    }

    async fn closed(&mut self) -> (u16, String) {
        match self.next().await {
            Came::Closed(code, reason) => (code, reason),
            Came::Json(json) => panic!("{json}"),
        }
    }
}

#[tokio::test]
async fn every_kind_of_call_gives_the_same_as_by_grpc() {
    let (backend, cluster) = sink().await;
    let mut json = everything();
    (json["fDouble"], json["wFloat"]) = (json!(0.25), json!(3));
    let message = dynamic::message(&backend.pool, EVERYTHING, &json);
    let kind = backend.pool.get_message_by_name(EVERYTHING).unwrap();
    let channel = cluster.channel().await;
    for (socket, rpc, sent) in [
        ("/sink.v1.Sink/Echo", "/sink.v1.Sink/Echo", 1),
        ("/sink/v1/chat", "/sink.v1.Sink/Chat", 3),
        ("/sink.v1.Sink/Chat", "/sink.v1.Sink/Chat", 2),
    ] {
        let by_grpc = codec::call(channel.clone(), rpc, vec![message.clone(); sent], kind.clone()).await.unwrap();
        let mut socket = Socket::open(&cluster, socket).await;
        for expected in &by_grpc {
            socket.send(json.clone()).await;
            // Each answer comes before the next message is sent.
            let answer = DynamicMessage::deserialize(kind.clone(), socket.json().await).unwrap();
            assert_same(&answer, expected);
        }
        if sent > 1 {
            socket.end().await;
        }
        assert_eq!(socket.closed().await, (1000, String::new()));
    }
}

#[tokio::test]
async fn a_stream_of_requests_is_collected_and_its_path_counts_for_each() {
    let (_backend, cluster) = sink().await;
    let mut socket = Socket::open(&cluster, "/sink/v1/collect/ab").await;
    for _ in 0..5 {
        socket.send(json!({"fInt32": 1})).await;
    }
    socket.end().await;
    assert_eq!(socket.json().await, json!({"count": 5, "text": "ababababab"}));
    assert_eq!(socket.closed().await.0, 1000);
}

#[tokio::test]
async fn a_request_that_stands_in_the_url_needs_no_message() {
    let (_backend, cluster) = sink().await;
    let mut socket = Socket::open(&cluster, "/sink/v1/count/3?breaks_after=2").await;
    for number in 1..=2 {
        assert_eq!(socket.json().await["fInt32"], number);
    }
    assert_eq!(socket.json().await["error"]["name"], "STORE_UNAVAILABLE");
    assert_eq!(socket.closed().await, (4014, "STORE_UNAVAILABLE".into()));
}

#[tokio::test]
async fn an_error_is_a_last_message_and_a_close_code() {
    let (_backend, cluster) = sink().await;
    for (sent, name, code) in [
        (r#"{"fString": "fail"}"#, "NOT_FOUND", 4005),
        (r#"{"inner": {"x": 1}}"#, "UNKNOWN_FIELD", 4003),
        ("{", "MALFORMED_BODY", 4003),
        (r#"{"fInt32": "x"}"#, "INVALID_ARGUMENT", 4003),
    ] {
        let mut socket = Socket::open(&cluster, "/sink/v1/chat").await;
        socket.send(json!({"fString": "before"})).await;
        assert_eq!(socket.json().await["fString"], "before");
        socket.0.send(Message::text(sent)).await.unwrap();
        let error = socket.json().await;
        assert_eq!(error["error"]["name"], name, "{error}");
        assert_eq!(socket.closed().await, (code, name.into()));
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_closed_with_the_reason() {
    let mut config = Config::default();
    config.gateway.json.body_bytes_max = 100_000;
    let set = dynamic::compile("sink/v1/sink.proto");
    let backend = dynamic::backend::DynamicBackend::start("sink", &set, dynamic::backend::Reflection::V1).await;
    let cluster = Cluster::of_records(config, &[&backend.record]).await;
    let mut socket = Socket::open(&cluster, "/sink/v1/chat").await;
    socket.0.send(Message::binary(vec![1, 2])).await.unwrap();
    assert_eq!(socket.closed().await.0, 1003);
    let mut socket = Socket::open(&cluster, "/sink/v1/chat").await;
    socket.0.send(Message::text("x".repeat(200_000))).await.unwrap();
    assert_eq!(socket.closed().await.0, 1009);
    let mut socket = Socket::open(&cluster, "/sink/v1/chat").await;
    socket.end().await;
    socket.0.send(Message::text("{}")).await.unwrap();
    let (code, _) = socket.closed().await;
    assert!([1000, 1008].contains(&code), "{code}: the service may have ended first");
}

#[tokio::test]
async fn a_ping_is_answered_and_a_close_ends_the_call() {
    let (_backend, cluster) = sink().await;
    let mut socket = Socket::open(&cluster, "/sink/v1/chat").await;
    socket.0.send(Message::Ping(Bytes::from_static(b"there?"))).await.unwrap();
    let pong = timeout(LIMIT, socket.0.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(pong, Message::Pong(Bytes::from_static(b"there?")));
    socket.0.close(None).await.unwrap();
    while let Some(Ok(_)) = timeout(LIMIT, socket.0.next()).await.expect("the gateway closes too") {}
}

#[tokio::test]
async fn a_caller_that_does_not_answer_a_ping_is_gone() {
    let mut config = Config::default();
    (config.gateway.downstream.ping_interval, config.gateway.downstream.ping_timeout) =
        (Duration::from_millis(50), Duration::from_millis(50));
    let set = dynamic::compile("sink/v1/sink.proto");
    let backend = dynamic::backend::DynamicBackend::start("sink", &set, dynamic::backend::Reflection::V1).await;
    let cluster = Cluster::of_records(config, &[&backend.record]).await;
    // It reads bytes, but does not know what they mean.
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    let request = "GET /sink/v1/chat HTTP/1.1\r\nhost: gateway\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    timeout(LIMIT, stream.read_to_end(&mut received)).await.expect("the gateway closes").unwrap();
    assert!(received.starts_with(b"HTTP/1.1 101 "));
    assert!(received.ends_with(&[0x89, 0]), "a ping came last: {received:?}");
}

#[tokio::test]
async fn a_caller_that_sends_without_reading_gets_everything_in_order() {
    let (_backend, cluster) = sink().await;
    let (mut sender, mut receiver) = Socket::open(&cluster, "/sink/v1/chat").await.0.split();
    let padding = "x".repeat(50_000);
    let sending = tokio::spawn(async move {
        for number in 0..300 {
            let json = json!({"fInt32": number, "rString": [padding]});
            sender.send(Message::text(json.to_string())).await.unwrap();
        }
        sender.send(Message::text("")).await.unwrap();
        sender
    });
    for number in 0..300 {
        let message = timeout(LIMIT, receiver.next()).await.unwrap().unwrap().unwrap();
        let json: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert_eq!(json["fInt32"], number);
    }
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn what_is_no_websocket_or_leads_nowhere_is_refused_before_it_is_opened() {
    let (_backend, cluster) = sink().await;
    let upgrade = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = cluster.send(Method::GET, "/sink/v1/nothing", &upgrade, Bytes::new()).await;
    assert_eq!(answer.error(), "404 PATH_NOT_FOUND");
    let mut old = upgrade;
    old[2].1 = "8";
    let answer = cluster.send(Method::GET, "/sink/v1/chat", &old, Bytes::new()).await;
    assert_eq!(answer.error(), "400 INVALID_ARGUMENT");
    let answer = cluster.send(Method::GET, "/sink/v1/chat", &upgrade[..3], Bytes::new()).await;
    assert_eq!(answer.error(), "400 INVALID_ARGUMENT");
    // The example of RFC 6455.
    let response = cluster.open(Method::GET, "/sink/v1/chat", &upgrade, Bytes::new()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["sec-websocket-accept"]),
        (101, &"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".parse().unwrap())
    );
    let mut request = format!("ws://{}/sink/v1/chat", cluster.address).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "other, mcp.json".parse().unwrap());
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (_socket, response) = client_async(request, stream).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "mcp.json");
}
