//! The wire frame: requests, answers and events as length-prefixed binary frames over TCP or WebSocket.
//!
//! Three profiles share one model, [`Frame`], and one codec, [`FrameCodec`]: `standard` (everything), `compact` (small
//! devices) and `basic` (old ones). `docs/protocol/frame.md` has the bytes. There is no I/O here: the codec turns the
//! bytes of a buffer into frames, whatever way they were split, and frames into bytes.

mod codec;
mod command;
mod crc;
mod fault;
mod head;
pub mod hello;
mod metadata;
mod model;
mod zstd;

pub use codec::{Broken, Decoded, FrameCodec};
pub use command::Command;
pub use crc::checksum;
pub use fault::{error_body, parse_error};
pub use head::{BodyCodec, Flags, Kind, Profile, Side};
pub use metadata::{KEYS_MAX, METADATA_BYTES_MAX, Metadata};
pub use model::{Frame, MAJOR, VERSION};
