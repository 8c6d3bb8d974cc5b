//! The processes: etcd, a scheduler, two gateways, two backends.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::Duration,
};

use mcp_client::discovery::Discovery;
use mcp_coord::{Coordinator, Etcd, InstanceRecord};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use testkit::{Process, etcd::EtcdProcess, eventually};

use super::backend;
use crate::support::{CLUSTER, SOON, mcp};

/// The gateways.
pub(super) const GATEWAYS: [&str; 2] = ["gateway-a", "gateway-b"];
/// The backends.
pub(super) const BACKENDS: [&str; 2] = ["backend-a", "backend-b"];
/// How long a gateway's port stays open once it is not ready, for the load balancer to notice.
const DRAIN_DELAY: &str = "400ms";
/// Longest time for a stop.
const STOP_MAX: Duration = Duration::from_secs(20);

/// Everything that runs.
pub(super) struct Fleet {
    /// First, so that they end before what they need does.
    processes: BTreeMap<&'static str, Process>,
    addresses: [SocketAddr; 2],
    etcd: EtcdProcess,
    discovery: Discovery,
    data: TempDir,
}

impl Fleet {
    /// Starts everything and waits until it is registered.
    pub(super) async fn start() -> Self {
        let etcd = EtcdProcess::start().await;
        let coord: Arc<dyn Coordinator> =
            Arc::new(Etcd::connect(&[etcd.endpoint()]).await.expect("the endpoint is well formed"));
        let discovery = Discovery::start(coord, CLUSTER);
        let data = tempfile::tempdir().expect("a temporary folder can be made");
        let anywhere: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let mut fleet = Self { processes: BTreeMap::new(), addresses: [anywhere; 2], etcd, discovery, data };
        fleet.serve("scheduler", "scheduler", anywhere);
        for backend in BACKENDS {
            fleet.serve_backend(backend);
        }
        for gateway in GATEWAYS {
            fleet.serve("gateway", gateway, anywhere);
        }
        fleet.registered("scheduler", "scheduler", 0).await;
        for backend in BACKENDS {
            fleet.registered(backend::SERVICE, backend, 0).await;
        }
        for (index, gateway) in GATEWAYS.into_iter().enumerate() {
            let record = fleet.registered("gateway", gateway, 0).await;
            fleet.addresses[index] = record.address.parse().expect("an IP and a port");
        }
        fleet
    }

    /// Where the gateways listen, now and after each restart.
    pub(super) fn gateway_addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }

    fn serve(&mut self, service: &str, id: &'static str, listen: SocketAddr) {
        let prefix = format!("MCP_{}", service.to_uppercase());
        let mut command = mcp();
        command
            .args(["serve", service, "--listen", &listen.to_string()])
            .env(format!("{prefix}__COORD__ENDPOINTS"), self.etcd.endpoint())
            .env(format!("{prefix}__SERVICE__INSTANCE_ID"), id)
            .env("MCP_SCHEDULER__SCHEDULER__DATA_DIR", self.data.path().join("scheduler"))
            .env("MCP_GATEWAY__GATEWAY__DRAIN_DELAY", DRAIN_DELAY)
            .env("MCP_GATEWAY__GATEWAY__SECURITY__ANONYMOUS", "true");
        // It refuses settings of others.
        let others = if service == "gateway" { "MCP_SCHEDULER__" } else { "MCP_GATEWAY__" };
        let foreign: Vec<_> = command
            .get_envs()
            .filter(|(key, _)| key.to_string_lossy().starts_with(others))
            .map(|(key, _)| key.to_owned())
            .collect();
        for key in &foreign {
            command.env_remove(key);
        }
        self.processes.insert(id, Process::spawn(id, command));
    }

    fn serve_backend(&mut self, id: &'static str) {
        let command: Command = backend::command(&self.etcd.endpoint(), id, &self.journal());
        self.processes.insert(id, Process::spawn(id, command));
    }

    fn journal(&self) -> PathBuf {
        self.data.path().join("journal")
    }

    /// Waits until an instance is registered that is newer than `after`, in milliseconds of Unix time.
    async fn registered(&self, service: &str, id: &str, after: u64) -> Arc<InstanceRecord> {
        eventually(SOON, || async {
            let snapshot = self.discovery.snapshot();
            let known = snapshot.by_service(service);
            let found = known.iter().find(|instance| instance.instance_id == id && instance.registered_unix_ms > after);
            found.map(Arc::clone).ok_or_else(|| format!("no new {service} `{id}` among {known:?}"))
        })
        .await
    }

    /// Tells a process to stop, waits until it has, in order, and returns when it had registered.
    async fn stop(&mut self, service: &str, id: &str) -> u64 {
        let before = self.registered(service, id, 0).await.registered_unix_ms;
        let process = self.processes.get_mut(id).expect("it was started");
        process.signal(Signal::SIGTERM);
        let status = process.ended(STOP_MAX).await;
        assert!(status.success(), "{id} ended with {status}:\n{}", process.output());
        before
    }

    /// Restarts a gateway; it listens where it did before.
    pub(super) async fn restart_gateway(&mut self, index: usize) {
        let (id, address) = (GATEWAYS[index], self.addresses[index]);
        self.stop("gateway", id).await;
        self.serve("gateway", id, address);
    }

    /// Restarts a backend, and waits until it is registered again.
    pub(super) async fn restart_backend(&mut self, id: &'static str) {
        let before = self.stop(backend::SERVICE, id).await;
        self.serve_backend(id);
        self.registered(backend::SERVICE, id, before).await;
    }

    /// Asserts that every call that was answered was carried out, and no call twice.
    pub(super) fn assert_done_once(&self, answered: &[String]) {
        let journal = std::fs::read_to_string(self.journal()).unwrap_or_default();
        let mut done = BTreeSet::new();
        for name in journal.lines() {
            assert!(done.insert(name), "{name} was carried out twice");
        }
        let missing: Vec<_> = answered.iter().filter(|name| !done.contains(name.as_str())).collect();
        assert!(missing.is_empty(), "answered and not carried out: {missing:?}");
    }
}
