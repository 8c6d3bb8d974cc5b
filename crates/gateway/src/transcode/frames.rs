//! gRPC messages on the wire: one byte of flags, four of length, then the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

/// Bytes in front of each message.
const HEAD: usize = 5;

/// One message as a frame.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut frame = BytesMut::with_capacity(HEAD + len);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(len).expect("checked against the message limit before"));
    message.encode(&mut frame).expect("the buffer grows as needed");
    frame.freeze()
}

/// Why a stream of frames cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// A message is compressed, though we named no encoding that we accept.
    #[error("a message is compressed")]
    Compressed,
    /// A message is larger than the limit.
    #[error("a message has {len} bytes")]
    TooLarge {
        /// Its length, in bytes.
        len: usize,
    },
}

/// Puts the frames of a stream together again. Holds at most one unfinished message and what came with it.
#[derive(Debug)]
pub(crate) struct Frames {
    buffer: BytesMut,
    bytes_max: usize,
}

impl Frames {
    /// `bytes_max` is the largest message to take.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), bytes_max }
    }

    /// Adds what came in.
    pub(crate) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// The next whole message, or `None` when more must come first.
    ///
    /// # Errors
    /// The stream cannot be read on.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        if head[0] != 0 {
            return Err(FrameError::Compressed);
        }
        let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if len > self.bytes_max {
            return Err(FrameError::TooLarge { len });
        }
        if self.buffer.len() < HEAD + len {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(self.buffer.split_to(len).freeze()))
    }

    /// True when nothing unfinished is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_may_be_split_and_glued() {
        let wire = [&b"\0\0\0\0\x02hi\0\0\0\0\0\0\0\0\0\x03"[..], b"you"].concat();
        for split in 0..wire.len() {
            let mut frames = Frames::new(10);
            let mut messages = Vec::new();
            for part in [&wire[..split], &wire[split..]] {
                frames.push(part);
                while let Some(message) = frames.next().unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, ["hi", "", "you"], "split at {split}");
            assert!(frames.is_empty());
        }
    }

    #[test]
    fn a_length_over_the_limit_is_refused_before_anything_is_allocated() {
        let mut frames = Frames::new(10);
        frames.push(b"\0\xff\xff\xff\xff");
        assert_eq!(frames.next(), Err(FrameError::TooLarge { len: 0xffff_ffff }));
    }

    #[test]
    fn a_compressed_message_is_refused() {
        let mut frames = Frames::new(10);
        frames.push(b"\x01\0\0\0\x01x");
        assert_eq!(frames.next(), Err(FrameError::Compressed));
    }
}
