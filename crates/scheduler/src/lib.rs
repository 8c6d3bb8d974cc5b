//! The scheduler service: durable tasks handed to workers.
//!
//! A request takes this way: `service` (the public interface) and `session` (the workers') check what comes from the
//! wire with `validate` and put it into the inbox of the partition's loop, `shell`. The loop applies it to the engine,
//! commits the batch to the `store`, and then lets answers, assignments and events go; `hub` tells those who wait.
//! `partition` owns the partition and opens it again when the store or the ownership fails.
//!
//! Reads never pass through the loop: they go to the store, with the loop's view of running tasks laid over them.

mod clock;
pub mod config;
mod error;
mod hub;
pub mod metrics;
mod partition;
mod service;
mod session;
mod shell;
pub mod store;
mod validate;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use mcp_chassis::{
    Server,
    server::{DECODE_BYTES_MAX, Readiness},
};
use mcp_coord::Coordinator;
use mcp_proto::scheduler::v1::task_service_server::TaskServiceServer;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::Config;

use self::{
    clock::Clock,
    hub::Hub,
    metrics::Metrics,
    partition::{Keeper, Partition},
    service::{Deps, Reads, Tasks},
    session::Sessions,
    shell::Parts,
    store::EmbeddedStore,
};

/// Under which name instances register.
const SERVICE: &str = "scheduler";

/// Runs a scheduler until `stop` is cancelled, then stops it in order: no new calls, sessions and streams end (workers
/// keep their attempts), what is in the inbox is committed, the ownership is given up.
///
/// It serves as soon as it listens; calls are answered NOT_OWNER until the partition is owned and open, and only then
/// the instance is ready and registered.
///
/// # Errors
/// When the server cannot be started. What fails later is retried, and seen by callers.
pub async fn run(
    config: Config,
    listener: TcpListener,
    coord: Arc<dyn Coordinator>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = Arc::new(config.scheduler.clone());
    let readiness = Readiness::new(false);
    let cluster = config.coord.cluster.clone();
    let server = Server::new(SERVICE, env!("CARGO_PKG_VERSION"), &config.service, cluster.as_str());
    let (hub, clock) = (Hub::new(&settings), Clock::start());
    let deps = Deps {
        partition: Partition::new(),
        hub: Arc::clone(&hub),
        reads: Reads::new(&settings),
        settings: Arc::clone(&settings),
        clock,
        closing: CancellationToken::new(),
    };
    let keeper = Keeper {
        partition: Arc::clone(&deps.partition),
        store: Arc::new(EmbeddedStore::new(&settings.data_dir, settings.store_cache_bytes)),
        parts: Parts { settings, hub, metrics: Metrics::new(), clock },
        coord: Arc::clone(&coord),
        key: mcp_coord::keys::partition(&cluster, partition::NUMBER),
        owner: owner(server.instance_id()).into(),
        lease_ttl: config.service.lease_ttl,
        readiness: readiness.clone(),
        stop: CancellationToken::new(),
    };
    let (tasks, keeping) = (TaskTracker::new(), keeper.stop.clone());
    let kept = tasks.spawn(keeper.run());

    let (draining, sessions) = (deps.clone(), tasks.clone());
    let stop_keeping = keeping.clone();
    let service = TaskServiceServer::new(Tasks::new(deps.clone())).max_decoding_message_size(DECODE_BYTES_MAX);
    let served = server
        .grpc(service)
        .grpc(Sessions::new(deps, tasks.clone()))
        .readiness(readiness)
        .on_drain(move || async move {
            draining.partition.drain();
            draining.closing.cancel();
            stop_keeping.cancel();
            sessions.close();
            sessions.wait().await;
        })
        .serve(listener, coord, stop)
        .await;
    keeping.cancel(); // also when the hook did not run, or not to its end
    kept.await.context("the partition's keeper failed")?;
    served.context("the server failed")
}

/// What the partition's key says of its owner.
fn owner(instance_id: &str) -> String {
    let incarnation = uuid::Uuid::new_v4().to_string();
    serde_json::json!({ "instance_id": instance_id, "incarnation": incarnation }).to_string()
}

/// The whole program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    mcp_chassis::service_main::<Config, _, _>(SERVICE, args, |config, deps| {
        run(config, deps.listener, deps.coord, deps.stop)
    })
}
