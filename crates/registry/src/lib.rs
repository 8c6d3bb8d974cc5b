//! The registry service: for programs without an etcd client of their own.
//!
//! It keeps nothing: an instance is a record in coordination under a lease, the same record that our own services
//! write by themselves. So every replica of the registry answers for every instance, and a heartbeat may go to another
//! replica than the registration did.
//!
//! - `grpc`: the calls. - `instances`: what they do to coordination. - `watch`: the stream of changes.
//! - `validate`: what a request may say. - `convert`: records and their wire form.

pub mod config;
mod convert;
mod error;
mod grpc;
mod instances;
mod validate;
mod watch;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use mcp_chassis::{Server, ServiceConfig as _, server::DECODE_BYTES_MAX};
use mcp_coord::Coordinator;
use mcp_proto::registry::v1::registry_service_server::RegistryServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::{config::Config, error::Error};

/// The name under which it registers.
pub const SERVICE: &str = "registry";

/// Serves on `listener` until `stop` is cancelled, and returns after an orderly drain.
///
/// # Errors
/// When the server cannot be started. See [`Server::serve`].
///
/// # Cancellation
/// Dropping the future cuts all calls off.
pub async fn run(
    config: Config,
    listener: TcpListener,
    coord: Arc<dyn Coordinator>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let cluster = config.coord().cluster.clone();
    let draining = CancellationToken::new();
    let service = grpc::Service::new(Arc::clone(&coord), &cluster, &config.registry, draining.clone());
    let service = RegistryServiceServer::new(service).max_decoding_message_size(DECODE_BYTES_MAX);
    Server::new(SERVICE, env!("CARGO_PKG_VERSION"), config.service(), cluster)
        .grpc(service)
        .on_drain(move || async move { draining.cancel() })
        .serve(listener, coord, stop)
        .await?;
    Ok(())
}

/// The whole program. `args` begins with its name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    mcp_chassis::service_main::<Config, _, _>(SERVICE, args, |config, deps| {
        run(config, deps.listener, deps.coord, deps.stop)
    })
}
