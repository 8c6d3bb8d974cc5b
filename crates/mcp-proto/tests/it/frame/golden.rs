//! The bytes of every profile, fixed in files that programs in other languages read, too.

use mcp_proto::frame::{Decoded, Frame, FrameCodec, Kind, Profile, Side, checksum};

use super::{
    PAYLOAD_MAX, decode_all, encode,
    vectors::{self, Expected},
};

#[test]
fn every_vector_is_read_as_its_file_says() {
    for profile in Profile::ALL {
        for vector in vectors::read(profile) {
            let mut codec = FrameCodec::new(profile, PAYLOAD_MAX, vector.reader);
            let found = decode_all(&mut codec, &vector.bytes);
            match (&vector.expected, found.first()) {
                (Expected::Frame(expected), Some(Decoded::Frame(frame))) => {
                    assert_eq!(frame, expected, "{profile}: {}", vector.name);
                }
                (Expected::Broken(name), Some(Decoded::Broken(broken))) => {
                    assert_eq!(broken.name(), name, "{profile}: {}", vector.name);
                }
                _ => panic!("{profile}: {}: found {found:?}", vector.name),
            }
            assert_eq!(found.len(), 1, "{profile}: {}: found {found:?}", vector.name);
        }
    }
}

#[test]
fn every_frame_is_written_as_its_file_says() {
    for profile in Profile::ALL {
        let mut written = 0;
        for vector in vectors::read(profile) {
            let Expected::Frame(frame) = &vector.expected else { continue };
            let writer = if vector.reader == Side::Server { Side::Client } else { Side::Server };
            let bytes = encode(&mut FrameCodec::new(profile, PAYLOAD_MAX, writer), frame);
            assert_eq!(bytes, vector.bytes, "{profile}: {}", vector.name);
            written += 1;
        }
        assert!(written >= 4, "{profile}: only {written} vectors");
    }
}

#[test]
fn a_vector_that_is_compressed_inflates() {
    let mut inflated = 0;
    for vector in vectors::read(Profile::Standard) {
        let (Expected::Frame(frame), Some(text)) = (vector.expected, vector.inflated) else { continue };
        assert_eq!(frame.inflate(PAYLOAD_MAX).unwrap().body, text, "{}", vector.name);
        inflated += 1;
    }
    assert_eq!(inflated, 1);
}

#[test]
fn vectors_cover_every_kind() {
    let kinds = |vector: vectors::Vector| match vector.expected {
        Expected::Frame(frame) => Some(frame.kind),
        Expected::Broken(_) => None,
    };
    let covered: Vec<Kind> = vectors::read(Profile::Standard).into_iter().filter_map(kinds).collect();
    for kind in Kind::ALL {
        assert!(covered.contains(&kind), "no vector of kind {kind}");
    }
}

#[test]
fn the_answers_of_the_specification_are_right() {
    assert_eq!(checksum(b"123456789"), 0x31c3);
    let mut codec = FrameCodec::new(Profile::Standard, PAYLOAD_MAX, Side::Client);
    let ping = encode(&mut codec, &Frame::new(Kind::Ping, 1));
    assert_eq!(ping[..], [0xaa, 0xaa, 0x10, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x5f, 0x30]);
}
