//! How much the other end of an HTTP/2 connection may send ahead of being read.
//!
//! h2 holds a budget for small DATA frames that wait to be read, half of the connection's window, and closes the
//! connection when it is spent ("too_many_data_frames"): every call on it dies because a few are read slowly. So the
//! window of a connection is large and that of a stream is small: the sender has to wait long before the budget is
//! spent. The adaptive windows start at 64 KiB, which 130 small messages spend.

/// Of one call, in bytes.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Of all calls on a connection, in bytes.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;
