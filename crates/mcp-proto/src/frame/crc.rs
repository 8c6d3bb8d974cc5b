//! The checksum at a frame's end.

use crc_fast::CrcAlgorithm;

/// CRC-16/XMODEM: polynomial 0x1021, starting at 0, no reflection, no final xor. By carry-less multiplication where the
/// processor has it.
pub fn checksum(bytes: &[u8]) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "a 16-bit checksum comes in the low bits")]
    let sum = crc_fast::checksum(CrcAlgorithm::Crc16Xmodem, bytes) as u16;
    sum
}
