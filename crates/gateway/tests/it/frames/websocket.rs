//! The same over a WebSocket: one frame in each binary message.

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use http::Method;
use mcp_proto::{
    Code,
    frame::{
        BodyCodec, Command, Decoded, Frame, FrameCodec, Kind, Profile, Side,
        hello::{Hello, HelloAck},
        parse_error,
    },
};
use serde_json::json;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};
use tokio_util::codec::Encoder;

use super::{client::json as body, config, task};
use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

struct Socket {
    wire: WebSocketStream<TcpStream>,
    codec: FrameCodec,
}

impl Socket {
    async fn open(cluster: &Cluster) -> Self {
        let stream = TcpStream::connect(cluster.address).await.unwrap();
        let (wire, _) = client_async(format!("ws://{}/mcp/ws", cluster.address), stream).await.unwrap();
        Self { wire, codec: FrameCodec::new(Profile::Standard, 1 << 20, Side::Client) }
    }

    async fn send(&mut self, frame: &Frame) {
        let mut bytes = BytesMut::new();
        self.codec.encode(frame, &mut bytes).unwrap();
        self.wire.send(Message::Binary(bytes.freeze())).await.unwrap();
    }

    /// The next frame; `None` when the gateway has closed.
    async fn next(&mut self) -> Option<Frame> {
        match timeout(LIMIT, self.wire.next()).await.expect("something comes") {
            Some(Ok(Message::Binary(message))) => {
                match self.codec.decode_message(&mut BytesMut::from(&message[..])).unwrap() {
                    Decoded::Frame(frame) => Some(frame),
                    Decoded::Broken(broken) => panic!("{broken:?}"),
                }
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => None,
            Some(Ok(other)) => panic!("{other:?}"),
        }
    }
}

fn get(sequence: u32, id: &str) -> Frame {
    Frame::request(Command::TASK_GET, sequence, task(id).to_string()).with_codec(BodyCodec::Json)
}

#[tokio::test]
async fn a_message_is_a_frame_both_ways() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(config(), &[&backend]).await;
    let mut socket = Socket::open(&cluster).await;
    socket.send(&Hello::default().to_frame(1)).await;
    let ack = socket.next().await.unwrap();
    assert_eq!(ack.kind, Kind::HelloAck);
    socket.send(&get(2, "7")).await;
    let answer = socket.next().await.unwrap();
    assert_eq!((answer.sequence, body(&answer)["task"]["id"].as_str()), (2, Some("7")));
    let logs = json!({"taskId": "7", "afterSeq": 2}).to_string();
    socket.send(&Frame::request(Command::TASK_LOGS, 3, logs).with_codec(BodyCodec::Json)).await;
    let more: Vec<bool> = [socket.next().await, socket.next().await, socket.next().await]
        .into_iter()
        .map(|frame| frame.unwrap().has_more())
        .collect();
    assert_eq!(more, [true, true, false]);
    // A session goes on over TCP, or the other way round.
    let session = HelloAck::parse(&ack.body).unwrap().session;
    drop(socket);
    let mut tcp = super::Client::connect(&cluster).await;
    tcp.send(Hello { resume: session.clone(), ..Hello::default() }.to_frame(1)).await;
    assert_eq!(HelloAck::parse(&tcp.next().await.body).unwrap().session, session);
    assert_eq!(tcp.next().await.sequence, 2);
}

#[tokio::test]
async fn what_is_not_one_frame_is_told() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.frame_bytes_max = 10_000;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut socket = Socket::open(&cluster).await;
    let mut bytes = BytesMut::new();
    socket.codec.encode(&get(1, "7"), &mut bytes).unwrap();
    let whole = bytes.freeze();
    for message in [whole.slice(..whole.len() - 1), [&whole[..], &whole[..]].concat().into(), "".into()] {
        socket.wire.send(Message::Binary(message)).await.unwrap();
        let frame = socket.next().await.unwrap();
        assert_eq!((frame.kind, parse_error(&frame).code()), (Kind::Error, Code::MalformedBody));
    }
    socket.send(&get(2, "7")).await;
    assert_eq!(socket.next().await.unwrap().kind, Kind::Response);
    socket.wire.send(Message::Binary(vec![0; 20_000].into())).await.unwrap();
    let frame = socket.next().await.unwrap();
    assert_eq!((frame.kind, parse_error(&frame).code().number()), (Kind::Error, 1009));
    assert_eq!(socket.next().await, None);

    let mut socket = Socket::open(&cluster).await;
    socket.wire.send(Message::text("{}")).await.unwrap();
    assert_eq!(parse_error(&socket.next().await.unwrap()).code(), Code::UnsupportedMediaType);
    assert_eq!(socket.next().await, None);
}

#[tokio::test]
async fn the_path_is_for_web_sockets_and_can_be_turned_off() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(config(), &[&backend]).await;
    assert_eq!(cluster.get("/mcp/ws").await.error(), "409 FAILED_PRECONDITION");
    let mut config = config();
    config.gateway.frames.websocket = false;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let answer = cluster.send(Method::GET, "/mcp/ws", &upgrade, Default::default()).await;
    assert_eq!(answer.error(), "409 FAILED_PRECONDITION");
}
