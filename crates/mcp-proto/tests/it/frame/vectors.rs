//! Reads the files of golden vectors; their form is told at their beginning.

use bytes::Bytes;
use mcp_proto::frame::{BodyCodec, Command, Flags, Frame, Kind, Profile, Side};

/// A vector of a file.
pub(super) struct Vector {
    pub(super) name: String,
    pub(super) reader: Side,
    pub(super) bytes: Vec<u8>,
    pub(super) expected: Expected,
    pub(super) inflated: Option<String>,
}

/// What the bytes are.
pub(super) enum Expected {
    Frame(Frame),
    Broken(String),
}

pub(super) fn read(profile: Profile) -> Vec<Vector> {
    let text = match profile {
        Profile::Standard => include_str!("../../golden/standard.txt"),
        Profile::Compact => include_str!("../../golden/compact.txt"),
        Profile::Basic => include_str!("../../golden/basic.txt"),
    };
    let text = text.replace("\n  ", " ");
    text.split("\n\n").skip(1).map(vector).collect()
}

fn vector(block: &str) -> Vector {
    let get = |key: &str| {
        let of_line = |line: &'_ str| line.strip_prefix(key)?.strip_prefix(": ").map(str::to_owned);
        block.lines().find_map(of_line)
    };
    let number = |key: &str, radix| get(key).map_or(0, |text| u32::from_str_radix(&text, radix).unwrap());
    let expected = match get("broken") {
        Some(broken) => Expected::Broken(broken),
        None => Expected::Frame(Frame {
            version: get("version").map_or(0x10, |_| number("version", 16).try_into().unwrap()),
            kind: Kind::ALL.into_iter().find(|kind| Some(kind.name()) == get("kind").as_deref()).unwrap(),
            flags: Flags(number("flags", 16).try_into().unwrap()),
            codec: get("codec").map_or(BodyCodec::Raw, |name| BodyCodec::from_name(&name).unwrap()),
            command: Command(number("command", 16).try_into().unwrap()),
            destination: number("destination", 10).try_into().unwrap(),
            sequence: number("sequence", 10),
            metadata: get("metadata").unwrap_or_default().into(),
            body: get("text").map_or_else(|| get("body").map(|hex| unhex(&hex)).unwrap_or_default(), Bytes::from),
        }),
    };
    Vector {
        name: get("name").unwrap(),
        reader: if get("read by").is_some_and(|side| side == "client") { Side::Client } else { Side::Server },
        bytes: get("bytes").map(|hex| unhex(&hex).to_vec()).unwrap(),
        expected,
        inflated: get("inflated"),
    }
}

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u32> = text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}
