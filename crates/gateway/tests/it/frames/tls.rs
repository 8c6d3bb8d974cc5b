//! The wire frame in TLS: every listener, the client, callers with certificates.

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use gateway::config::ClientSettings;
use mcp_client::{
    FrameClient,
    frame::{FrameClientBuilder, FrameRequest},
};
use mcp_proto::{
    Code,
    frame::{
        BodyCodec, Command, Decoded, Frame, FrameCodec, Kind, Metadata, Profile, Side,
        hello::{Hello, HelloAck},
    },
};
use serde_json::{Value, json};
use tokio_tungstenite::{client_async, tungstenite::Message};
use tokio_util::codec::Encoder;

use super::{
    client::{self, Client, address, json as body},
    config, task,
};
use crate::{
    backend::Backend,
    security::pki::{Authority, Files, connect, trusting},
    support::Cluster,
};

/// A gateway whose ports all speak TLS, in front of one backend.
async fn secured() -> (Authority, Files, Backend, Cluster) {
    let (authority, backend) = (Authority::new(), Backend::start("one").await);
    let files = Files::new(&authority);
    let mut config = config();
    files.configure(&mut config);
    let cluster = Cluster::configured(config, &[&backend]).await;
    (authority, files, backend, cluster)
}

fn get(id: &str) -> FrameRequest {
    FrameRequest::command(Command::TASK_GET).json(&task(id)).unwrap()
}

#[tokio::test]
async fn the_client_speaks_tls_and_trusts_whom_it_is_told_to() {
    let (_authority, files, _backend, cluster) = secured().await;
    let frames = address(&cluster, Profile::Standard).await;
    let builder =
        |scheme: &str| -> FrameClientBuilder { FrameClient::builder(format!("{scheme}://{frames}")).fail_fast() };
    let client = builder("mcps").ca(std::fs::read(files.ca()).unwrap()).build().unwrap();
    client.ping().await.unwrap();
    let found: Value = client.call(get("7")).await.unwrap().json().unwrap();
    assert_eq!(found["task"]["id"], "7");
    let mut events = client.subscribe("rooms/#").await.unwrap();
    client.publish("rooms/12", BodyCodec::Json, "1").await.unwrap();
    assert_eq!(events.next().await.unwrap().topic, "rooms/12");

    let strangers = Files::new(&Authority::new());
    let stranger = builder("mcps").ca(std::fs::read(strangers.ca()).unwrap()).build().unwrap();
    assert_eq!(stranger.call(get("7")).await.unwrap_err().code(), Code::Unavailable, "another root");
    // Without TLS there is a session, but nothing for it; a hello with credentials is turned away.
    let plain = builder("mcp").build().unwrap();
    assert_eq!(plain.call(get("7")).await.unwrap_err().code(), Code::TlsRequired);
    assert_eq!(plain.subscribe("rooms/#").await.unwrap_err().code(), Code::TlsRequired);
    let plain = builder("mcp").token("mcp_secret").build().unwrap();
    assert_eq!(plain.ping().await.unwrap_err().code(), Code::TlsRequired);
}

#[tokio::test]
async fn every_listener_speaks_tls() {
    let (authority, _files, _backend, cluster) = secured().await;
    let connector = trusting(&authority, None, &[]);
    for profile in Profile::ALL {
        let stream = connect(&connector, address(&cluster, profile).await).await.unwrap();
        let mut client = Client::over(stream, profile);
        client.send(Frame::request(Command::HEALTH, 9 * u32::from(profile != Profile::Compact), "")).await;
        assert_eq!(&*client.next().await.body, [1], "{profile}");
    }
    // Frames larger than a record of TLS, both ways.
    let mut client =
        Client::over(connect(&connector, address(&cluster, Profile::Standard).await).await.unwrap(), Profile::Standard);
    let id = "x".repeat(300_000);
    assert_eq!(client.call(Command::TASK_GET, &task(&id)).await["task"]["id"], id);

    let stream = connect(&trusting(&authority, None, &["http/1.1"]), cluster.address).await.unwrap();
    let (mut socket, _) = client_async("wss://gateway.test/mcp/ws", stream).await.unwrap();
    let (mut codec, mut bytes) = (FrameCodec::new(Profile::Standard, 1 << 20, Side::Client), BytesMut::new());
    let request = Frame::request(Command::TASK_GET, 3, task("7").to_string()).with_codec(BodyCodec::Json);
    codec.encode(request, &mut bytes).unwrap();
    socket.send(Message::Binary(bytes.freeze())).await.unwrap();
    let Message::Binary(message) = socket.next().await.unwrap().unwrap() else { panic!("no frame") };
    let Decoded::Frame(frame) = codec.decode_message(&mut BytesMut::from(&message[..])).unwrap() else {
        panic!("no frame")
    };
    assert_eq!((frame.sequence, body(&frame)["task"]["id"].as_str()), (3, Some("7")));
}

#[tokio::test]
async fn a_certificate_says_who_speaks_frames() {
    let (authority, backend) = (Authority::new(), Backend::start("one").await);
    let files = Files::new(&authority);
    let mut config = config();
    files.configure(&mut config);
    let tls = &mut config.gateway.security.tls;
    tls.client_ca = Some(files.ca());
    tls.clients = vec![ClientSettings {
        name: "spiffe://mesh/ops".into(),
        roles: serde_json::from_value(json!(["operator"])).unwrap(),
    }];
    let cluster = Cluster::configured(config, &[&backend]).await;
    let frames = address(&cluster, Profile::Standard).await;
    let ops = authority.client("spiffe://mesh/ops");
    let stranger = authority.client("spiffe://mesh/stranger");
    for (identity, code) in
        [(Some(&ops), None), (Some(&stranger), Some(Code::PermissionDenied)), (None, Some(Code::Unauthenticated))]
    {
        let stream = connect(&trusting(&authority, identity, &[]), frames).await.unwrap();
        let mut client = Client::over(stream, Profile::Standard);
        client.send(Hello::default().to_frame(1)).await;
        let ack = client.next().await;
        assert_eq!((ack.kind, HelloAck::parse(&ack.body).is_ok()), (Kind::HelloAck, true), "{}", client::text(&ack));
        let sequence = client.ask(Command::TASK_GET, &task("7"), &Metadata::new()).await;
        match code {
            None => assert_eq!(body(&client.answer(sequence).await)["task"]["id"], "7"),
            Some(code) => assert_eq!(client.error(sequence).await.code(), code),
        }
    }
}
