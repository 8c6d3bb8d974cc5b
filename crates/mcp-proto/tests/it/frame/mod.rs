//! The codec of the wire frame: fixed bytes, any split, any garbage, every limit.

mod allocations;
mod bodies;
mod golden;
mod limits;
mod python;
mod splits;
mod vectors;

use bytes::BytesMut;
use mcp_proto::frame::{Decoded, Frame, FrameCodec};
use tokio_util::codec::{Decoder, Encoder};

/// Largest payload in these tests, in bytes.
const PAYLOAD_MAX: usize = 16 * 1024 * 1024;

/// Decodes bytes that arrive in the given pieces until the end of the stream.
fn decode_pieces<'a>(codec: &mut FrameCodec, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Decoded> {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(decoded) = codec.decode(&mut buffer).unwrap() {
            found.push(decoded);
        }
    }
    while let Some(decoded) = codec.decode_eof(&mut buffer).unwrap() {
        found.push(decoded);
    }
    found
}

fn decode_all(codec: &mut FrameCodec, bytes: &[u8]) -> Vec<Decoded> {
    decode_pieces(codec, [bytes])
}

fn encode(codec: &mut FrameCodec, frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    codec.encode(frame, &mut bytes).unwrap();
    bytes
}
