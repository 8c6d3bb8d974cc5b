//! Commands of users, by routes, and the profiles of small devices.

use mcp_proto::{
    Code,
    frame::{BodyCodec, Command, Frame, Kind, Metadata, Profile},
};
use serde_json::{Value, json};

use super::{client::Client, config};
use crate::{
    dynamic::{
        self,
        backend::{DynamicBackend, Reflection},
    },
    support::Cluster,
};

const BLOBS: &str = r#"syntax = "proto3";
package blob.v1;
message Blob { bytes data = 1; }
service Blobs { rpc Echo(Blob) returns (Blob); }"#;

/// A service whose messages are nothing but bytes, with commands by routes.
async fn blobs() -> (DynamicBackend, Cluster) {
    let set = dynamic::compile_text(BLOBS);
    let backend = DynamicBackend::start("blobs", &set, Reflection::V1).await;
    let mut config = config();
    config.gateway.data_plane_threads = 1;
    let cluster = Cluster::of_records(config, &[&backend.record]).await;
    let grpc = json!({"service": "blob.v1.Blobs", "method": "Echo"});
    for cmd in [0x8001, 0x8010] {
        apply(&cluster, &format!("blob-{cmd}"), json!({"match": {"grpc": grpc, "frame": {"cmd": cmd}}})).await;
    }
    // One thread sees the routes in the order in which they were written.
    apply(&cluster, "mark", json!({"match": {"path": {"exact": "/mark"}}, "respond": {"body": "here"}})).await;
    testkit::eventually(crate::support::LIMIT, || async {
        let answer = cluster.get("/mark").await;
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    (backend, cluster)
}

async fn apply(cluster: &Cluster, id: &str, route: Value) {
    let answer = cluster
        .send(
            http::Method::PUT,
            &format!("/v1/routes/{id}"),
            &[("content-type", "application/json")],
            route.to_string().into(),
        )
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

#[tokio::test]
async fn a_command_of_users_is_the_method_that_its_route_names() {
    let (_backend, cluster) = blobs().await;
    let mut client = Client::connect(&cluster).await;
    let frame = client.request(Command(0x8001), BodyCodec::Raw, *b"as they are");
    let sequence = frame.sequence;
    client.send(frame).await;
    assert_eq!(&*client.answer(sequence).await.body, b"as they are");
    assert_eq!(client.call(Command(0x8001), &json!({"data": "AQI="})).await, json!({"data": "AQI="}));
    let sequence = client.ask(Command(0x8002), &json!({}), &Metadata::new()).await;
    assert_eq!(client.error(sequence).await.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn small_devices_call_by_raw_bytes() {
    let (_backend, cluster) = blobs().await;
    let mut compact = Client::speaking(&cluster, Profile::Compact).await;
    for data in [&b"hi"[..], &[], &[0xaa; 255]] {
        compact.send(Frame::request(Command(0x8001), 0, data.to_vec()).with_destination(7)).await;
        let answer = compact.next().await;
        assert_eq!((answer.command, answer.destination, &*answer.body), (Command(0x8001), 7, data));
    }
    let mut basic = Client::speaking(&cluster, Profile::Basic).await;
    basic.send(Frame::request(Command(0x10), 513, &b"hello"[..])).await;
    let answer = basic.next().await;
    assert_eq!((answer.kind, answer.command, answer.sequence), (Kind::Response, Command(0x10), 513));
    assert_eq!(&*answer.body, b"hello");
    for client in [&mut compact, &mut basic] {
        // What these have no error frame for is not answered: the next request is.
        client
            .send(Frame::request(Command(0x7f), 3 * u32::from(client.wire.codec().profile() == Profile::Basic), "?"))
            .await;
        client.send(Frame::request(Command::HEALTH, 0, "")).await;
        let answer = client.next().await;
        assert_eq!((answer.command, &*answer.body), (Command::HEALTH, &[1][..]));
    }
}

#[tokio::test]
async fn garbage_before_a_compact_frame_costs_nothing_else() {
    let (_backend, cluster) = blobs().await;
    let mut client = Client::speaking(&cluster, Profile::Compact).await;
    client.raw(&[0xaa, 0xaa, 1, 2, 0x80, 0x01, 1, 2, 0, 0, 7]).await;
    client.send(Frame::request(Command(0x8001), 0, "good")).await;
    assert_eq!(&*client.next().await.body, b"good");
}

#[tokio::test]
async fn what_is_wrong_in_a_profile_without_errors_is_passed_over_or_ends_it() {
    let (_backend, cluster) = blobs().await;
    let mut basic = Client::speaking(&cluster, Profile::Basic).await;
    // Garbage without a magic, an answer where a request belongs, a command that nobody has.
    basic.raw(b"garbage").await;
    basic.raw(&[0x4d, 0, 1, 0x90, 0, 0, 0, 0]).await;
    basic.raw(&[0x4d, 0, 2, 0x7f, 0, 0, 0, 0]).await;
    basic.send(Frame::request(Command(0x10), 3, "good")).await;
    let answer = basic.next().await;
    assert_eq!((answer.sequence, &*answer.body), (3, &b"good"[..]), "nothing else was answered");
    let mut oversize = vec![0x4d, 0, 4, 0x10];
    oversize.extend_from_slice(&u32::MAX.to_be_bytes());
    basic.raw(&oversize).await;
    basic.closed().await;

    let mut compact = Client::speaking(&cluster, Profile::Compact).await;
    let mut wrong_sum = vec![0xaa, 0xaa, 1, 2, 0x80, 0x01, b'h', b'i', 0, 0];
    compact.raw(&wrong_sum).await;
    wrong_sum.truncate(5);
    compact.raw(&wrong_sum).await;
    compact.send(Frame::request(Command(0x8001), 0, "good")).await;
    assert_eq!(&*compact.next().await.body, b"good");
}

#[tokio::test]
async fn a_route_with_a_wrong_command_is_refused_by_its_field() {
    let (_backend, cluster) = blobs().await;
    let grpc = json!({"service": "blob.v1.Blobs", "method": "Echo"});
    for (wanted, field) in [
        (json!({"grpc": grpc, "frame": {"cmd": 0x7fff}}), "match.frame.cmd"),
        (json!({"grpc": grpc, "frame": {"cmd": 0x10000}}), "match.frame.cmd"),
        (json!({"frame": {"cmd": 0x8001}}), "match.frame"),
        (json!({"grpc": {"service": "blob.v1.Blobs"}, "frame": {"cmd": 0x8001}}), "match.frame"),
    ] {
        let headers = [("content-type", "application/json")];
        let body = json!({"match": wanted}).to_string();
        let answer = cluster.send(http::Method::PUT, "/v1/routes/x", &headers, body.into()).await;
        assert_eq!(answer.error(), "400 INVALID_ARGUMENT");
        assert!(answer.text().contains(&format!("{field}\"")), "{field}: {}", answer.text());
    }
}
