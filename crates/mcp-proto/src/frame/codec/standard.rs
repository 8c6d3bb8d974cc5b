//! The layout of `standard`.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Broken, Decoded, Start};
use crate::frame::{
    BodyCodec, Command, Flags, Frame, Kind,
    model::{MAJOR, METADATA_PREFIX},
};

/// Each byte of the magic.
pub(super) const MAGIC: u8 = 0xAA;
/// Bytes of the header.
const HEAD: usize = 18;
/// Bytes of the checksum.
pub(super) const TAIL: usize = 2;
/// Where the checksummed part starts.
pub(super) const SUMMED_FROM: usize = 2;

/// What the start of a buffer is. While the decoder searches (`is_lost`), only a header with nothing unknown in it counts
/// as one.
pub(super) fn start(bytes: &[u8], payload_bytes_max: usize, is_lost: bool) -> Start {
    match bytes {
        [] | [MAGIC] | [MAGIC, MAGIC] => return Start::Short(HEAD),
        [MAGIC, MAGIC, version, ..] if version >> 4 != MAJOR => {
            return Start::Refused(Broken::Version { major: version >> 4 });
        }
        [MAGIC, MAGIC, ..] => {}
        _ => return Start::Stray,
    }
    let Some(head) = bytes.first_chunk::<HEAD>() else { return Start::Short(HEAD) };
    if is_lost && (Kind::from_u8(head[3]).is_none() || BodyCodec::from_u8(head[5]).is_none()) {
        return Start::Stray;
    }
    let length = length_of(head);
    if length > payload_bytes_max {
        return Start::Refused(Broken::Oversize { length: length as u64, sequence: sequence_of(head) });
    }
    Start::Frame(HEAD + length + TAIL)
}

/// The sequence number of a header.
pub(super) fn sequence(bytes: &[u8]) -> u32 {
    bytes.first_chunk::<HEAD>().map_or(0, sequence_of)
}

/// Makes a frame of its bytes, whose checksum is right. The payload stays where it is.
pub(super) fn read(bytes: &mut BytesMut, total: usize) -> Decoded {
    let head = *bytes.first_chunk::<HEAD>().expect("the header is there: `start` found its length");
    let sequence = sequence_of(&head);
    let mut payload = take(bytes, HEAD, total, TAIL);
    let Some(kind) = Kind::from_u8(head[3]) else {
        return Decoded::Broken(Broken::Kind { kind: head[3], sequence });
    };
    let Some(codec) = BodyCodec::from_u8(head[5]) else {
        return Decoded::Broken(Broken::Codec { codec: head[5], sequence });
    };
    let flags = Flags(head[4]);
    let mut metadata = Bytes::new();
    if flags.has(Flags::METADATA) {
        let length = payload.first_chunk::<METADATA_PREFIX>().map(|prefix| usize::from(u16::from_be_bytes(*prefix)));
        let Some(end) = length.map(|length| METADATA_PREFIX + length).filter(|end| *end <= payload.len()) else {
            return Decoded::Broken(Broken::Metadata { sequence });
        };
        metadata = payload.split_to(end).slice(METADATA_PREFIX..);
    }
    Decoded::Frame(Frame {
        version: head[2],
        kind,
        flags,
        codec,
        command: Command(u16::from_be_bytes([head[6], head[7]])),
        destination: u16::from_be_bytes([head[8], head[9]]),
        sequence,
        metadata,
        body: payload,
    })
}

/// Takes the first `total` bytes and gives those between header and checksum, without copying them.
pub(super) fn take(bytes: &mut BytesMut, head: usize, total: usize, tail: usize) -> Bytes {
    let mut frame = bytes.split_to(total);
    if total == head + tail {
        return Bytes::new();
    }
    frame.truncate(total - tail);
    let frame = frame.freeze();
    frame.slice(head..)
}

/// Appends a frame but its checksum. The payload's length was checked.
pub(super) fn write(frame: &Frame, length: u32, bytes: &mut BytesMut) {
    let flags = if frame.has_block() { frame.flags.with(Flags::METADATA) } else { frame.flags };
    bytes.put_slice(&[MAGIC, MAGIC, frame.version, frame.kind.to_u8(), flags.0, frame.codec.to_u8()]);
    bytes.put_u16(frame.command.0);
    bytes.put_u16(frame.destination);
    bytes.put_u32(frame.sequence);
    bytes.put_u32(length);
    if frame.has_block() {
        #[expect(clippy::cast_possible_truncation, reason = "the encoder refused a longer block")]
        bytes.put_u16(frame.metadata.len() as u16);
        bytes.put_slice(&frame.metadata);
    }
    bytes.put_slice(&frame.body);
}

fn length_of(head: &[u8; HEAD]) -> usize {
    u32::from_be_bytes([head[14], head[15], head[16], head[17]]) as usize
}

fn sequence_of(head: &[u8; HEAD]) -> u32 {
    u32::from_be_bytes([head[10], head[11], head[12], head[13]])
}
