//! How a session is opened: the client's first frame, and the server's answer.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{
    head::{BodyCodec, Kind},
    model::Frame,
};
use crate::{Code, Error};

/// The client's first frame. A client may leave it out and gets the defaults: JSON, an anonymous session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(default)]
pub struct Hello {
    /// Name and version of the program, for logs.
    pub client: String,
    /// Names of the codecs that it understands, the preferred one first.
    pub codecs: Vec<String>,
    /// The session to go on with; empty for a new one.
    pub resume: String,
}

/// The server's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAck {
    /// The session's id, to resume it with.
    pub session: String,
    /// The codec of events and of what else the server begins.
    pub codec: String,
    /// How often the server pings, in milliseconds.
    pub ping_interval_ms: u64,
    /// How long the connection may be silent, in milliseconds.
    pub idle_timeout_ms: u64,
    /// The largest payload that the server takes, in bytes.
    pub max_frame: u64,
}

impl Hello {
    /// Reads a hello; an empty body says nothing and is one, too.
    ///
    /// # Errors
    /// `MALFORMED_BODY` when the body is not the JSON of a hello.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        if body.is_empty() { Ok(Self::default()) } else { read(body, "hello") }
    }

    /// The frame that says it.
    pub fn to_frame(&self, sequence: u32) -> Frame {
        Frame { codec: BodyCodec::Json, body: write(self), ..Frame::new(Kind::Hello, sequence) }
    }

    /// The first of the codecs that we know; JSON when there is none.
    pub fn codec(&self) -> BodyCodec {
        self.codecs.iter().find_map(|name| BodyCodec::from_name(name)).unwrap_or(BodyCodec::Json)
    }
}

impl HelloAck {
    /// Reads a hello's answer.
    ///
    /// # Errors
    /// `MALFORMED_BODY` when the body is not the JSON of one.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        read(body, "hello-ack")
    }

    /// The frame that says it, in answer to a hello.
    pub fn to_frame(&self, hello: &Frame) -> Frame {
        Frame::reply_to(hello, Kind::HelloAck, write(self)).with_codec(BodyCodec::Json)
    }
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, Error> {
    serde_json::from_slice(body)
        .map_err(|error| Error::new(Code::MalformedBody, format!("the {what} cannot be read: {error}")))
}

fn write(value: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(value).expect("strings and numbers are JSON"))
}
