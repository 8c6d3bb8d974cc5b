//! The layout of `compact`.

use bytes::{BufMut, BytesMut};

use super::{
    Broken, Start,
    standard::{MAGIC, TAIL, take},
};
use crate::frame::{Command, Frame, Side};

/// Bytes of the header.
const HEAD: usize = 6;

/// What the start of a buffer is.
pub(super) fn start(bytes: &[u8], payload_bytes_max: usize) -> Start {
    match bytes {
        [] | [MAGIC] | [MAGIC, MAGIC] | [MAGIC, MAGIC, _] => Start::Short(HEAD),
        [MAGIC, MAGIC, _, length, ..] => {
            let length = usize::from(*length);
            if length > payload_bytes_max {
                return Start::Refused(Broken::Oversize { length: length as u64, sequence: 0 });
            }
            Start::Frame(HEAD + length + TAIL)
        }
        _ => Start::Stray,
    }
}

/// Makes a frame of its bytes, whose checksum is right.
pub(super) fn read(bytes: &mut BytesMut, total: usize, side: Side) -> Frame {
    let head = *bytes.first_chunk::<HEAD>().expect("the header is there: `start` found its length");
    Frame {
        command: Command(u16::from_be_bytes([head[4], head[5]])),
        destination: u16::from(head[2]),
        body: take(bytes, HEAD, total, TAIL),
        ..Frame::new(Frame::kind_read_by(side), 0)
    }
}

/// Appends a frame but its checksum. Address and length were checked.
pub(super) fn write(frame: &Frame, address: u8, length: u8, bytes: &mut BytesMut) {
    bytes.put_slice(&[MAGIC, MAGIC, address, length]);
    bytes.put_u16(frame.command.0);
    bytes.put_slice(&frame.body);
}
