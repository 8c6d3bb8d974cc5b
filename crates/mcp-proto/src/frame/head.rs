//! The small fields of a frame's header, and which form the bytes have.

use std::fmt;

/// Which form frames have on a connection. It is set for a listener, never guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// Every kind, metadata, streams, 32-bit sequence numbers, checksum.
    Standard,
    /// Requests and responses of at most 255 bytes, with checksum, for small devices.
    Compact,
    /// Requests and responses without checksum.
    Basic,
}

impl Profile {
    /// Every profile.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Compact, Self::Basic];

    /// Its name in settings, metrics and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Compact => "compact",
            Self::Basic => "basic",
        }
    }

    /// True when frames of this kind exist in the profile.
    pub const fn has(self, kind: Kind) -> bool {
        matches!(self, Self::Standard) || matches!(kind, Kind::Request | Kind::Response)
    }

    /// The largest payload that the profile can say, in bytes.
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Self::Standard | Self::Basic => u32::MAX as usize,
            Self::Compact => u8::MAX as usize,
        }
    }

    /// The largest sequence number that the profile can say; 0 when it has none and answers come in order.
    pub const fn sequence_max(self) -> u32 {
        match self {
            Self::Standard => u32::MAX,
            Self::Compact => 0,
            Self::Basic => u16::MAX as u32,
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which end of a connection a codec works for. In `compact`, where frames do not say it, what a server reads is a
/// request and what a client reads is a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The end that asks.
    Client,
    /// The end that answers.
    Server,
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Wants an answer with the same sequence number.
    Request = 0,
    /// Answers a request; with [`Flags::MORE`], more answers follow.
    Response = 1,
    /// Wants no answer.
    Notification = 2,
    /// A message of a topic that was subscribed to.
    Event = 3,
    /// Asks for a topic's messages.
    Subscribe = 4,
    /// Ends that.
    Unsubscribe = 5,
    /// Asks whether the other end is there.
    Ping = 6,
    /// It is.
    Pong = 7,
    /// Opens a session.
    Hello = 8,
    /// Answers with the session's terms.
    HelloAck = 9,
    /// Says why a request failed, or what was wrong with the bytes.
    Error = 10,
    /// The sender will take no more requests on this connection.
    GoAway = 11,
}

impl Kind {
    /// Every kind, by number.
    pub const ALL: [Self; 12] = [
        Self::Request,
        Self::Response,
        Self::Notification,
        Self::Event,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Ping,
        Self::Pong,
        Self::Hello,
        Self::HelloAck,
        Self::Error,
        Self::GoAway,
    ];

    /// The kind of this number, if there is one.
    pub const fn from_u8(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() { Some(Self::ALL[number as usize]) } else { None }
    }

    /// Its number on the wire.
    pub const fn to_u8(self) -> u8 {
        self as u8
    }

    /// Its name in metrics and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Notification => "notification",
            Self::Event => "event",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Hello => "hello",
            Self::HelloAck => "hello-ack",
            Self::Error => "error",
            Self::GoAway => "goaway",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The bits of the flags byte. Those that nobody knows yet are kept and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// No bit.
    pub const NONE: Self = Self(0);
    /// The payload starts with a metadata block.
    pub const METADATA: Self = Self(0x01);
    /// More frames of this response follow.
    pub const MORE: Self = Self(0x02);
    /// The body is compressed (zstd).
    pub const ZSTD: Self = Self(0x04);

    /// True when every bit of `other` is set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These bits without those of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// What form a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum BodyCodec {
    /// Bytes that only the two ends understand.
    #[default]
    Raw = 0,
    /// A protobuf message.
    Protobuf = 1,
    /// A JSON document.
    Json = 2,
}

impl BodyCodec {
    /// Every codec, by number.
    pub const ALL: [Self; 3] = [Self::Raw, Self::Protobuf, Self::Json];

    /// The codec of this number, if there is one.
    pub const fn from_u8(number: u8) -> Option<Self> {
        if (number as usize) < Self::ALL.len() { Some(Self::ALL[number as usize]) } else { None }
    }

    /// Its number on the wire.
    pub const fn to_u8(self) -> u8 {
        self as u8
    }

    /// Its name in a hello.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Protobuf => "protobuf",
            Self::Json => "json",
        }
    }

    /// The codec of this name, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

impl fmt::Display for BodyCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
