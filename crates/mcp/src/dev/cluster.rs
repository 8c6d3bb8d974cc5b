//! Starting the services, waiting until they work together, stopping them in order.

use std::{
    collections::BTreeSet,
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mcp_chassis::{CoordSettings, ServiceSettings};
use mcp_client::Client;
use mcp_coord::{Coordinator, Embedded, InstanceRecord, keys};
use mcp_proto::{registry::v1::DiscoverRequest, scheduler::v1::ListTasksRequest};
use scheduler::config::StoreKind;
use tokio::{
    net::TcpListener,
    task::JoinError,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{Error, Options, WorkerOptions, folder::Folder};

/// How long the services may take until a call through the gateway reaches all of them. Generous, because a large
/// store is read at the start.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often that is tried.
const READY_POLL: Duration = Duration::from_millis(25);
/// How long each service has to end the calls it has.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long running tasks may go on once the worker stops, before they are handed back.
const WORKER_DRAIN_GRACE: Duration = Duration::from_secs(3);
/// How long a program has between SIGTERM and SIGKILL then.
const WORKER_KILL_GRACE: Duration = Duration::from_secs(2);
/// How long the worker's whole stop may take: both of these, and the last results.
const WORKER_SHUTDOWN_GRACE: Duration = Duration::from_secs(15);
/// How long the stop of one service may take before it is given up.
const STOP_LIMIT: Duration = Duration::from_secs(20);
/// How long a service may take alone before the next one is told to stop as well.
const HEAD_START: Duration = Duration::from_secs(1);
/// The services, in the order in which they stop: first who takes work on, last who the others need.
const STOP_ORDER: [&str; 4] = ["worker", "gateway", "scheduler", "registry"];

/// The four services, running. Call [`stop`](Self::stop) to end them in order; dropping it cuts them off.
#[derive(Debug)]
pub struct DevCluster {
    /// URL of the gateway, for gRPC and HTTP.
    pub gateway_url: String,
    /// Where sessions of the wire frame begin.
    pub frame_address: SocketAddr,
    /// Where each service listens, by its name.
    pub addresses: Vec<(&'static str, SocketAddr)>,
    /// The folder that holds the data.
    pub data_folder: PathBuf,
    /// The coordination that the services share.
    pub coord: Arc<dyn Coordinator>,
    // In the order of STOP_ORDER.
    services: Vec<Running>,
    ended: CancellationToken,
    folder: Folder,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    stop: CancellationToken,
    task: AbortOnDropHandle<anyhow::Result<()>>,
    outcome: Option<Result<anyhow::Result<()>, JoinError>>,
}

impl Running {
    /// Waits for the service's end, at most `limit`.
    async fn settle(&mut self, limit: Duration) {
        if self.outcome.is_none() {
            self.outcome = timeout(limit, &mut self.task).await.ok();
        }
    }

    /// How it ended; a service that has not is cut off.
    fn verdict(self) -> Result<(), Error> {
        let reason = match self.outcome {
            Some(Ok(Ok(()))) if self.stop.is_cancelled() => return Ok(()),
            Some(Ok(Ok(()))) => "it ended by itself".to_owned(),
            Some(Ok(Err(error))) => format!("{error:#}"),
            Some(Err(error)) => error.to_string(),
            None => format!("it did not stop within {STOP_LIMIT:?}"),
        };
        Err(Error::Service { service: self.name, reason })
    }
}

/// Starts the services and returns when a call through the gateway reaches all of them.
///
/// It sets up no telemetry: that belongs to the process.
///
/// # Errors
/// See [`Error`]. What was started is stopped again.
///
/// # Cancellation
/// Dropping the future cuts off what was started.
pub async fn start(options: Options) -> Result<DevCluster, Error> {
    // The port comes first: a second `mcp dev` shall fail before it touches anything.
    let gateway_listener = listen(options.port).await?;
    let data = options.data.clone();
    let folder = blocking(move || Folder::open(&data)).await?;
    let coord_folder = folder.path().join("coord");
    let coord = blocking(move || Embedded::open(&coord_folder).map_err(Error::Coordination)).await?;
    let listeners = Listeners {
        gateway: gateway_listener,
        registry: listen(0).await?,
        scheduler: listen(0).await?,
        worker: listen(0).await?,
    };
    let mut cluster = launch(&options, folder, Arc::new(coord), listeners)?;
    let ready = match cluster.ready().await {
        Ok(()) => cluster.find_frames().await,
        Err(error) => Err(error),
    };
    match ready {
        Ok(()) => Ok(cluster),
        Err(error) => {
            // The first error counts: those of the stop follow from it.
            drop(cluster.stop().await);
            Err(error)
        }
    }
}

impl DevCluster {
    /// Resolves when a service ended by itself, which none should; [`stop`](Self::stop) then tells which and why.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Stops the services in order, and then gives up the data folder: the worker, which ends its tasks or hands them
    /// back; the gateway, which ends its calls; the scheduler and the registry. Calls without an end (a followed log, a
    /// watch) would hold the gateway up: after a second the services behind it stop too, which ends those calls with
    /// a status.
    ///
    /// # Errors
    /// [`Error::Service`] of the first service that failed; the others are stopped all the same.
    pub async fn stop(self) -> Result<(), Error> {
        let mut services = self.services;
        for service in &mut services {
            // One that is over already did not end because it was told to.
            if !service.task.is_finished() {
                service.stop.cancel();
            }
            // The worker reports its last results to the scheduler, so it goes to its end before anything else stops.
            service.settle(if service.name == "worker" { STOP_LIMIT } else { HEAD_START }).await;
        }
        let mut result = Ok(());
        for mut service in services {
            service.settle(STOP_LIMIT).await;
            result = result.and(service.verdict());
        }
        // The store is closed: now the next process may open it.
        let folder = self.folder;
        blocking(move || {
            drop(folder);
            Ok(())
        })
        .await
        .and(result)
    }

    /// Waits until every service is registered and the gateway reaches the registry and the scheduler.
    async fn ready(&mut self) -> Result<(), Error> {
        let end = Instant::now() + READY_LIMIT;
        let client = Client::connect(&self.gateway_url)
            .map_err(|error| Error::NotReady { limit: READY_LIMIT, state: error.to_string() })?;
        loop {
            let Err(state) = probe(&client).await else { return Ok(()) };
            if self.ended.is_cancelled() {
                return Err(self.first_failure().await.unwrap_or(Error::NotReady { limit: READY_LIMIT, state }));
            }
            if Instant::now() >= end {
                return Err(Error::NotReady { limit: READY_LIMIT, state });
            }
            sleep(READY_POLL).await;
        }
    }

    /// Finds out where sessions of the wire frame begin: the gateway has chosen the port, and says so where it registers.
    async fn find_frames(&mut self) -> Result<(), Error> {
        let instances = keys::service(&CoordSettings::default().cluster, "gateway");
        let found = self.coord.range(&instances).await.map_err(Error::Coordination)?;
        let records =
            found.entries.iter().filter_map(|entry| serde_json::from_slice::<InstanceRecord>(&entry.value).ok());
        let address = records.filter_map(|record| record.labels.get("frame-standard")?.parse().ok()).next();
        let state = || "the gateway does not say where the wire frame is spoken".to_owned();
        self.frame_address = address.ok_or_else(|| Error::NotReady { limit: READY_LIMIT, state: state() })?;
        Ok(())
    }

    /// The failure of a service that ended by itself.
    async fn first_failure(&mut self) -> Option<Error> {
        let at = self.services.iter().position(|service| service.task.is_finished())?;
        let mut failed = self.services.remove(at);
        failed.settle(STOP_LIMIT).await;
        failed.verdict().err()
    }
}

/// Why the services are not ready yet.
async fn probe(client: &Client) -> Result<(), String> {
    let found = client.services(DiscoverRequest::default()).await.map_err(|error| error.to_string())?;
    let names: BTreeSet<&str> = found.instances.iter().map(|instance| instance.service.as_str()).collect();
    if let Some(missing) = STOP_ORDER.iter().find(|name| !names.contains(**name)) {
        return Err(format!("the {missing} is not registered"));
    }
    let request = ListTasksRequest { page_size: 1, ..ListTasksRequest::default() };
    client.list(request).await.map(drop).map_err(|error| error.to_string())
}

struct Listeners {
    gateway: TcpListener,
    registry: TcpListener,
    scheduler: TcpListener,
    worker: TcpListener,
}

fn launch(
    options: &Options,
    folder: Folder,
    coord: Arc<dyn Coordinator>,
    listeners: Listeners,
) -> Result<DevCluster, Error> {
    let address = |listener: &TcpListener| listener.local_addr().map_err(|source| Error::Listen { port: 0, source });
    let gateway = address(&listeners.gateway)?;
    let addresses = vec![
        ("gateway", gateway),
        ("registry", address(&listeners.registry)?),
        ("scheduler", address(&listeners.scheduler)?),
        ("worker", address(&listeners.worker)?),
    ];
    let ended = CancellationToken::new();
    let services = STOP_ORDER
        .into_iter()
        .zip([
            boxed(|stop| {
                worker::run(worker_config(options, folder.path()), listeners.worker, Arc::clone(&coord), stop)
            }),
            boxed(|stop| gateway::run(gateway_config(options), listeners.gateway, Arc::clone(&coord), stop)),
            boxed(|stop| {
                scheduler::run(scheduler_config(options, folder.path()), listeners.scheduler, Arc::clone(&coord), stop)
            }),
            boxed(|stop| registry::run(registry_config(), listeners.registry, Arc::clone(&coord), stop)),
        ])
        .map(|(name, (stop, service))| {
            let ended = ended.clone();
            let task = async move {
                let result = service.await;
                ended.cancel();
                result
            };
            Running { name, stop, task: AbortOnDropHandle::new(tokio::spawn(task)), outcome: None }
        })
        .collect();
    Ok(DevCluster {
        gateway_url: format!("http://{gateway}"),
        frame_address: SocketAddr::from((Ipv4Addr::LOCALHOST, options.frame_port)),
        addresses,
        data_folder: folder.path().to_owned(),
        coord,
        services,
        ended,
        folder,
    })
}

type Service = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;

fn boxed<F>(run: impl FnOnce(CancellationToken) -> F) -> (CancellationToken, Service)
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let stop = CancellationToken::new();
    let service = Box::pin(run(stop.clone()));
    (stop, service)
}

/// What all services have in common here.
fn service_settings() -> ServiceSettings {
    ServiceSettings { shutdown_grace: SHUTDOWN_GRACE, ..ServiceSettings::default() }
}

fn gateway_config(options: &Options) -> gateway::config::Config {
    let mut config = gateway::config::Config { service: service_settings(), ..gateway::config::Config::default() };
    // Everything is on the loopback interface of one developer's machine.
    config.gateway.security.anonymous = true;
    config.gateway.frames.standard_addr = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, options.frame_port)));
    config
}

fn registry_config() -> registry::config::Config {
    registry::config::Config { service: service_settings(), ..registry::config::Config::default() }
}

fn scheduler_config(options: &Options, folder: &Path) -> scheduler::config::Config {
    let mut config = scheduler::config::Config { service: service_settings(), ..scheduler::config::Config::default() };
    config.scheduler.data_dir = folder.join("scheduler");
    if let Some(url) = &options.postgres {
        config.scheduler.store = StoreKind::Postgres;
        config.scheduler.postgres.url = url.clone();
    }
    config
}

fn worker_config(options: &Options, folder: &Path) -> worker::config::Config {
    let service = ServiceSettings { shutdown_grace: WORKER_SHUTDOWN_GRACE, ..ServiceSettings::default() };
    let mut config = worker::config::Config { service, ..worker::config::Config::default() };
    config.worker.drain_grace = WORKER_DRAIN_GRACE;
    config.worker.kill_grace = WORKER_KILL_GRACE;
    config.worker.work_dir = Some(folder.join("work"));
    let WorkerOptions { slots, labels, taints, cpu_millis, memory_bytes } = options.worker.clone();
    config.worker.slots = slots.unwrap_or(config.worker.slots);
    (config.worker.labels, config.worker.taints) = (labels, taints);
    (config.worker.cpu_millis, config.worker.memory_bytes) = (cpu_millis, memory_bytes);
    config
}

async fn listen(port: u16) -> Result<TcpListener, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => Error::PortInUse { port },
        _ => Error::Listen { port, source },
    })
}

/// Does work that reads or writes files, away from the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Service { service: "start", reason: error.to_string() })?
}
