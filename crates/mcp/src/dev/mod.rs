//! All four services in one process: loopback gRPC between them, coordination and store embedded in a data folder.
//!
//! They are the same services as in a cluster, with the same `run`, so what works here works there. Only the
//! coordination backend, the listeners and the limits of time at the end differ.

mod cluster;
pub(crate) mod command;
mod error;
mod folder;
mod options;
#[cfg(test)]
mod tests;

pub use cluster::{DevCluster, start};
pub use error::Error;
pub use options::{Data, Options, WorkerOptions};
