//! The client, discovery and the worker SDK over real sockets.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

mod attempts;
mod client;
mod discovery;
mod drain;
mod frames;
mod methods;
mod replicas;
mod sessions;
mod support;
mod traces;
