//! The chassis over real sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod drain;
mod process;
mod registration;
mod support;
