//! The contracts between the services: generated types and clients, the descriptor set, the error catalogue, ids,
//! the wire frame.
//!
//! Services depend on this crate and never on each other. It does no I/O and knows no transport.

pub mod error;
pub mod frame;
pub mod id;
pub mod json;
pub mod partition;
mod task_state;

pub use error::{Code, Error};
pub use id::TaskId;

/// Encoded `FileDescriptorSet` of every MCP proto and its imports, for reflection and transcoding.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("mcp_descriptor");

/// Largest message that a caller may send, in bytes (16 MiB).
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

macro_rules! generated {
    ($(#[$doc:meta])* $module:ident, $package:literal) => {
        $(#[$doc])*
        pub mod $module {
            /// Version 1 of the package.
            #[allow(missing_docs, missing_debug_implementations, unreachable_pub, clippy::all, clippy::pedantic,
                clippy::allow_attributes_without_reason, clippy::too_many_lines, clippy::large_futures,
                reason = "generated code")]
            pub mod v1 {
                tonic::include_proto!($package);
            }
        }
    };
}

generated!(
    /// `mcp.common`: what every interface shares.
    common, "mcp.common.v1");
generated!(
    /// `mcp.gateway`: who may call, and where calls go.
    gateway, "mcp.gateway.v1");
generated!(
    /// `mcp.registry`: registering and finding services.
    registry, "mcp.registry.v1");
generated!(
    /// `mcp.scheduler`: tasks.
    scheduler, "mcp.scheduler.v1");
generated!(
    /// `mcp.worker`: how workers get tasks.
    worker, "mcp.worker.v1");
