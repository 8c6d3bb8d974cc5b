//! The worker service: runs programs for the scheduler.
//!
//! It is the worker SDK of `mcp-client` with one ability, [`ProcessRunner`], and around it what every service has:
//! settings, health, metrics, an orderly stop. A program that wants to run functions of its own uses the SDK itself.
//!
//! It does not know tasks, retries or queues: it runs what it is given and says how it ended.

pub mod config;
pub mod process;

use std::{ffi::OsString, process::ExitCode, sync::Arc};

use anyhow::Context as _;
use mcp_chassis::{Readiness, Server};
use mcp_client::{
    discovery::Discovery,
    worker::{Schedulers, Worker},
};
use mcp_coord::Coordinator;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use process::ProcessRunner;

/// Name of the service, in the registry and in settings.
const SERVICE: &str = "worker";

/// The program: flags, settings, signals, [`run`].
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    mcp_chassis::service_main::<Config, _, _>(SERVICE, args, |config, deps| {
        run(config, deps.listener, deps.coord, deps.stop)
    })
}

/// Runs tasks until `stop`, and serves health and metrics on `listener` meanwhile.
///
/// It is ready while a session with a scheduler is open. After `stop` it takes no new tasks, lets the running ones
/// end within the drain grace, hands the others back, and returns.
///
/// # Errors
/// The work folder cannot be made, or the server cannot be started.
///
/// # Cancellation
/// Dropping the future kills what runs; the scheduler gives it to other workers when the lease has passed.
pub async fn run(
    config: Config,
    listener: TcpListener,
    coord: Arc<dyn Coordinator>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let settings = &config.worker;
    let work_dir = settings.work_dir.clone().unwrap_or_else(std::env::temp_dir);
    tokio::fs::create_dir_all(&work_dir)
        .await
        .with_context(|| format!("the work folder `{}` cannot be made", work_dir.display()))?;

    let readiness = Readiness::default();
    let ended = CancellationToken::new();
    let drained = ended.clone();
    let server = Server::new(SERVICE, env!("CARGO_PKG_VERSION"), &config.service, &config.coord.cluster)
        .readiness(readiness.clone())
        .on_drain(move || async move { drained.cancelled().await });
    let name = if settings.name.is_empty() { server.instance_id().to_owned() } else { settings.name.clone() };
    let marks = settings.marks().map_err(|(key, reason)| anyhow::anyhow!("`worker.{key}`: {reason}"))?;
    let mut worker = Worker::builder(schedulers(&config, &coord));
    for (key, value) in marks.labels {
        worker = worker.label(key, value);
    }
    for taint in marks.taints {
        worker = worker.taint(taint.key, taint.value);
    }
    let worker = worker
        .name(name)
        .version(env!("CARGO_PKG_VERSION"))
        .slots(settings.slots)
        .namespaces(settings.namespaces.iter().cloned())
        .queues(settings.queues.iter().cloned())
        .resources(settings.cpu_millis, settings.memory_bytes)
        .drain_grace(settings.drain_grace)
        .processes(Arc::new(ProcessRunner::new(work_dir, settings.kill_grace)))
        .build();

    let sessions = worker.open_sessions();
    let stop = stop.child_token();
    let work = async {
        worker.run(stop.clone()).await;
        ended.cancel();
    };
    let serve = async {
        let result = server.serve(listener, coord, stop.clone()).await;
        // A server that fails takes the worker with it.
        stop.cancel();
        result
    };
    let (served, (), ()) = tokio::join!(serve, work, follow_readiness(sessions, readiness, &ended));
    served.context("the server failed")
}

fn schedulers(config: &Config, coord: &Arc<dyn Coordinator>) -> Schedulers {
    if config.worker.schedulers.is_empty() {
        Schedulers::Discovered(Discovery::start(Arc::clone(coord), &config.coord.cluster))
    } else {
        Schedulers::Fixed(config.worker.schedulers.clone())
    }
}

/// Ready while a session is open.
async fn follow_readiness(mut sessions: watch::Receiver<usize>, readiness: Readiness, ended: &CancellationToken) {
    let follow = async {
        loop {
            readiness.set_ready(*sessions.borrow_and_update() > 0);
            if sessions.changed().await.is_err() {
                return;
            }
        }
    };
    ended.run_until_cancelled(follow).await;
}
