//! The scheduler service: durable tasks handed to workers.
//!
//! A request takes this way: `service` (the public interface) and `session` (the workers') check what comes from the
//! wire with `validate`, `routing` brings it to the owner of its partition, and there it goes into the inbox of the loop,
//! `shell`. The loop applies it to the engine, lets the `conductor` drive schedules and workflows, commits the batch to the
//! `store`, and then lets answers, assignments and events go; `hub` tells those who wait. `ownership` claims partitions
//! and opens them, as far as `cluster` shows that they are this replica's; the `courier` brings tasks to other owners.
//!
//! Reads never pass through the loop: they go to the store, with the loop's view of running tasks laid over them.

mod clock;
mod cluster;
mod conductor;
pub mod config;
mod courier;
mod embed;
mod error;
mod hub;
pub mod metrics;
mod ownership;
mod routing;
mod service;
mod session;
mod shell;
pub mod store;
mod traceparent;
mod validate;
mod workflow;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use mcp_chassis::{
    Server,
    server::{DECODE_BYTES_MAX, Readiness},
};
use mcp_coord::Coordinator;
use mcp_proto::{
    MESSAGE_BYTES_MAX,
    scheduler::v1::{
        peer_service_server::PeerServiceServer, queue_service_server::QueueServiceServer,
        schedule_service_server::ScheduleServiceServer, task_service_server::TaskServiceServer,
        workflow_service_server::WorkflowServiceServer,
    },
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use config::Config;
pub use embed::{Builder, Embedded};

use self::{
    clock::Clock,
    cluster::Identity,
    config::{Settings, StoreKind},
    courier::{Courier, ERRANDS_MAX},
    hub::Hub,
    metrics::Metrics,
    ownership::{Host, Keeper, Sharing},
    routing::Routes,
    service::{Deps, Peers, Queues, Reads, Schedules, Tasks, Workflows},
    session::Sessions,
    shell::Parts,
    store::{EmbeddedStore, PostgresStore, Store},
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
    let (hub, clock, host) = (Hub::new(&settings), Clock::start(), Host::new());
    let me = Identity {
        instance_id: server.instance_id().to_owned(),
        incarnation: uuid::Uuid::new_v4().to_string(),
        address: address(&config.service, &listener)?,
    };
    let (views, view) = watch::channel(Arc::default());
    let routes = Routes::new(&settings, me, view);
    let deps = Deps {
        routes: Arc::clone(&routes),
        host: host.clone(),
        hub: Arc::clone(&hub),
        reads: Reads::new(&settings),
        settings: Arc::clone(&settings),
        clock,
        tasks: TaskTracker::new(),
        closing: CancellationToken::new(),
    };
    let (store, sharing) = open_store(&settings)?;
    let (errands, errands_waiting) = mpsc::channel(ERRANDS_MAX);
    let keeper = Keeper {
        routes: Arc::clone(&routes),
        store,
        sharing,
        parts: Parts { settings, hub, metrics: Metrics::new(), clock, errands },
        host,
        coord: Arc::clone(&coord),
        cluster: cluster.to_string(),
        lease_ttl: config.service.lease_ttl,
        views,
        readiness: readiness.clone(),
        stop: CancellationToken::new(),
    };
    let (tasks, keeping) = (deps.tasks.clone(), keeper.stop.clone());
    let kept = tasks.spawn(keeper.run());
    tasks.spawn(Courier::new(deps.clone()).run(errands_waiting, deps.closing.clone()));

    let (draining, sessions) = (deps.clone(), tasks.clone());
    let stop_keeping = keeping.clone();
    let service = TaskServiceServer::new(Tasks::new(deps.clone())).max_decoding_message_size(DECODE_BYTES_MAX);
    let workflows =
        WorkflowServiceServer::new(Workflows::new(deps.clone())).max_decoding_message_size(DECODE_BYTES_MAX);
    let served = server
        .grpc(service)
        .grpc(QueueServiceServer::new(Queues::new(deps.clone())))
        .grpc(ScheduleServiceServer::new(Schedules::new(deps.clone())).max_decoding_message_size(DECODE_BYTES_MAX))
        .grpc(workflows)
        .grpc(PeerServiceServer::new(Peers::new(deps.clone())).max_decoding_message_size(2 * MESSAGE_BYTES_MAX))
        .grpc(Sessions::new(deps))
        .labels(routes.labels())
        .readiness(readiness)
        .on_drain(move || async move {
            draining.routes.drain();
            draining.closing.cancel();
            stop_keeping.cancel();
            sessions.close();
            sessions.wait().await;
        })
        .serve(listener, coord, stop)
        .await;
    keeping.cancel(); // also when the hook did not run, or not to its end
    kept.await.context("the keeper of the partitions failed")??;
    served.context("the server failed")
}

/// The store that the settings ask for. Nothing is opened or connected yet.
fn open_store(settings: &Settings) -> anyhow::Result<(Arc<dyn Store>, Sharing)> {
    Ok(match settings.store {
        StoreKind::Embedded => {
            (Arc::new(EmbeddedStore::new(&settings.data_dir, settings.store_cache_bytes)), Sharing::Alone)
        }
        StoreKind::Postgres => (Arc::new(PostgresStore::connect(settings.postgres.settings())?), Sharing::Shared),
    })
}

fn address(settings: &mcp_chassis::ServiceSettings, listener: &TcpListener) -> anyhow::Result<String> {
    Ok(mcp_chassis::server::advertised_address(settings.advertise.as_deref(), listener.local_addr()?))
}

/// The whole program.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    mcp_chassis::service_main::<Config, _, _>(SERVICE, args, |config, deps| {
        run(config, deps.listener, deps.coord, deps.stop)
    })
}
