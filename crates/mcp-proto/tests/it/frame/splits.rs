//! Any split, any glue, any garbage between frames.

use bytes::Bytes;
use mcp_proto::frame::{BodyCodec, Broken, Command, Decoded, Flags, Frame, FrameCodec, Kind, Profile, Side};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{decode_all, decode_pieces, encode};

/// Largest payload that is allowed in these tests, in bytes. Small, so that headers in garbage are refused, too.
const PAYLOAD_MAX: usize = 2048;

fn codec(profile: Profile) -> FrameCodec {
    FrameCodec::new(profile, PAYLOAD_MAX, Side::Server)
}

fn body(len: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..len).prop_map(|bytes| bytes.into_iter().map(header_like).collect())
}

/// Makes many bytes parts of headers.
fn header_like(byte: u8) -> u8 {
    match byte {
        ..60 => 0xAA,
        60..90 => 0x10,
        90..110 => 0x4D,
        110..130 => 0,
        other => other,
    }
}

fn standard() -> impl Strategy<Value = Frame> {
    let small = (0_u8..16, select(&Kind::ALL[..]), any::<u8>(), select(&BodyCodec::ALL[..]));
    (small, any::<u16>(), any::<u16>(), any::<u32>(), body(30), body(60)).prop_map(
        |((minor, kind, flags, codec), command, destination, sequence, block, body)| {
            let flags = Flags(flags);
            Frame {
                version: 0x10 | minor,
                kind,
                flags,
                codec,
                command: Command(command),
                destination,
                sequence,
                metadata: if flags.has(Flags::METADATA) { block } else { Bytes::new() },
                body,
            }
        },
    )
}

fn compact() -> impl Strategy<Value = Frame> {
    (any::<u8>(), any::<u16>(), body(60)).prop_map(|(address, command, body)| {
        Frame::request(Command(command), 0, body).with_destination(u16::from(address))
    })
}

fn basic() -> impl Strategy<Value = Frame> {
    (any::<u16>(), 0_u16..128, body(60), any::<bool>()).prop_map(|(sequence, command, body, is_response)| Frame {
        kind: if is_response { Kind::Response } else { Kind::Request },
        ..Frame::request(Command(command), u32::from(sequence), body)
    })
}

fn frame_of(profile: Profile) -> BoxedStrategy<Frame> {
    match profile {
        Profile::Standard => standard().boxed(),
        Profile::Compact => compact().boxed(),
        Profile::Basic => basic().boxed(),
    }
}

/// Bytes that are no frame. `basic` has no checksum, so that a magic in garbage would be taken for one; and the checksum
/// of zeros is zero, so that a header of zeros is a frame of `compact`.
fn garbage(profile: Profile) -> BoxedStrategy<Vec<u8>> {
    match profile {
        Profile::Standard => body(80).prop_map(Vec::from).boxed(),
        Profile::Compact => body(80).prop_map(|bytes| bytes.iter().map(|byte| (*byte).max(1)).collect()).boxed(),
        Profile::Basic => body(80).prop_map(|bytes| bytes.iter().map(|byte| byte & !0x40).collect()).boxed(),
    }
}

/// A stream: what comes before each frame, and the frame.
fn stream() -> impl Strategy<Value = (Profile, Vec<(Vec<u8>, Frame)>)> {
    select(&Profile::ALL[..]).prop_flat_map(|profile| {
        let noise = prop::option::of(garbage(profile)).prop_map(Option::unwrap_or_default);
        (Just(profile), vec((noise, frame_of(profile)), 0..6))
    })
}

fn bytes_of(profile: Profile, parts: &[(Vec<u8>, Frame)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (garbage, frame) in parts {
        bytes.extend_from_slice(garbage);
        bytes.extend_from_slice(&encode(&mut codec(profile), frame));
    }
    bytes
}

fn frames(found: Vec<Decoded>) -> Vec<Frame> {
    let frame = |decoded| match decoded {
        Decoded::Frame(frame) => Some(frame),
        Decoded::Broken(_) => None,
    };
    found.into_iter().filter_map(frame).collect()
}

/// How many bytes were dropped at once depends on how many were there; everything else must not.
fn without_count(decoded: Decoded) -> Decoded {
    match decoded {
        Decoded::Broken(Broken::Magic { .. }) => Decoded::Broken(Broken::Magic { skipped: 0 }),
        other => other,
    }
}

fn pieces<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_split_and_glue_decodes_the_same((profile, parts) in stream(), cuts in vec(any::<prop::sample::Index>(), 0..10)) {
        let bytes = bytes_of(profile, &parts);
        let (mut whole, mut cut, mut single) = (codec(profile), codec(profile), codec(profile));
        let expected: Vec<Decoded> = decode_all(&mut whole, &bytes).into_iter().map(without_count).collect();
        let split: Vec<Decoded> =
            decode_pieces(&mut cut, pieces(&bytes, &cuts)).into_iter().map(without_count).collect();
        let by_byte: Vec<Decoded> =
            decode_pieces(&mut single, bytes.chunks(1)).into_iter().map(without_count).collect();
        prop_assert_eq!(&split, &expected);
        prop_assert_eq!(&by_byte, &expected);
        prop_assert_eq!(cut.skipped_bytes(), whole.skipped_bytes());
        prop_assert_eq!(single.skipped_bytes(), whole.skipped_bytes());
    }

    #[test]
    fn garbage_between_frames_costs_no_frame((profile, parts) in stream()) {
        let found = decode_all(&mut codec(profile), &bytes_of(profile, &parts));
        let sent: Vec<Frame> = parts.iter().map(|(_, frame)| frame.clone()).collect();
        prop_assert_eq!(frames(found), sent);
    }

    #[test]
    fn a_run_of_garbage_is_reported_once((profile, parts) in stream()) {
        let found = decode_all(&mut codec(profile), &bytes_of(profile, &parts));
        let is_report = |decoded: &Decoded| matches!(decoded, Decoded::Broken(_));
        for two in found.windows(2) {
            prop_assert!(!(is_report(&two[0]) && is_report(&two[1])), "{:?}", two);
        }
        let runs = parts.iter().filter(|(garbage, _)| !garbage.is_empty()).count();
        prop_assert_eq!(found.iter().filter(|decoded| is_report(decoded)).count(), runs);
    }

    #[test]
    fn a_broken_frame_costs_only_itself(
        profile in select(&[Profile::Standard, Profile::Compact][..]),
        seed in vec((any::<prop::sample::Index>(), 1_u8..=255, any::<bool>()), 1..5),
        all in vec((standard(), compact()), 5),
    ) {
        let (mut bytes, mut whole) = (Vec::new(), Vec::new());
        for ((at, change, is_broken), (standard, compact)) in seed.into_iter().zip(all) {
            let frame = if profile == Profile::Standard { standard } else { compact };
            let mut encoded = encode(&mut codec(profile), &frame);
            if is_broken {
                let at = at.index(encoded.len());
                encoded[at] ^= change;
            } else {
                whole.push(frame);
            }
            bytes.extend_from_slice(&encoded);
        }
        prop_assert_eq!(frames(decode_all(&mut codec(profile), &bytes)), whole);
    }

    #[test]
    fn no_bytes_make_it_panic(profile in select(&Profile::ALL[..]), bytes in body(1000)) {
        decode_all(&mut codec(profile), &bytes);
    }
}
