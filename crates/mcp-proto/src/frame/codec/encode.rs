//! The encoder: a frame appended to what is to be sent.

use std::io;

use bytes::{BufMut, BytesMut};
use tokio_util::codec::Encoder;

use super::{FrameCodec, Profile, basic, compact, standard};
use crate::frame::{Frame, Kind, METADATA_BYTES_MAX, crc};

/// What a frame has beside its payload, at most, in bytes.
const OVERHEAD: usize = 20;

impl Encoder<&Frame> for FrameCodec {
    type Error = io::Error;

    /// Appends a frame.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when the profile cannot say it: a number too large, a kind or metadata that it does
    /// not have, a payload over the limit. Nothing is appended then.
    fn encode(&mut self, frame: &Frame, bytes: &mut BytesMut) -> io::Result<()> {
        let length = match self.profile {
            Profile::Standard => frame.payload_len(),
            Profile::Compact | Profile::Basic => frame.body.len(),
        };
        if length > self.payload_bytes_max {
            return Err(refused(format!("the payload of {length} bytes is over {}", self.payload_bytes_max)));
        }
        if !self.profile.has(frame.kind) {
            return Err(refused(format!("the profile {} has no {} frames", self.profile, frame.kind)));
        }
        if self.profile != Profile::Standard && frame.has_block() {
            return Err(refused(format!("the profile {} has no metadata", self.profile)));
        }
        bytes.reserve(length + OVERHEAD);
        let start = bytes.len();
        let long = || u32::try_from(length).expect("the profile's largest payload is below 4 GiB");
        match self.profile {
            Profile::Standard => {
                number::<u16>("metadata length", frame.metadata.len(), METADATA_BYTES_MAX)?;
                standard::write(frame, long(), bytes);
            }
            Profile::Compact => {
                let address = number("address", frame.destination, u8::MAX)?;
                compact::write(frame, address, u8::try_from(length).expect("at most 255 in this profile"), bytes);
            }
            Profile::Basic => {
                let sequence = number("sequence number", frame.sequence, u16::MAX)?;
                let command: u8 = number("command", frame.command.0, basic::RESPONSE - 1)?;
                let mark = if frame.kind == Kind::Response { basic::RESPONSE } else { 0 };
                basic::write(frame, sequence, command | mark, long(), bytes);
                return Ok(());
            }
        }
        let sum = crc::checksum(&bytes[start + standard::SUMMED_FROM..]);
        bytes.put_u16(sum);
        Ok(())
    }
}

impl Encoder<Frame> for FrameCodec {
    type Error = io::Error;

    fn encode(&mut self, frame: Frame, bytes: &mut BytesMut) -> io::Result<()> {
        self.encode(&frame, bytes)
    }
}

/// A number as the field of a profile holds it, if it is no larger than `max`.
fn number<T: TryFrom<u64>>(what: &str, value: impl TryInto<u64>, max: impl TryInto<u64>) -> io::Result<T> {
    let (value, max) = (value.try_into().unwrap_or(u64::MAX), max.try_into().unwrap_or(u64::MAX));
    if value <= max
        && let Ok(number) = T::try_from(value)
    {
        return Ok(number);
    }
    Err(refused(format!("the {what} {value} is over {max}")))
}

fn refused(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
