//! Sessions of the wire frame.

use crate::frames;

/// Steps of one session: time that passes, bytes that come, calls that begin and end. It has to stay within its rules.
///
/// # Panics
/// When it does not.
pub fn sessions(data: &[u8]) {
    frames::drive(data);
}
