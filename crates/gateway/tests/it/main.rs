//! The gateway over real sockets: embedded coordination, test services behind it, real clients in front.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod backend;
mod balance;
mod drain;
mod json;
mod limits;
mod proxy;
mod streams;
mod support;
