//! What is sent: one message of 100 bytes, as gRPC and as JSON.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::{BufMut as _, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::echo::{EchoRequest, EchoStreamRequest};

/// The gRPC service.
pub const SERVICE: &str = "bench.v1.EchoService";
/// Path of its unary method.
pub const UNARY_PATH: &str = "/bench.v1.EchoService/Echo";
/// Path of its streaming method.
pub const STREAM_PATH: &str = "/bench.v1.EchoService/EchoStream";
/// Path of its unary method over HTTP/JSON.
pub const JSON_PATH: &str = "/bench/v1/echo";

/// Bytes of the payload.
const PAYLOAD: [u8; 100] = [b'Z'; 100];
const NAME: &str = "n";

/// The unary request as one gRPC frame. The answer has the same bytes.
pub fn unary() -> Bytes {
    frame(&EchoRequest { name: NAME.to_owned(), payload: Bytes::from_static(&PAYLOAD) })
}

/// A message of the stream as one gRPC frame. The answer has the same bytes.
pub fn streamed() -> Bytes {
    frame(&EchoStreamRequest { payload: Bytes::from_static(&PAYLOAD) })
}

/// The unary request as JSON. The answer is the same.
pub fn json() -> Value {
    json!({"name": NAME, "payload": BASE64_STANDARD.encode(PAYLOAD)})
}

fn frame(message: &impl prost::Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0); // not compressed
    frame.put_u32(u32::try_from(length).expect("a small message"));
    message.encode(&mut frame).expect("a buffer grows");
    frame.freeze()
}
