//! The other end of a session.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use mcp_coord::{InstanceRecord, keys};
use mcp_proto::{
    Error,
    frame::{BodyCodec, Command, Decoded, Frame, FrameCodec, Kind, Metadata, Profile, Side, parse_error},
};
use serde_json::Value;
use testkit::eventually;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::codec::Framed;

use crate::support::{Cluster, LIMIT};

/// Large enough that only the gateway's limit is met.
const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Where a profile is spoken, as the gateway has registered it.
pub(crate) async fn address(cluster: &Cluster, profile: Profile) -> SocketAddr {
    eventually(LIMIT, || async {
        let found = cluster.coord.range(&keys::service("test", "gateway")).await.unwrap();
        let mut records =
            found.entries.iter().map(|entry| serde_json::from_slice::<InstanceRecord>(&entry.value).unwrap());
        let record = records.find(|record| record.address == cluster.address.to_string());
        let record = record.ok_or_else(|| "not registered".to_owned())?;
        let label = record.labels.get(&format!("frame-{}", profile.name()));
        label.map(|label| label.parse().unwrap()).ok_or_else(|| format!("{record:?}"))
    })
    .await
}

/// A client that leaves everything to its test.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) wire: Framed<S, FrameCodec>,
    sequence: u32,
}

impl Client {
    pub(crate) async fn connect(cluster: &Cluster) -> Self {
        Self::speaking(cluster, Profile::Standard).await
    }

    pub(crate) async fn speaking(cluster: &Cluster, profile: Profile) -> Self {
        Self::at(address(cluster, profile).await, profile).await
    }

    pub(crate) async fn at(address: SocketAddr, profile: Profile) -> Self {
        Self::over(TcpStream::connect(address).await.expect("the gateway accepts sessions"), profile)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Over a connection that was made.
    pub(crate) fn over(stream: S, profile: Profile) -> Self {
        let codec = FrameCodec::new(profile, FRAME_BYTES_MAX, Side::Client);
        Self { wire: Framed::new(stream, codec), sequence: 0 }
    }

    /// A request with the next sequence number.
    pub(crate) fn request(&mut self, command: Command, codec: BodyCodec, body: impl Into<Vec<u8>>) -> Frame {
        self.sequence += 1;
        Frame::request(command, self.sequence, body.into()).with_codec(codec)
    }

    pub(crate) async fn send(&mut self, frame: Frame) {
        self.wire.send(frame).await.expect("the gateway takes frames");
    }

    /// Sends bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.wire.get_mut().write_all(bytes).await.unwrap();
    }

    /// Sends a request with a JSON body, and returns its sequence number.
    pub(crate) async fn ask(&mut self, command: Command, body: &Value, metadata: &Metadata<'_>) -> u32 {
        let frame = self.request(command, BodyCodec::Json, body.to_string()).with_metadata(metadata);
        let sequence = frame.sequence;
        self.send(frame).await;
        sequence
    }

    /// The next frame; `None` when the gateway has closed.
    pub(crate) async fn try_next(&mut self) -> Option<Frame> {
        match timeout(LIMIT, self.wire.next()).await.expect("something comes")? {
            Ok(Decoded::Frame(frame)) => Some(frame),
            Ok(Decoded::Broken(broken)) => panic!("the gateway sent no frame: {broken:?}"),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) async fn next(&mut self) -> Frame {
        self.try_next().await.expect("the gateway has not closed")
    }

    /// The next frame, which is the answer to this request.
    pub(crate) async fn answer(&mut self, sequence: u32) -> Frame {
        let frame = self.next().await;
        assert_eq!((frame.kind, frame.sequence), (Kind::Response, sequence), "{}", text(&frame));
        frame
    }

    /// Calls a command with JSON, and returns the JSON of its one answer.
    pub(crate) async fn call(&mut self, command: Command, body: &Value) -> Value {
        let sequence = self.ask(command, body, &Metadata::new()).await;
        let frame = self.answer(sequence).await;
        assert!(!frame.has_more() && frame.codec == BodyCodec::Json);
        json(&frame)
    }

    /// Calls any method by its path.
    pub(crate) async fn call_method(&mut self, path: &str, body: &Value) -> Value {
        let sequence = self.ask(Command::CALL, body, &Metadata::new().with("method", path)).await;
        json(&self.answer(sequence).await)
    }

    /// The next frame, which is an error for this request.
    pub(crate) async fn error(&mut self, sequence: u32) -> Error {
        let frame = self.next().await;
        assert_eq!((frame.kind, frame.sequence), (Kind::Error, sequence), "{}", text(&frame));
        parse_error(&frame)
    }

    /// Shows that the session lives: a ping is answered, and nothing came before.
    pub(crate) async fn lives(&mut self) {
        self.send(Frame { body: "still there?".into(), ..Frame::new(Kind::Ping, 77) }).await;
        let pong = self.next().await;
        assert_eq!((pong.kind, pong.sequence, &*pong.body), (Kind::Pong, 77, &b"still there?"[..]));
    }

    /// Waits until the gateway has closed.
    pub(crate) async fn closed(&mut self) {
        if let Some(frame) = self.try_next().await {
            panic!("not closed: {frame:?} {}", text(&frame));
        }
    }
}

pub(crate) fn json(frame: &Frame) -> Value {
    serde_json::from_slice(&frame.body).unwrap_or_else(|error| panic!("{error}: {}", text(frame)))
}

pub(crate) fn text(frame: &Frame) -> String {
    String::from_utf8_lossy(&frame.body).into_owned()
}
