//! A scheduler inside of another program: tasks in a folder, coordination in the process, nothing else to install.
//!
//! It is the service as it runs in a cluster, with the parts that a program of its own would give it. Workers and clients
//! reach it at [`Embedded::url`], from the same program or from others. Several replicas, or a PostgreSQL that they share,
//! need a coordination service that they share too: [`run`](crate::run) takes one.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use mcp_chassis::{ServiceConfig as _, ServiceSettings};
use mcp_coord::{Coordinator, keys};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    SERVICE,
    config::{Config, Settings, StoreKind},
    run,
};

/// How long the start may take. Generous, because a large store is read then.
const READY_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it is done.
const READY_POLL: Duration = Duration::from_millis(5);

/// A running scheduler. Call [`stop`](Self::stop) to end it and wait for the end; dropping it ends it in the background. What
/// was acknowledged is safe either way, and when the process is killed.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    stop: DropGuard,
    running: JoinHandle<anyhow::Result<()>>,
}

/// Makes an [`Embedded`].
#[derive(Debug, Clone)]
pub struct Builder {
    folder: PathBuf,
    listen: SocketAddr,
    settings: Settings,
}

impl Embedded {
    /// A scheduler whose data lie in `folder`, which is made when it is missing. One process at a time can have it open.
    pub fn builder(folder: impl Into<PathBuf>) -> Builder {
        let listen = ServiceSettings::default().listen;
        Builder { folder: folder.into(), listen, settings: Settings::default() }
    }

    /// Where workers and clients reach it, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits for its end, which comes only with a failure.
    ///
    /// # Errors
    /// Why it ended.
    ///
    /// # Cancellation
    /// Dropping the future changes nothing.
    pub async fn failed(&mut self) -> anyhow::Result<()> {
        (&mut self.running).await.context("the scheduler panicked")?
    }

    /// Stops it: no new calls, sessions and streams end, what was taken is committed, the store is closed. Workers keep
    /// their attempts, and report them when a scheduler is back at the same address.
    ///
    /// # Errors
    /// It failed, now or before.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.running.await.context("the scheduler panicked")?
    }
}

impl Builder {
    /// Where to listen; port 0 takes a free one. Without it a free port of the loopback interface.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Limits and times. The folder of the store is the builder's, whatever they say.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Starts it, and returns when it takes tasks.
    ///
    /// # Errors
    /// The settings are wrong, the folder cannot be used or is another process's, or the address cannot be listened on.
    ///
    /// # Cancellation
    /// Dropping the future ends what was started, in the background.
    pub async fn start(self) -> anyhow::Result<Embedded> {
        let Self { folder, listen, mut settings } = self;
        anyhow::ensure!(settings.store == StoreKind::Embedded, "an embedded scheduler keeps its tasks in a folder");
        settings.data_dir = folder.join("tasks");
        let mut config = Config { scheduler: settings, ..Config::default() };
        let instance_id = mcp_chassis::server::random_instance_id(SERVICE);
        config.service =
            ServiceSettings { listen, instance_id: Some(instance_id.clone()), ..ServiceSettings::default() };
        config.validate()?;

        let coord = tokio::task::spawn_blocking(move || mcp_coord::Embedded::open(&folder.join("coord")));
        let coord: Arc<dyn Coordinator> = Arc::new(coord.await.context("the folder could not be opened")??);
        let listener = TcpListener::bind(listen).await.with_context(|| format!("`{listen}` cannot be listened on"))?;
        let address = listener.local_addr()?;
        let registered = keys::instance(&config.coord.cluster, SERVICE, &instance_id);
        let stop = CancellationToken::new();
        let running = tokio::spawn(run(config, listener, Arc::clone(&coord), stop.clone()));
        let mut embedded = Embedded { address, stop: stop.drop_guard(), running };
        tokio::select! {
            ended = embedded.failed() => {
                ended?;
                anyhow::bail!("the scheduler ended at its start");
            }
            ready = ready(&*coord, &registered) => ready?,
        }
        Ok(embedded)
    }
}

/// Waits until the instance is registered: then its partitions are open.
async fn ready(coord: &dyn Coordinator, key: &str) -> anyhow::Result<()> {
    let end = Instant::now() + READY_MAX;
    while coord.get(key).await?.is_none() {
        anyhow::ensure!(Instant::now() < end, "the scheduler is not ready after {READY_MAX:?}; the log tells why");
        sleep(READY_POLL).await;
    }
    Ok(())
}
