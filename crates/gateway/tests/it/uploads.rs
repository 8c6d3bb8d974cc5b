//! Bodies of any length, as a stream of messages.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use gateway::Config;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use crate::{
    dynamic::{
        self,
        backend::{DynamicBackend, Reflection},
    },
    sink::sink,
    support::Cluster,
};

const CSV: [(&str, &str); 1] = [("content-type", "text/csv")];

#[tokio::test]
async fn content_of_any_length_is_sent_on_in_pieces() {
    let (_backend, cluster) = sink().await;
    // More than what a JSON body may have.
    let content = Bytes::from(vec![b'x'; 30 * 1024 * 1024]);
    let len = content.len();
    let answer = cluster.send(Method::POST, "/sink/v1/store", &CSV, content).await;
    assert_eq!(answer.json(), json!({"count": len, "text": "text/csv,"}));
    let piece = Bytes::from_static(b"1");
    let answer = cluster.send(Method::PUT, "/sink/v1/store/mine?content.data=", &CSV, piece).await;
    assert_eq!(answer.error(), "400 INVALID_ARGUMENT", "it is the body");
    let answer = cluster.send(Method::PUT, "/sink/v1/store/a%20b", &CSV, Bytes::from_static(b"12345")).await;
    assert_eq!(answer.json(), json!({"count": 5, "text": "a btext/csv"}), "path and type come with the first message");
    let answer = cluster.send(Method::POST, "/sink/v1/store", &CSV, Bytes::new()).await;
    assert_eq!(answer.json(), json!({"count": 0, "text": "text/csv"}));
    let answer = cluster.send(Method::POST, "/sink/v1/store?nonsense=1", &CSV, Bytes::new()).await;
    assert_eq!(answer.error(), "400 UNKNOWN_FIELD");
}

/// Sends pieces as they come out of a channel.
async fn upload(cluster: &Cluster, pieces: mpsc::Receiver<Bytes>) -> (u16, Value) {
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let frames = ReceiverStream::new(pieces).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let request = Request::post("/sink/v1/store").header("host", "gateway").body(StreamBody::new(frames)).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn an_upload_that_trickles_is_given_up() {
    let set = dynamic::compile("sink/v1/sink.proto");
    let backend = DynamicBackend::start("sink", &set, Reflection::V1).await;
    let mut config = Config::default();
    (config.gateway.downstream.body_grace, config.gateway.downstream.body_rate_min) =
        (Duration::from_millis(200), 1_000);
    let cluster = Cluster::of_records(config, &[&backend.record]).await;
    let (feed, pieces) = mpsc::channel(4);
    feed.send(Bytes::from_static(b"1")).await.unwrap();
    let (status, answer) = upload(&cluster, pieces).await;
    assert_eq!((status, &answer["name"]), (408, &json!("BODY_TOO_SLOW")));
    drop(feed);
    let (feed, pieces) = mpsc::channel(4);
    let feeding = tokio::spawn(async move {
        for _ in 0..20 {
            feed.send(Bytes::from(vec![b'x'; 1_000])).await.unwrap();
        }
    });
    assert_eq!(upload(&cluster, pieces).await, (200, json!({"count": 20_000, "text": ""})));
    feeding.await.unwrap();
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_no_whole_one() {
    let (_backend, cluster) = sink().await;
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let broken = stream::iter([Ok(Frame::data(Bytes::from_static(b"1"))), Err(std::io::Error::other("on purpose"))]);
    let request = Request::post("/sink/v1/store").header("host", "gateway").body(StreamBody::new(broken)).unwrap();
    assert!(sender.send_request(request).await.is_err());
    // The next one is not harmed.
    let whole = Full::new(Bytes::from_static(b"12"));
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post("/sink/v1/store").header("host", "gateway").body(whole).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
}
