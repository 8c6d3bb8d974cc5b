//! The scheduler over real sockets: its own server, its own store, a worker played by the test.
#![allow(clippy::unwrap_used, reason = "tests")]

mod bad_input;
mod limits;
mod lists;
mod restarts;
mod retries;
mod sessions;
mod streams;
mod support;
mod tasks;
