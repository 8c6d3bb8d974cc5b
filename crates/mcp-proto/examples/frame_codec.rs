//! How fast the codec of the wire frame is, beside protobuf and JSON encoding of the same message.
//!
//! `cargo run --release -p mcp-proto --example frame_codec` prints, for payloads of 64 B, 1 KiB and 64 KiB on one thread,
//! messages per second and bytes of payload per second. Frames have their checksum, and are decoded from a buffer in
//! which many stand one behind the other, as they come from a socket.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use mcp_proto::frame::{Command, Decoded, Frame, FrameCodec, Profile, Side};
use prost::Message;
use serde::{Deserialize, Serialize};
use tokio_util::codec::{Decoder, Encoder};

/// Payloads, and what they are called in the figures.
const PAYLOADS: [(&str, usize); 3] = [("64", 64), ("1k", 1024), ("64k", 64 * 1024)];
/// Bytes of the buffer that frames are decoded from, about.
const BUFFER_BYTES: usize = 1024 * 1024;
/// How long one figure is measured; the best of some rounds counts, since the machine only takes time away.
const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 5;
/// Largest payload of the codec, in bytes.
const PAYLOAD_MAX: usize = 1024 * 1024;

/// The message in protobuf.
#[derive(Clone, PartialEq, Message)]
struct Proto {
    #[prost(uint32, tag = "1")]
    command: u32,
    #[prost(uint32, tag = "2")]
    sequence: u32,
    #[prost(bytes = "bytes", tag = "3")]
    body: Bytes,
}

/// The message in JSON.
#[derive(Serialize, Deserialize)]
struct Json {
    command: u32,
    sequence: u32,
    body: String,
}

fn main() {
    for (name, len) in PAYLOADS {
        let text: String = ('a'..='z').cycle().take(len).collect();
        frames(name, &text);
        protobuf(name, &text);
        json(name, &text);
    }
}

fn frames(name: &str, text: &str) {
    let mut codec = FrameCodec::new(Profile::Standard, PAYLOAD_MAX, Side::Server);
    let frame = Frame::request(Command(0x8001), 7, text.to_owned());
    let mut one = BytesMut::new();
    codec.encode(&frame, &mut one).expect("it is below the limit");
    let count = (BUFFER_BYTES / one.len()).max(1);
    let many = one.repeat(count);
    let mut buffer = BytesMut::new();
    report("frame_decode", name, text.len(), || {
        // A socket's read puts the bytes there; that is not the codec's work, but counts here.
        buffer.extend_from_slice(&many);
        let mut found = 0;
        while let Ok(Some(Decoded::Frame(frame))) = codec.decode(&mut buffer) {
            black_box(&frame);
            found += 1;
        }
        assert_eq!(found, count);
        count
    });
    let mut out = BytesMut::new();
    report("frame_encode", name, text.len(), || {
        out.clear();
        for _ in 0..count {
            codec.encode(black_box(&frame), &mut out).expect("it is below the limit");
        }
        count
    });
}

fn protobuf(name: &str, text: &str) {
    let message = Proto { command: 0x8001, sequence: 7, body: text.to_owned().into() };
    let encoded = Bytes::from(message.encode_to_vec());
    let count = (BUFFER_BYTES / encoded.len()).max(1);
    report("protobuf_decode", name, text.len(), || {
        for _ in 0..count {
            black_box(Proto::decode(black_box(encoded.clone())).expect("it was encoded here"));
        }
        count
    });
    let mut out = BytesMut::new();
    report("protobuf_encode", name, text.len(), || {
        out.clear();
        for _ in 0..count {
            black_box(&message).encode(&mut out).expect("the buffer grows");
        }
        count
    });
}

fn json(name: &str, text: &str) {
    let message = Json { command: 0x8001, sequence: 7, body: text.to_owned() };
    let encoded = serde_json::to_vec(&message).expect("numbers and a string are JSON");
    let count = (BUFFER_BYTES / encoded.len()).max(1);
    report("json_decode", name, text.len(), || {
        for _ in 0..count {
            black_box(serde_json::from_slice::<Json>(black_box(&encoded)).expect("it was encoded here"));
        }
        count
    });
    let mut out = Vec::new();
    report("json_encode", name, text.len(), || {
        out.clear();
        for _ in 0..count {
            serde_json::to_writer(&mut out, black_box(&message)).expect("a vector grows");
        }
        count
    });
}

/// Prints the best rate of some rounds of `work`, which gives the number of messages it did.
fn report(what: &str, payload: &str, len: usize, mut work: impl FnMut() -> usize) {
    work();
    let rate = (0..ROUNDS).map(|_| rate_of(&mut work)).fold(0.0, f64::max);
    println!("{what}_{payload}: {rate:.0} 1/s {:.2} GB/s", rate * len as f64 / 1e9);
}

fn rate_of(work: &mut impl FnMut() -> usize) -> f64 {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < ROUND {
        count += work();
    }
    count as f64 / start.elapsed().as_secs_f64()
}
