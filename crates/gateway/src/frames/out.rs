//! What a session has to send: bytes for a stream, messages for a WebSocket. An idle one holds no memory.

use std::{collections::VecDeque, io};

use bytes::{Buf, Bytes, BytesMut};

/// A buffer of more bytes than this is given back once it is empty.
const KEEP_BYTES_MAX: usize = 0;

/// Encoded frames that wait to be written.
#[derive(Debug)]
pub(crate) enum Out {
    /// One after the other.
    Stream(BytesMut),
    /// Each on its own.
    Messages {
        /// The messages.
        messages: VecDeque<Bytes>,
        /// Their bytes.
        len: usize,
    },
}

impl Out {
    /// For a stream.
    pub(crate) fn stream() -> Self {
        Self::Stream(BytesMut::new())
    }

    /// For messages.
    pub(crate) fn messages() -> Self {
        Self::Messages { messages: VecDeque::new(), len: 0 }
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Stream(bytes) => bytes.len(),
            Self::Messages { len, .. } => *len,
        }
    }

    /// True when nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what `encode` appends.
    ///
    /// # Errors
    /// Those of `encode`; then nothing is added.
    pub(crate) fn push(&mut self, encode: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> io::Result<()> {
        match self {
            Self::Stream(bytes) => encode(bytes),
            Self::Messages { messages, len } => {
                let mut bytes = BytesMut::new();
                encode(&mut bytes)?;
                *len += bytes.len();
                messages.push_back(bytes.freeze());
                Ok(())
            }
        }
    }

    /// So many bytes of the stream were written.
    pub(crate) fn written(&mut self, count: usize) {
        if let Self::Stream(bytes) = self {
            bytes.advance(count);
            if bytes.is_empty() && bytes.capacity() > KEEP_BYTES_MAX {
                *bytes = BytesMut::new();
            }
        }
    }

    /// The next message.
    pub(crate) fn next_message(&mut self) -> Option<Bytes> {
        let Self::Messages { messages, len } = self else {
            return None;
        };
        let message = messages.pop_front();
        *len -= message.as_ref().map_or(0, Bytes::len);
        if messages.is_empty() {
            *messages = VecDeque::new();
        }
        message
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = match self {
            Self::Stream(_) => Self::stream(),
            Self::Messages { .. } => Self::messages(),
        };
    }
}
