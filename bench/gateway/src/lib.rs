//! Load for the gateway and for other proxies, and the service behind them.
//!
//! `backend` is a gRPC service that gives back what it gets. `load` sends calls to an address, whoever listens there, and
//! counts, times and checks each answer. `system` starts our gateway as shipped, with what it needs, in front of a
//! backend. `figures` puts these together to what `make bench` prints; the comparison with other proxies
//! (`bench/peers/gateway`) calls the program of this crate.

pub mod backend;
pub mod figures;
pub mod load;
pub mod message;
pub mod process;
pub mod propagation;
pub mod routes;
pub mod system;

/// The backend's contract.
#[expect(missing_docs, clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
pub mod echo {
    tonic::include_proto!("bench.v1");
}

/// The contract of the backend with everything that it imports, as an encoded `FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/echo.pb"));
