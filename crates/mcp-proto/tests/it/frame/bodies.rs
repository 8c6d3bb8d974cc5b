//! What is inside frames: metadata, errors, hellos, compressed bodies.

use std::time::Duration;

use mcp_proto::{
    Code, Error,
    frame::{
        BodyCodec, Command, Flags, Frame, KEYS_MAX, Kind, Metadata,
        hello::{Hello, HelloAck},
        parse_error,
    },
};
use proptest::{collection::btree_map, prelude::*};

fn request(codec: BodyCodec) -> Frame {
    Frame::request(Command::CALL, 7, "{}").with_codec(codec)
}

proptest! {
    #[test]
    fn any_strings_survive_as_metadata(pairs in btree_map(".{0,12}", ".{0,20}", 0..10)) {
        let mut metadata = Metadata::new();
        for (key, value) in &pairs {
            metadata.set(key, value);
        }
        let frame = request(BodyCodec::Json).with_metadata(&metadata);
        prop_assert_eq!(frame.flags.has(Flags::METADATA), !pairs.is_empty());
        prop_assert_eq!(frame.metadata().unwrap(), metadata);
    }

    #[test]
    fn a_body_is_the_same_after_compression(body in prop::collection::vec(0_u8..4, 0..3000)) {
        let frame = Frame::request(Command::CALL, 1, body);
        let small = frame.clone().deflate();
        prop_assert!(small.body.len() <= frame.body.len());
        prop_assert_eq!(small.inflate(3000).unwrap(), frame);
    }
}

#[test]
fn metadata_that_is_not_an_object_of_strings_is_refused() {
    let many: Vec<String> = (0..=KEYS_MAX).map(|key| format!("\"{key}\":\"\"")).collect();
    let many = format!("{{{}}}", many.join(","));
    for block in ["[]", "{", "{\"a\":1}", "{\"a\":{}}", "{\"a\":\"1\",\"a\":\"2\"}", "{\"a\":\"\u{1}\"}", &many] {
        let error = Metadata::parse(block.as_bytes()).unwrap_err();
        assert_eq!(error.code(), Code::MalformedBody, "{block}");
    }
    assert_eq!(Metadata::parse(b"\xff").unwrap_err().code(), Code::MalformedBody);
}

#[test]
fn a_timeout_is_a_whole_number_of_milliseconds() {
    assert_eq!(Metadata::new().timeout().unwrap(), None);
    let with = |text| Metadata::new().with(Metadata::TIMEOUT_MS, text);
    assert_eq!(with("3000").timeout().unwrap(), Some(Duration::from_secs(3)));
    for text in ["", "-1", "1.5", "3s"] {
        assert_eq!(with(text).timeout().unwrap_err().code(), Code::InvalidArgument, "{text}");
    }
}

#[test]
fn an_error_crosses_in_the_codec_of_the_request() {
    let error = Error::invalid("task.name", "must not be empty")
        .with_retry_after(Duration::from_millis(1500))
        .with_metadata("queue", "builds");
    for (asked, codec) in [
        (BodyCodec::Json, BodyCodec::Json),
        (BodyCodec::Protobuf, BodyCodec::Protobuf),
        (BodyCodec::Raw, BodyCodec::Json),
    ] {
        let frame = Frame::error_to(&request(asked), &error);
        assert_eq!((frame.kind, frame.codec, frame.sequence), (Kind::Error, codec, 7));
        assert_eq!(parse_error(&frame), error, "{asked}");
    }
}

#[test]
fn an_error_that_cannot_be_read_is_one_all_the_same() {
    for (codec, body) in [(BodyCodec::Json, "no"), (BodyCodec::Json, "{}"), (BodyCodec::Protobuf, "\u{1}")] {
        let frame = Frame { body: body.into(), codec, ..Frame::new(Kind::Error, 1) };
        assert_eq!(parse_error(&frame).code(), Code::Internal, "{codec}: {body}");
    }
}

#[test]
fn hellos_are_read_with_fields_that_nobody_knows_yet() {
    let hello = Hello::parse(br#"{"client":"a/1","codecs":["cbor","protobuf"],"resume":"s","future":1}"#).unwrap();
    assert_eq!((hello.client.as_str(), hello.resume.as_str(), hello.codec()), ("a/1", "s", BodyCodec::Protobuf));
    assert_eq!(Hello::parse(b"").unwrap().codec(), BodyCodec::Json);
    assert_eq!(Hello::parse(b"[").unwrap_err().code(), Code::MalformedBody);
    let ack = HelloAck {
        session: "s".to_owned(),
        codec: "json".to_owned(),
        ping_interval_ms: 30_000,
        idle_timeout_ms: 90_000,
        max_frame: 1024,
    };
    let frame = ack.to_frame(&hello.to_frame(5));
    assert_eq!((frame.kind, frame.sequence), (Kind::HelloAck, 5));
    assert_eq!(HelloAck::parse(&frame.body).unwrap(), ack);
}

#[test]
fn a_compressed_body_is_bounded_and_checked() {
    let bomb = Frame::request(Command::CALL, 1, vec![0; 1_000_000]).deflate();
    assert!(bomb.flags.has(Flags::ZSTD) && bomb.body.len() < 10_000);
    assert_eq!(bomb.clone().inflate(999_999).unwrap_err().code(), Code::PayloadTooLarge);
    assert_eq!(bomb.inflate(1_000_000).unwrap().body.len(), 1_000_000);
    let garbage = Frame::request(Command::CALL, 1, "garbage").with_flags(Flags::ZSTD);
    assert_eq!(garbage.inflate(100).unwrap_err().code(), Code::MalformedBody);
}

#[test]
fn commands_have_names_that_lead_back() {
    for &(command, name) in Command::ALL {
        assert_eq!((command.name(), Command::from_name(name)), (Some(name), Some(command)));
        assert!(!command.is_user());
    }
    assert!(Command(0x8000).is_user() && Command(0xffff).is_user() && !Command(0x7fff).is_user());
    assert_eq!(Command(0x8001).to_string(), "0x8001");
}
