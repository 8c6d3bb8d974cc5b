//! Bytes to frames and back, by any profile.
//!
//! The decoder finds every whole frame with a right checksum, however the bytes were split and whatever lies between
//! the frames. What it cannot use it reports once and then looks, silently, for the next frame: one burst of garbage is
//! one report. Where that search starts, and so what is reported, depends on the bytes only, never on how they arrived.

mod basic;
mod compact;
mod decode;
mod encode;
mod standard;

use super::{
    head::{Profile, Side},
    model::Frame,
};

/// One step of the decoder's progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    /// A frame.
    Frame(Frame),
    /// Bytes that are none. The decoder goes on behind them.
    Broken(Broken),
}

/// What was wrong with bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// The checksum does not fit.
    Crc {
        /// The sequence number of the header, which may be the wrong part.
        sequence: u32,
    },
    /// There is no frame where one should begin.
    Magic {
        /// Bytes dropped when it was noticed. How many there were in all is in [`FrameCodec::skipped_bytes`].
        skipped: usize,
    },
    /// The frame is larger than the limit: answer, then close.
    Oversize {
        /// The length that the header says.
        length: u64,
        /// The header's sequence number.
        sequence: u32,
    },
    /// The frame is of another major version: answer with a GOAWAY, then close.
    Version {
        /// That version.
        major: u8,
    },
    /// A whole frame of an unknown kind.
    Kind {
        /// The number of the kind.
        kind: u8,
        /// Its sequence number.
        sequence: u32,
    },
    /// A whole frame whose body is in an unknown codec.
    Codec {
        /// The number of the codec.
        codec: u8,
        /// Its sequence number.
        sequence: u32,
    },
    /// A whole frame whose metadata block is longer than its payload.
    Metadata {
        /// Its sequence number.
        sequence: u32,
    },
}

impl Broken {
    /// True when nothing more should be read from the peer.
    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::Oversize { .. } | Self::Version { .. })
    }

    /// The sequence number to answer with; 0 when none was read.
    pub const fn sequence(self) -> u32 {
        match self {
            Self::Crc { sequence }
            | Self::Oversize { sequence, .. }
            | Self::Kind { sequence, .. }
            | Self::Codec { sequence, .. }
            | Self::Metadata { sequence } => sequence,
            Self::Magic { .. } | Self::Version { .. } => 0,
        }
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Crc { .. } => "crc",
            Self::Magic { .. } => "magic",
            Self::Oversize { .. } => "oversize",
            Self::Version { .. } => "version",
            Self::Kind { .. } => "kind",
            Self::Codec { .. } => "codec",
            Self::Metadata { .. } => "metadata",
        }
    }
}

/// A pair of decoder and encoder for one end of one connection.
#[derive(Debug, Clone)]
pub struct FrameCodec {
    profile: Profile,
    payload_bytes_max: usize,
    side: Side,
    search: Search,
}

/// Where the decoder stands when it is not between two frames.
#[derive(Debug, Clone, Copy, Default)]
struct Search {
    /// Garbage was reported and no frame found since.
    is_lost: bool,
    /// Bytes whose checksum was computed in vain since then.
    checked_bytes: usize,
    /// Bytes dropped in all.
    skipped_bytes: u64,
}

impl FrameCodec {
    /// Frames of a profile whose payload has at most `payload_bytes_max` bytes, for one end of a connection.
    pub fn new(profile: Profile, payload_bytes_max: usize, side: Side) -> Self {
        Self {
            profile,
            payload_bytes_max: payload_bytes_max.min(profile.payload_bytes_max()),
            side,
            search: Search::default(),
        }
    }

    /// The profile.
    pub const fn profile(&self) -> Profile {
        self.profile
    }

    /// Bytes dropped so far because they were no part of a frame.
    pub const fn skipped_bytes(&self) -> u64 {
        self.search.skipped_bytes
    }
}

/// What the start of a buffer is, by one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// Perhaps a frame: so many bytes are needed to know more.
    Short(usize),
    /// No frame.
    Stray,
    /// A header that cannot be served and whose length cannot be relied on.
    Refused(Broken),
    /// A header that a frame of this many bytes belongs to.
    Frame(usize),
}
