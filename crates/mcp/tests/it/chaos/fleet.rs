//! The processes: etcd, PostgreSQL, a gateway, three schedulers, four workers.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use mcp_client::{Client, discovery::Discovery};
use mcp_coord::{Coordinator, Etcd};
use testkit::{
    Postgres, Process,
    etcd::EtcdProcess,
    eventually,
    proxy::{FaultProxy, Mode},
};
use tokio::task::spawn_blocking;

use super::{history::History, worker};
use crate::support::{CLUSTER, SOON, mcp};

/// How long ownership and registration outlive their holder.
const LEASE_TTL: &str = "3s";
/// How long a worker without a session keeps its attempts, and how long a new owner waits for reports of what runs.
const WORKER_LEASE: &str = "4s";

/// The schedulers.
pub(super) const SCHEDULERS: [&str; 3] = ["scheduler-a", "scheduler-b", "scheduler-c"];
/// The workers: two that run programs, and two that call functions.
pub(super) const WORKERS: [&str; 4] = ["worker-a", "worker-b", "worker-c", "worker-d"];
/// Those that run programs. They are services, and so they are registered.
const OF_PROGRAMS: [&str; 2] = [WORKERS[0], WORKERS[1]];

/// Everything that runs.
pub(super) struct Fleet {
    /// First, so that they end before what they need does.
    processes: BTreeMap<String, Process>,
    pub(super) etcd: EtcdProcess,
    postgres: Arc<Postgres>,
    database: String,
    /// Between a scheduler and the rest of the world: etcd, and PostgreSQL.
    links: BTreeMap<&'static str, (FaultProxy, FaultProxy)>,
    discovery: Discovery,
    history_files: BTreeMap<&'static str, PathBuf>,
    gateway_url: String,
}

impl Fleet {
    /// Starts everything and waits until it is registered.
    pub(super) async fn start(history: &History) -> Self {
        let etcd = EtcdProcess::start().await;
        let postgres = Arc::new(spawn_blocking(Postgres::start).await.expect("PostgreSQL starts"));
        let database = postgres.database();
        let coord: Arc<dyn Coordinator> =
            Arc::new(Etcd::connect(&[etcd.endpoint()]).await.expect("the endpoint is well formed"));
        let mut links = BTreeMap::new();
        for scheduler in SCHEDULERS {
            let to_etcd = FaultProxy::start(address_of(&etcd.endpoint())).await;
            let to_postgres = FaultProxy::start(address_of(&database)).await;
            links.insert(scheduler, (to_etcd, to_postgres));
        }
        let mut fleet = Self {
            etcd,
            postgres,
            database,
            links,
            discovery: Discovery::start(coord, CLUSTER),
            processes: BTreeMap::new(),
            history_files: WORKERS.map(|worker| (worker, history.file_of(worker))).into(),
            gateway_url: String::new(),
        };
        for scheduler in SCHEDULERS {
            fleet.serve_scheduler(scheduler);
        }
        for worker in WORKERS {
            fleet.serve_worker(worker);
        }
        fleet.serve("gateway", "gateway", |command| {
            command.env("MCP_GATEWAY__GATEWAY__SECURITY__ANONYMOUS", "true");
        });
        for (service, ids) in
            [("scheduler", &SCHEDULERS[..]), ("worker", &OF_PROGRAMS[..]), ("gateway", &["gateway"][..])]
        {
            for id in ids {
                fleet.registered(service, id).await;
            }
        }
        fleet.gateway_url = format!("http://{}", fleet.registered("gateway", "gateway").await);
        fleet
    }

    /// Where the gateway answers.
    pub(super) fn gateway_url(&self) -> String {
        self.gateway_url.clone()
    }

    /// A client of the gateway.
    pub(super) async fn client(&self) -> Client {
        Client::connect(&self.gateway_url).expect("the URL is right")
    }

    /// Starts a scheduler; it reaches etcd and PostgreSQL through its links.
    pub(super) fn serve_scheduler(&mut self, id: &'static str) {
        let (to_etcd, to_postgres) = &self.links[id];
        let etcd = format!("http://{}", to_etcd.address());
        let url = self.database.replace(&address_of(&self.database).to_string(), &to_postgres.address().to_string());
        self.serve("scheduler", id, |command| {
            command
                .env("MCP_SCHEDULER__COORD__ENDPOINTS", etcd)
                .env("MCP_SCHEDULER__SCHEDULER__STORE", "postgres")
                .env("MCP_SCHEDULER__SCHEDULER__POSTGRES__URL", url)
                .env("MCP_SCHEDULER__SCHEDULER__WORKER_LEASE", WORKER_LEASE)
                .env("MCP_SCHEDULER__SCHEDULER__PING_INTERVAL", "1s");
        });
    }

    /// Starts a worker, whose programs or functions write into its file of the history.
    pub(super) fn serve_worker(&mut self, id: &'static str) {
        let file = self.history_files[id].clone();
        if !OF_PROGRAMS.contains(&id) {
            let process = Process::spawn(id, worker::command(&self.etcd.endpoint(), &file));
            self.processes.insert(id.to_owned(), process);
            return;
        }
        self.serve("worker", id, |command| {
            command.env("MCP_WORKER__WORKER__SLOTS", "8").env("MCP_HISTORY", file);
        });
    }

    fn serve(&mut self, service: &str, id: &str, more: impl FnOnce(&mut std::process::Command)) {
        let prefix = format!("MCP_{}", service.to_uppercase());
        let mut command = mcp();
        command
            .args(["serve", service, "--listen", "127.0.0.1:0"])
            .env(format!("{prefix}__COORD__ENDPOINTS"), self.etcd.endpoint())
            .env(format!("{prefix}__SERVICE__INSTANCE_ID"), id)
            .env(format!("{prefix}__SERVICE__LEASE_TTL"), LEASE_TTL);
        more(&mut command);
        self.processes.insert(id.to_owned(), Process::spawn(id, command));
    }

    async fn registered(&self, service: &str, id: &str) -> String {
        eventually(SOON, || async {
            let snapshot = self.discovery.snapshot();
            let known = snapshot.by_service(service);
            let address = known.iter().find(|instance| instance.instance_id == id).map(|i| i.address.clone());
            address.ok_or_else(|| format!("no {service} `{id}` among {known:?}"))
        })
        .await
    }

    /// A process.
    pub(super) fn process(&mut self, id: &str) -> &mut Process {
        self.processes.get_mut(id).expect("it was started")
    }

    /// Cuts a scheduler off from etcd and PostgreSQL, or joins it again.
    pub(super) async fn set_links(&self, scheduler: &str, mode: Mode) {
        let (to_etcd, to_postgres) = &self.links[scheduler];
        tokio::join!(to_etcd.set(mode), to_postgres.set(mode));
    }

    /// Cuts a scheduler off from etcd alone, or joins it again.
    pub(super) async fn set_link_to_etcd(&self, scheduler: &str, mode: Mode) {
        self.links[scheduler].0.set(mode).await;
    }

    /// Ends PostgreSQL without warning and starts it again.
    pub(super) async fn restart_postgres(&self) {
        let postgres = Arc::clone(&self.postgres);
        spawn_blocking(move || postgres.restart()).await.expect("PostgreSQL starts again");
    }

    /// Waits until everything is registered again, once all faults are over.
    pub(super) async fn healed(&self) {
        for id in SCHEDULERS {
            self.registered("scheduler", id).await;
        }
        for id in OF_PROGRAMS {
            self.registered("worker", id).await;
        }
    }
}

/// The `host:port` in a URL.
fn address_of(url: &str) -> std::net::SocketAddr {
    let (_, rest) = url.split_once("://").expect("a URL");
    let authority = rest.split('/').next().expect("a URL has an authority");
    let host = authority.rsplit('@').next().expect("a host");
    host.parse().unwrap_or_else(|error| panic!("`{host}` is not an address: {error}"))
}
