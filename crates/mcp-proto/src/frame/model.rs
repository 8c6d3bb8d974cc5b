//! One frame, whatever its profile.

use bytes::Bytes;

use super::{
    command::Command,
    head::{BodyCodec, Flags, Kind, Side},
    metadata::Metadata,
};
use crate::Error;

/// The version that is spoken: major in the high nibble, minor in the low one.
pub const VERSION: u8 = 0x10;

/// The major version that is spoken.
pub const MAJOR: u8 = VERSION >> 4;

/// A frame.
///
/// The fields that a profile does not have are zero: `compact` has the address in `destination`, no sequence number, and
/// is a request or a response by its direction; `basic` has a sequence number of 16 bits and a command of 7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Version of the sender; [`VERSION`] unless its minor is newer.
    pub version: u8,
    /// What it is for.
    pub kind: Kind,
    /// Metadata, streaming, compression; unknown bits are kept.
    pub flags: Flags,
    /// What form the body has.
    pub codec: BodyCodec,
    /// Which call it is.
    pub command: Command,
    /// Logical address of the receiver; 0 is the server.
    pub destination: u16,
    /// Chosen by who asks and copied into every answer; 0 on frames that want none.
    pub sequence: u32,
    /// The metadata block (JSON), without its length; empty if there is none.
    pub metadata: Bytes,
    /// The body; compressed when [`Flags::ZSTD`] is set.
    pub body: Bytes,
}

impl Frame {
    /// A frame of a kind without a body.
    pub const fn new(kind: Kind, sequence: u32) -> Self {
        Self {
            version: VERSION,
            kind,
            flags: Flags::NONE,
            codec: BodyCodec::Raw,
            command: Command::CALL,
            destination: 0,
            sequence,
            metadata: Bytes::new(),
            body: Bytes::new(),
        }
    }

    /// A request with a raw body.
    pub fn request(command: Command, sequence: u32, body: impl Into<Bytes>) -> Self {
        Self { command, body: body.into(), ..Self::new(Kind::Request, sequence) }
    }

    /// An answer to a frame: the same sequence number, command, address and codec.
    pub fn reply_to(asked: &Self, kind: Kind, body: impl Into<Bytes>) -> Self {
        Self {
            command: asked.command,
            codec: asked.codec,
            destination: asked.destination,
            body: body.into(),
            ..Self::new(kind, asked.sequence)
        }
    }

    /// Puts pairs beside the body.
    #[must_use]
    pub fn with_metadata(mut self, metadata: &Metadata<'_>) -> Self {
        self.metadata = metadata.to_block();
        self.flags = match self.metadata.is_empty() {
            true => self.flags.without(Flags::METADATA),
            false => self.flags.with(Flags::METADATA),
        };
        self
    }

    /// Says what form the body has.
    #[must_use]
    pub const fn with_codec(mut self, codec: BodyCodec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets bits of the flags.
    #[must_use]
    pub const fn with_flags(mut self, flags: Flags) -> Self {
        self.flags = self.flags.with(flags);
        self
    }

    /// Sets the receiver's address.
    #[must_use]
    pub const fn with_destination(mut self, destination: u16) -> Self {
        self.destination = destination;
        self
    }

    /// The pairs beside the body.
    ///
    /// # Errors
    /// `MALFORMED_BODY` when the block is not a JSON object of strings.
    pub fn metadata(&self) -> Result<Metadata<'_>, Error> {
        Metadata::parse(&self.metadata)
    }

    /// True when more frames of the same response follow.
    pub const fn has_more(&self) -> bool {
        self.flags.has(Flags::MORE)
    }

    /// Bytes of the payload in the `standard` profile: the metadata block with its length, and the body.
    pub(super) fn payload_len(&self) -> usize {
        self.block_len() + self.body.len()
    }

    /// Bytes of the metadata block with its length; 0 without one.
    pub(super) fn block_len(&self) -> usize {
        if self.has_block() { METADATA_PREFIX + self.metadata.len() } else { 0 }
    }

    /// True when a metadata block goes on the wire.
    pub(super) fn has_block(&self) -> bool {
        !self.metadata.is_empty() || self.flags.has(Flags::METADATA)
    }

    /// What a frame of a profile that does not say it is, read at this end.
    pub(super) const fn kind_read_by(side: Side) -> Kind {
        match side {
            Side::Client => Kind::Response,
            Side::Server => Kind::Request,
        }
    }
}

/// Bytes of the length before a metadata block.
pub(super) const METADATA_PREFIX: usize = 2;
