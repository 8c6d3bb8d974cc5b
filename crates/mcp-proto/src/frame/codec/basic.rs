//! The layout of `basic`. It has no checksum: after garbage, the next byte that looks like a magic is taken for one.

use bytes::{BufMut, BytesMut};

use super::{Broken, Start, standard::take};
use crate::frame::{Command, Frame, Kind};

/// The magic.
pub(super) const MAGIC: u8 = 0x4D;
/// The bit of the command that marks a response.
pub(super) const RESPONSE: u8 = 0x80;
/// Bytes of the header.
const HEAD: usize = 8;

/// What the start of a buffer is.
pub(super) fn start(bytes: &[u8], payload_bytes_max: usize) -> Start {
    match bytes.first() {
        None => return Start::Short(HEAD),
        Some(&MAGIC) => {}
        Some(_) => return Start::Stray,
    }
    let Some(head) = bytes.first_chunk::<HEAD>() else { return Start::Short(HEAD) };
    let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
    if length > payload_bytes_max {
        return Start::Refused(Broken::Oversize { length: length as u64, sequence: sequence_of(head) });
    }
    Start::Frame(HEAD + length)
}

/// Makes a frame of its bytes.
pub(super) fn read(bytes: &mut BytesMut, total: usize) -> Frame {
    let head = *bytes.first_chunk::<HEAD>().expect("the header is there: `start` found its length");
    let kind = if head[3] & RESPONSE == 0 { Kind::Request } else { Kind::Response };
    Frame {
        command: Command(u16::from(head[3] & !RESPONSE)),
        body: take(bytes, HEAD, total, 0),
        ..Frame::new(kind, sequence_of(&head))
    }
}

/// Appends a frame. Its numbers were checked.
pub(super) fn write(frame: &Frame, sequence: u16, command: u8, length: u32, bytes: &mut BytesMut) {
    bytes.put_u8(MAGIC);
    bytes.put_u16(sequence);
    bytes.put_u8(command);
    bytes.put_u32(length);
    bytes.put_slice(&frame.body);
}

fn sequence_of(head: &[u8; HEAD]) -> u32 {
    u32::from(u16::from_be_bytes([head[1], head[2]]))
}
