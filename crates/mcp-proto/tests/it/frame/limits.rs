//! Every bound of the codec, and what lies beyond it.

use std::io::ErrorKind;

use bytes::{Bytes, BytesMut};
use mcp_proto::frame::{Broken, Command, Decoded, Frame, FrameCodec, Kind, Metadata, Profile, Side};
use tokio_util::codec::{Decoder, Encoder};

use super::{PAYLOAD_MAX, decode_all, encode};

fn standard() -> FrameCodec {
    FrameCodec::new(Profile::Standard, PAYLOAD_MAX, Side::Server)
}

fn request(body: Bytes) -> Frame {
    Frame::request(Command(0x8001), 1, body)
}

#[test]
fn a_payload_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
    for profile in [Profile::Standard, Profile::Basic] {
        let mut small = FrameCodec::new(profile, 100, Side::Server);
        let frame = Frame::request(Command(1), 1, vec![7; 100]);
        let bytes = encode(&mut small, &frame);
        assert_eq!(decode_all(&mut small, &bytes), [Decoded::Frame(frame)]);

        let larger = Frame::request(Command(1), 1, vec![7; 101]);
        assert_eq!(small.encode(&larger, &mut BytesMut::new()).unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut bytes = encode(&mut FrameCodec::new(profile, 101, Side::Client), &larger);
        let found = small.decode(&mut bytes).unwrap().unwrap();
        assert_eq!(found, Decoded::Broken(Broken::Oversize { length: 101, sequence: 1 }));
    }
}

#[test]
fn room_is_made_for_what_arrived_and_not_for_what_was_said() {
    let frame = encode(&mut standard(), &request(vec![1; PAYLOAD_MAX].into()));
    let mut buffer = BytesMut::from(&frame[..100]);
    assert_eq!(standard().decode(&mut buffer).unwrap(), None);
    assert!(buffer.capacity() < 64 * 1024, "{} bytes for a frame of which 100 are here", buffer.capacity());
}

#[test]
fn payload_and_metadata_are_slices_of_what_arrived() {
    let metadata = Metadata::new().with("method", "/a.B/C");
    let mut buffer = encode(&mut standard(), &request(vec![1; 500].into()).with_metadata(&metadata));
    let area = buffer.as_ptr_range();
    let Some(Decoded::Frame(frame)) = standard().decode(&mut buffer).unwrap() else { panic!("no frame") };
    assert!(area.contains(&frame.body.as_ptr()) && area.contains(&frame.metadata.as_ptr()));
}

#[test]
fn a_flood_of_headers_ends_the_search_instead_of_costing_its_square() {
    // Each header promises nearly all that follows, and none has the right checksum.
    let head = encode(&mut standard(), &request(vec![0; 1_700_000].into()));
    let flood = head[..18].repeat(100_000);
    let mut buffer = BytesMut::from(&flood[..]);
    let mut codec = standard();
    let error = loop {
        match codec.decode(&mut buffer) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("all of it was searched"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(codec.skipped_bytes() < 18 * 100, "{} bytes were searched", codec.skipped_bytes());
}

#[test]
fn a_newer_minor_version_is_served_and_another_major_is_refused() {
    let mut frame = Frame::new(Kind::Ping, 1);
    frame.version = 0x1f;
    let bytes = encode(&mut standard(), &frame);
    assert_eq!(decode_all(&mut standard(), &bytes), [Decoded::Frame(frame.clone())]);
    for major in [0, 2, 15] {
        frame.version = major << 4;
        let bytes = encode(&mut standard(), &frame);
        assert_eq!(decode_all(&mut standard(), &bytes), [Decoded::Broken(Broken::Version { major })]);
    }
}

#[test]
fn a_frame_of_an_unknown_kind_or_codec_is_passed_over() {
    for (at, broken) in [(3, Broken::Kind { kind: 200, sequence: 1 }), (5, Broken::Codec { codec: 200, sequence: 1 })] {
        let mut bytes = encode(&mut standard(), &request(Bytes::from_static(b"x")));
        bytes[at] = 200;
        let end = bytes.len() - 2;
        let sum = mcp_proto::frame::checksum(&bytes[2..end]).to_be_bytes();
        bytes[end..].copy_from_slice(&sum);
        let next = Frame::new(Kind::Ping, 2);
        bytes.extend_from_slice(&encode(&mut standard(), &next));
        assert_eq!(decode_all(&mut standard(), &bytes), [Decoded::Broken(broken), Decoded::Frame(next)]);
    }
}

#[test]
fn what_a_profile_cannot_say_is_refused_and_nothing_is_written() {
    let block = Metadata::new().with("method", "/a.B/C");
    let long = Metadata::new().with("key", "x".repeat(70_000));
    let cases = [
        (Profile::Standard, request(Bytes::new()).with_metadata(&long)),
        (Profile::Compact, request(vec![0; 256].into())),
        (Profile::Compact, request(Bytes::new()).with_destination(256)),
        (Profile::Compact, request(Bytes::new()).with_metadata(&block)),
        (Profile::Compact, Frame::new(Kind::Ping, 0)),
        (Profile::Basic, Frame::request(Command(128), 1, Bytes::new())),
        (Profile::Basic, Frame::request(Command(1), 65_536, Bytes::new())),
        (Profile::Basic, Frame::request(Command(1), 1, Bytes::new()).with_metadata(&block)),
        (Profile::Basic, Frame::new(Kind::Event, 0)),
    ];
    for (profile, frame) in cases {
        let mut bytes = BytesMut::from(&b"before"[..]);
        let error = FrameCodec::new(profile, PAYLOAD_MAX, Side::Client).encode(&frame, &mut bytes).unwrap_err();
        assert_eq!((error.kind(), &bytes[..]), (ErrorKind::InvalidInput, &b"before"[..]), "{profile}: {frame:?}");
    }
}

#[test]
fn a_message_is_one_frame() {
    let frame = request(Bytes::from_static(b"x"));
    let bytes = encode(&mut standard(), &frame);
    let mut codec = standard();
    let two = [&bytes[..], &bytes[..]].concat();
    for wrong in [&bytes[..bytes.len() - 1], &two, b"", b"hello"] {
        let found = codec.decode_message(&mut BytesMut::from(wrong)).unwrap();
        assert!(matches!(found, Decoded::Broken(_)), "{wrong:?}: {found:?}");
        assert_eq!(codec.decode_message(&mut bytes.clone()).unwrap(), Decoded::Frame(frame.clone()));
    }
}

#[test]
fn the_side_says_what_a_compact_frame_is() {
    let bytes = encode(&mut FrameCodec::new(Profile::Compact, 255, Side::Client), &Frame::request(Command(1), 0, "x"));
    for (side, kind) in [(Side::Server, Kind::Request), (Side::Client, Kind::Response)] {
        let found = decode_all(&mut FrameCodec::new(Profile::Compact, 255, side), &bytes);
        assert!(matches!(&found[..], [Decoded::Frame(frame)] if frame.kind == kind), "{side:?}: {found:?}");
    }
}
