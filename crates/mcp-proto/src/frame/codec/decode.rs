//! The decoder: from the bytes that are there to the next frame.

use std::io;

use bytes::{Buf, BytesMut};
use tokio_util::codec::Decoder;

use super::{Broken, Decoded, FrameCodec, Profile, Start, basic, compact, standard};
use crate::frame::crc;

/// How much room is made for a frame at once, in bytes: more only as its bytes arrive, since a length is easily said.
const ROOM_BYTES_MIN: usize = 8 * 1024;

/// How many bytes may be checked in vain before the search for a frame is given up. A peer could otherwise make the
/// search cost the square of what it sends.
const SEARCH_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Decoder for FrameCodec {
    type Item = Decoded;
    type Error = io::Error;

    /// The next frame, or what was wrong where one should have been.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when no frame was found within a bounded search: close.
    fn decode(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Decoded>> {
        loop {
            let total = match self.start(bytes) {
                Start::Frame(total) if total <= bytes.len() => total,
                Start::Frame(total) | Start::Short(total) => {
                    let missing = total.saturating_sub(bytes.len());
                    bytes.reserve(missing.min(bytes.len().max(ROOM_BYTES_MIN)));
                    return Ok(None);
                }
                Start::Stray => match self.skip(bytes, |skipped| Broken::Magic { skipped }) {
                    Some(broken) => return Ok(Some(broken)),
                    None => continue,
                },
                Start::Refused(broken) => match self.skip(bytes, |_| broken) {
                    Some(broken) => return Ok(Some(broken)),
                    None => continue,
                },
            };
            if self.has_right_sum(&bytes[..total]) {
                self.search.is_lost = false;
                self.search.checked_bytes = 0;
                return Ok(Some(self.read(bytes, total)));
            }
            self.search.checked_bytes += total;
            if self.search.checked_bytes > SEARCH_BYTES_MAX.max(self.payload_bytes_max.saturating_mul(2)) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "no frame was found in what the peer sent"));
            }
            let sequence = self.sequence(bytes);
            if let Some(broken) = self.skip(bytes, |_| Broken::Crc { sequence }) {
                return Ok(Some(broken));
            }
        }
    }

    /// As [`Self::decode`]; what is left of a frame that was cut short by the end counts as garbage.
    fn decode_eof(&mut self, bytes: &mut BytesMut) -> io::Result<Option<Decoded>> {
        loop {
            if let Some(decoded) = self.decode(bytes)? {
                return Ok(Some(decoded));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(broken) = self.skip(bytes, |skipped| Broken::Magic { skipped }) {
                return Ok(Some(broken));
            }
        }
    }
}

impl FrameCodec {
    /// Reads the one frame that a message of a transport with messages is, for instance a binary message of a WebSocket.
    ///
    /// # Errors
    /// As [`Decoder::decode`].
    pub fn decode_message(&mut self, message: &mut BytesMut) -> io::Result<Decoded> {
        let decoded = self.decode_eof(message)?.unwrap_or(Decoded::Broken(Broken::Magic { skipped: 0 }));
        self.search.is_lost = false;
        self.search.skipped_bytes += message.len() as u64;
        let decoded = match (decoded, message.len()) {
            (Decoded::Frame(_), rest @ 1..) => Decoded::Broken(Broken::Magic { skipped: rest }),
            (decoded, _) => decoded,
        };
        message.clear();
        Ok(decoded)
    }

    #[inline]
    fn start(&self, bytes: &[u8]) -> Start {
        match self.profile {
            Profile::Standard => standard::start(bytes, self.payload_bytes_max, self.search.is_lost),
            Profile::Compact => compact::start(bytes, self.payload_bytes_max),
            Profile::Basic => basic::start(bytes, self.payload_bytes_max),
        }
    }

    #[inline]
    fn has_right_sum(&self, frame: &[u8]) -> bool {
        if self.profile == Profile::Basic {
            return true;
        }
        let (summed, sum) = frame.split_at(frame.len() - standard::TAIL);
        sum == crc::checksum(&summed[standard::SUMMED_FROM..]).to_be_bytes()
    }

    #[inline]
    fn read(&self, bytes: &mut BytesMut, total: usize) -> Decoded {
        match self.profile {
            Profile::Standard => standard::read(bytes, total),
            Profile::Compact => Decoded::Frame(compact::read(bytes, total, self.side)),
            Profile::Basic => Decoded::Frame(basic::read(bytes, total)),
        }
    }

    fn sequence(&self, bytes: &[u8]) -> u32 {
        match self.profile {
            Profile::Standard => standard::sequence(bytes),
            Profile::Compact | Profile::Basic => 0,
        }
    }

    /// Drops bytes up to the next that may begin a frame, at least one. Only the first loss since the last frame is told.
    #[cold]
    fn skip(&mut self, bytes: &mut BytesMut, told: impl FnOnce(usize) -> Broken) -> Option<Decoded> {
        let magic = match self.profile {
            Profile::Standard | Profile::Compact => standard::MAGIC,
            Profile::Basic => basic::MAGIC,
        };
        let next = bytes.iter().skip(1).position(|&byte| byte == magic).map_or(bytes.len(), |at| at + 1);
        bytes.advance(next);
        self.search.skipped_bytes += next as u64;
        let is_first = !std::mem::replace(&mut self.search.is_lost, true);
        is_first.then(|| Decoded::Broken(told(next)))
    }
}
