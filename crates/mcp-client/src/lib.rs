//! How programs call MCP: finding instances, the typed client, and the worker SDK.
//!
//! - [`discovery`] follows the registered instances and hands out immutable snapshots of them.
//! - [`Client`] submits tasks and reads them back through a gateway, or straight from a scheduler.
//! - [`frame`] speaks the wire frame: calls, streams, topics over one connection that is kept up.
//! - [`worker`] runs tasks: functions of this program, or programs through an executor.
//! - [`trace`] carries the W3C trace context, [`value`] converts between the two forms of JSON.
//!
//! This crate knows no service's inside: everything it says to one is in `mcp-proto`.

pub mod client;
pub mod discovery;
pub mod frame;
#[cfg(feature = "test-util")]
pub mod testing;
pub mod trace;
pub mod value;
pub mod worker;

pub use client::Client;
pub use discovery::Discovery;
pub use frame::FrameClient;
