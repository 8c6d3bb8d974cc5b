//! The registry over real sockets.

#![expect(clippy::unwrap_used, reason = "a test panics when it fails")]

mod discovery;
mod outage;
mod registration;
mod support;
mod watching;
