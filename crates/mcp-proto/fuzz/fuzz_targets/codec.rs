//! Any bytes, in any split, to the codec of the wire frame. The first byte chooses the profile, the second the side, the
//! third how the bytes are cut.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use mcp_proto::frame::{Broken, Decoded, Frame, FrameCodec, Profile, Side, hello, parse_error};
use tokio_util::codec::{Decoder, Encoder};

/// Largest payload, in bytes: small, so that lengths above it come up.
const PAYLOAD_MAX: usize = 4096;
/// Largest body after decompression, in bytes.
const INFLATED_MAX: usize = 64 * 1024;

fuzz_target!(|data: &[u8]| {
    let [profile, side, cut, bytes @ ..] = data else { return };
    let profile = Profile::ALL[usize::from(*profile) % Profile::ALL.len()];
    let side = if side % 2 == 0 { Side::Client } else { Side::Server };
    let whole = decode(profile, side, bytes, bytes.len().max(1));
    let pieces = decode(profile, side, bytes, usize::from(*cut) + 1);
    assert_eq!(whole, pieces, "the split changes what is decoded");
    for decoded in whole.into_iter().flatten() {
        if let Decoded::Frame(frame) = decoded {
            check(profile, side, frame);
        }
    }
});

/// What the bytes are when they come in pieces of `len`; `None` when the search was given up.
fn decode(profile: Profile, side: Side, bytes: &[u8], len: usize) -> Option<Vec<Decoded>> {
    let mut codec = FrameCodec::new(profile, PAYLOAD_MAX, side);
    let (mut buffer, mut found, mut used) = (BytesMut::new(), Vec::new(), 0);
    for piece in bytes.chunks(len) {
        buffer.extend_from_slice(piece);
        while let Some(decoded) = codec.decode(&mut buffer).ok()? {
            used += usize::from(matches!(decoded, Decoded::Frame(_)));
            found.push(comparable(decoded));
        }
        assert!(buffer.len() <= PAYLOAD_MAX + 20, "more is kept than a frame can have");
    }
    while let Some(decoded) = codec.decode_eof(&mut buffer).ok()? {
        used += usize::from(matches!(decoded, Decoded::Frame(_)));
        found.push(comparable(decoded));
    }
    assert!(codec.skipped_bytes() <= bytes.len() as u64 && used <= bytes.len());
    Some(found)
}

/// How many bytes were dropped at once depends on how many were there.
fn comparable(decoded: Decoded) -> Decoded {
    match decoded {
        Decoded::Broken(Broken::Magic { .. }) => Decoded::Broken(Broken::Magic { skipped: 0 }),
        other => other,
    }
}

/// A frame that was read can be written, and is the same when it is read again; its inside is read or refused.
fn check(profile: Profile, side: Side, frame: Frame) {
    let mut codec = FrameCodec::new(profile, PAYLOAD_MAX, side);
    let mut bytes = BytesMut::new();
    codec.encode(&frame, &mut bytes).expect("a frame that was read can be written");
    assert_eq!(codec.decode(&mut bytes).ok().flatten(), Some(Decoded::Frame(frame.clone())));
    if let Ok(metadata) = frame.metadata() {
        let same = Frame::new(frame.kind, 0).with_metadata(&metadata);
        assert_eq!(same.metadata().expect("written by us"), metadata);
        drop(metadata.timeout());
    }
    drop(hello::Hello::parse(&frame.body));
    drop(hello::HelloAck::parse(&frame.body));
    parse_error(&frame);
    if let Ok(inflated) = frame.inflate(INFLATED_MAX) {
        assert!(inflated.body.len() <= INFLATED_MAX.max(PAYLOAD_MAX));
    }
}
