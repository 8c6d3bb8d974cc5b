//! Compressed bodies.

use std::io::Read;

use bytes::Bytes;
use ruzstd::{
    decoding::StreamingDecoder,
    encoding::{CompressionLevel, compress_to_vec},
};

use super::{head::Flags, model::Frame};
use crate::{Code, Error};

/// Bodies below this many bytes are not worth compressing.
const COMPRESS_BYTES_MIN: usize = 256;

/// The smallest window that a decoder must take, in bytes (RFC 8878 recommends 8 MiB; our own encoder stays below).
const WINDOW_BYTES_MIN: u64 = 1024 * 1024;

impl Frame {
    /// The frame with its body as it was before compression; one that is not compressed stays as it is.
    ///
    /// At most `body_bytes_max` and one window, which is no larger, are held.
    ///
    /// # Errors
    /// `PAYLOAD_TOO_LARGE` when the body would be larger than `body_bytes_max`, `MALFORMED_BODY` when it is not zstd.
    pub fn inflate(mut self, body_bytes_max: usize) -> Result<Self, Error> {
        if !self.flags.has(Flags::ZSTD) {
            return Ok(self);
        }
        let malformed = |cause: &dyn std::fmt::Display| {
            Error::new(Code::MalformedBody, format!("the body is not zstd as its flag says: {cause}"))
        };
        let max = body_bytes_max as u64;
        let mut source = &self.body[..];
        let decoder = StreamingDecoder::new_with_max_window_size(&mut source, max.max(WINDOW_BYTES_MIN))
            .map_err(|error| malformed(&error))?;
        let mut body = Vec::new();
        decoder.take(max.saturating_add(1)).read_to_end(&mut body).map_err(|error| malformed(&error))?;
        if body.len() > body_bytes_max {
            let message = format!("the body is larger than {body_bytes_max} bytes when inflated");
            return Err(Error::new(Code::PayloadTooLarge, message));
        }
        self.body = Bytes::from(body);
        self.flags = self.flags.without(Flags::ZSTD);
        Ok(self)
    }

    /// The frame with a compressed body where that makes it smaller.
    #[must_use]
    pub fn deflate(mut self) -> Self {
        if self.flags.has(Flags::ZSTD) || self.body.len() < COMPRESS_BYTES_MIN {
            return self;
        }
        let compressed = compress_to_vec(&self.body[..], CompressionLevel::Fastest);
        if compressed.len() < self.body.len() {
            self.body = Bytes::from(compressed);
            self.flags = self.flags.with(Flags::ZSTD);
        }
        self
    }
}
