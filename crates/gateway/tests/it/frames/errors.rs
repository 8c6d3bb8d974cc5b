//! What breaks the protocol costs what is broken, and is told.

use bytes::BytesMut;
use mcp_proto::{
    Code,
    frame::{BodyCodec, Command, Flags, Frame, FrameCodec, Kind, Profile, Side, parse_error},
};
use serde_json::json;
use tokio_util::codec::Encoder;

use super::{client::Client, config, gateway, task};
use crate::{backend::Backend, support::Cluster};

/// The bytes of a frame.
fn bytes(frame: &Frame) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    FrameCodec::new(Profile::Standard, 1 << 23, Side::Client).encode(frame, &mut bytes).unwrap();
    bytes.to_vec()
}

/// Puts the right checksum behind a changed frame.
fn resum(bytes: &mut [u8]) {
    let at = bytes.len() - 2;
    let sum = mcp_proto::frame::checksum(&bytes[2..at]);
    bytes[at..].copy_from_slice(&sum.to_be_bytes());
}

/// A request whose metadata block is these bytes.
fn with_block(block: &[u8]) -> Vec<u8> {
    let mut frame = Frame::request(Command::TASK_GET, 1, "{}").with_flags(Flags::METADATA).with_codec(BodyCodec::Json);
    frame.metadata = block.to_vec().into();
    bytes(&frame)
}

/// More pairs than a block may have.
fn many_keys() -> String {
    let pairs: Vec<String> = (0..65).map(|number| format!("\"k{number}\":\"\"")).collect();
    format!("{{{}}}", pairs.join(","))
}

#[tokio::test]
async fn a_broken_frame_costs_only_itself() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let good = client.request(Command::TASK_GET, BodyCodec::Json, task("7").to_string());
    let good = bytes(&good);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        resum(&mut bytes);
        bytes
    };
    let mut wrong_sum = good.clone();
    let last = wrong_sum.len() - 1;
    wrong_sum[last] ^= 1;
    let mut bad_block = Frame::request(Command::TASK_GET, 1, "").with_flags(Flags::METADATA);
    bad_block.metadata = "[]".into();
    let mut long_block = bytes(&bad_block);
    long_block[19] = 200;
    resum(&mut long_block);
    for (what, sent, code, sequence) in [
        ("a wrong checksum", wrong_sum, Code::MalformedBody, 1),
        ("garbage", b"GET / HTTP/1.1\r\n".to_vec(), Code::MalformedBody, 0),
        ("an unknown kind", changed(3, 99), Code::InvalidArgument, 1),
        ("an unknown codec", changed(5, 99), Code::InvalidArgument, 1),
        ("an unknown command", changed(7, 0x77), Code::InvalidArgument, 1),
        ("a kind of servers", changed(3, Kind::Response.to_u8()), Code::InvalidArgument, 1),
        ("metadata that is no object", bytes(&bad_block), Code::MalformedBody, 1),
        ("metadata longer than the payload", long_block, Code::MalformedBody, 1),
        (
            "a command of users without a route",
            bytes(&Frame::request(Command(0x8001), 1, "")),
            Code::InvalidArgument,
            1,
        ),
        ("configuration", bytes(&Frame::request(Command::CONFIG_PUT, 1, "")), Code::Unimplemented, 1),
        ("a body that is not compressed as it says", changed(4, 0x04), Code::MalformedBody, 1),
        ("metadata that are no text", with_block(b"{\"a\":\"\xff\"}"), Code::MalformedBody, 1),
        ("too much metadata", with_block(many_keys().as_bytes()), Code::MalformedBody, 1),
        ("a key twice", with_block(br#"{"a":"1","a":"2"}"#), Code::MalformedBody, 1),
        ("a timeout that is none", with_block(br#"{"timeout-ms":"soon"}"#), Code::InvalidArgument, 1),
        ("credentials that are no header", with_block(br#"{"authorization":"a\nb"}"#), Code::InvalidArgument, 1),
        ("what the gateway says itself", with_block(br#"{"grpc-timeout":"1S"}"#), Code::InvalidArgument, 1),
        ("a call of nothing", bytes(&Frame::request(Command::CALL, 1, "")), Code::InvalidArgument, 1),
        ("configuration, read", bytes(&Frame::request(Command::CONFIG_GET, 1, "")), Code::Unimplemented, 1),
        ("configuration, watched", bytes(&Frame::request(Command::CONFIG_WATCH, 1, "")), Code::Unimplemented, 1),
        ("an end of nothing", bytes(&Frame::new(Kind::Unsubscribe, 1)), Code::NotFound, 1),
        ("a subscription to nothing", bytes(&Frame::new(Kind::Subscribe, 1)), Code::MalformedBody, 1),
        (
            "a stream of requests",
            {
                let frame = Frame::request(Command::CALL, 1, "");
                let path = "/mcp.worker.v1.WorkerSessionService/OpenSession";
                bytes(&frame.with_metadata(&mcp_proto::frame::Metadata::new().with("method", path)))
            },
            Code::Unimplemented,
            1,
        ),
        (
            "raw bytes for a method with fields",
            bytes(&Frame::request(Command::TASK_GET, 1, "x")),
            Code::UnsupportedMediaType,
            1,
        ),
    ] {
        client.raw(&sent).await;
        let frame = client.next().await;
        assert_eq!((frame.kind, frame.sequence), (Kind::Error, sequence), "{what}: {frame:?}");
        assert_eq!(parse_error(&frame).code(), code, "{what}");
        // The next frame is served.
        client.raw(&good).await;
        client.answer(1).await;
    }
}

#[tokio::test]
async fn an_oversize_frame_is_told_by_1009_and_the_end() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.frame_bytes_max = 1_000;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    let frame = client.request(Command::TASK_GET, BodyCodec::Json, vec![b' '; 1_001]);
    let sequence = frame.sequence;
    // No more than the header is needed.
    client.raw(&bytes(&frame)[..18]).await;
    let error = client.error(sequence).await;
    assert_eq!((error.code().number(), error.metadata()["limit_bytes"].as_str()), (1009, "1000"));
    client.closed().await;
}

#[tokio::test]
async fn another_major_version_is_told_to_go_away() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let mut newer = bytes(&Frame::new(Kind::Ping, 5));
    newer[2] = 0x1f;
    resum(&mut newer);
    client.raw(&newer).await;
    assert_eq!(client.next().await.kind, Kind::Pong, "a newer minor is served");
    newer[4] = 0xf8;
    resum(&mut newer);
    client.raw(&newer).await;
    assert_eq!(client.next().await.kind, Kind::Pong, "so are flags that nobody knows yet");
    newer[2] = 0x20;
    resum(&mut newer);
    client.raw(&newer).await;
    let frame = client.next().await;
    assert_eq!((frame.kind, parse_error(&frame).code()), (Kind::GoAway, Code::Unimplemented));
    client.closed().await;
}

#[tokio::test]
async fn whoever_sends_nothing_but_headers_is_sent_away() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.frame_bytes_max = 20_000;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    // Each promises nearly all that follows, and none has the right checksum: looking for a frame in it costs the square.
    let head = bytes(&Frame::request(Command::TASK_GET, 1, vec![0; 19_000]))[..18].to_vec();
    let flood = head.repeat(3_000);
    let mut told = Vec::new();
    for _ in 0..1_000 {
        client.raw(&flood).await;
        while let Ok(frame) = tokio::time::timeout(std::time::Duration::from_millis(20), client.next()).await {
            assert_eq!(parse_error(&frame).code(), Code::MalformedBody);
            told.push(frame.kind);
            if frame.kind == Kind::GoAway {
                assert_eq!(told, [Kind::Error, Kind::GoAway], "one error for all of it");
                return client.closed().await;
            }
        }
    }
    panic!("it goes on for ever: {told:?}");
}

#[tokio::test]
async fn whoever_sends_far_too_much_can_still_read_why_it_is_closed() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.frame_bytes_max = 1_000;
    let cluster = Cluster::configured(config, &[&backend]).await;
    for _ in 0..5 {
        let mut client = Client::connect(&cluster).await;
        let frame = client.request(Command::TASK_GET, BodyCodec::Json, vec![b' '; 4 << 20]);
        let sequence = frame.sequence;
        client.raw(&bytes(&frame)).await;
        assert_eq!(client.error(sequence).await.code().number(), 1009);
        client.closed().await;
    }
}

#[tokio::test]
async fn a_wrong_hello_can_be_said_again() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let hello = |body: serde_json::Value| Frame {
        codec: BodyCodec::Json,
        body: body.to_string().into(),
        ..Frame::new(Kind::Hello, 9)
    };
    for (body, code) in [
        (json!("hello"), Code::MalformedBody),
        (json!({"codecs": ["xml"]}), Code::InvalidArgument),
        (json!({"client": "x".repeat(201)}), Code::InvalidArgument),
    ] {
        client.send(hello(body)).await;
        assert_eq!(client.error(9).await.code(), code);
    }
    client.send(hello(json!({"codecs": ["cbor", "protobuf"]}))).await;
    assert_eq!(client.next().await.kind, Kind::HelloAck);
    client.send(hello(json!({}))).await;
    assert_eq!(client.error(9).await.code(), Code::FailedPrecondition, "there is one hello");
}
