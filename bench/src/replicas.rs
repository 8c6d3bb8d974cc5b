//! Several schedulers as processes of their own, behind a gateway, on one etcd and one PostgreSQL.

use std::{collections::BTreeMap, net::TcpListener, process::Command, sync::Arc, time::Duration};

use anyhow::Context;
use mcp_client::{
    Client,
    worker::{Schedulers, Worker},
};
use mcp_coord::{Coordinator, Etcd, keys};
use mcp_proto::{TaskId, partition::of_home};
use testkit::{Process, etcd::EtcdProcess, eventually};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::system::Setup;

/// How many partitions a cluster has by default.
pub(crate) const PARTITIONS: u16 = 16;
/// The schedulers.
const IDS: [&str; 3] = ["scheduler-0", "scheduler-1", "scheduler-2"];
const CLUSTER: &str = "local";
/// Longest wait for the start.
const READY_MAX: Duration = Duration::from_secs(60);
/// Slots of the worker.
const SLOTS: usize = 256;

/// The processes. They end with it.
pub(crate) struct Replicas {
    schedulers: BTreeMap<&'static str, Process>,
    _gateway: Process,
    _worker: DropGuard,
    coord: Arc<dyn Coordinator>,
    gateway_url: String,
    _etcd: EtcdProcess,
}

impl Replicas {
    /// Starts them, with this lease, and a worker whose function `no-op` does nothing. Waits until every scheduler has its
    /// partitions.
    pub(crate) async fn start(setup: &Setup, lease_ttl: Duration) -> anyhow::Result<Self> {
        let etcd = EtcdProcess::start().await;
        let coord: Arc<dyn Coordinator> = Arc::new(Etcd::connect(&[etcd.endpoint()]).await?);
        let database = setup.database().context("replicas share a PostgreSQL")?;
        let (mut schedulers, mut urls) = (BTreeMap::new(), Vec::new());
        for id in IDS {
            let (mut command, url) = serve(setup, "scheduler", id, &etcd)?;
            command
                .env("MCP_SCHEDULER__SERVICE__LEASE_TTL", format!("{}ms", lease_ttl.as_millis()))
                .env("MCP_SCHEDULER__SCHEDULER__STORE", "postgres")
                .env("MCP_SCHEDULER__SCHEDULER__POSTGRES__URL", database);
            schedulers.insert(id, Process::spawn(id, command));
            urls.push(url);
        }
        let (mut command, gateway_url) = serve(setup, "gateway", "gateway", &etcd)?;
        command.env("MCP_GATEWAY__GATEWAY__SECURITY__ANONYMOUS", "true");
        let gateway = Process::spawn("gateway", command);
        let worker = Worker::builder(Schedulers::Fixed(urls))
            .slots(SLOTS)
            .handler("no-op", |_, input| async move { Ok(input) })
            .build();
        let (mut sessions, stop) = (worker.open_sessions(), CancellationToken::new());
        tokio::spawn(worker.run(stop.clone()));
        tokio::time::timeout(READY_MAX, sessions.wait_for(|open| *open == IDS.len())).await??;
        let replicas =
            Self { schedulers, _gateway: gateway, _worker: stop.drop_guard(), coord, gateway_url, _etcd: etcd };
        eventually(READY_MAX, || async {
            let owned = replicas.owned().await.map_err(|error| error.to_string())?;
            let is_shared =
                owned.len() == IDS.len() && owned.values().map(Vec::len).sum::<usize>() == usize::from(PARTITIONS);
            if is_shared { Ok(()) } else { Err(format!("{owned:?}")) }
        })
        .await;
        Ok(replicas)
    }

    /// The partitions of each scheduler that has some.
    pub(crate) async fn owned(&self) -> anyhow::Result<BTreeMap<String, Vec<u16>>> {
        let prefix = keys::partitions(CLUSTER);
        let mut owned: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for entry in self.coord.range(&prefix).await?.entries {
            let owner: serde_json::Value = serde_json::from_slice(&entry.value)?;
            let id = owner["instance_id"].as_str().context("an owner has a name")?;
            owned.entry(id.to_owned()).or_default().push(entry.key[prefix.len()..].parse()?);
        }
        Ok(owned)
    }

    /// Ends a scheduler without warning.
    pub(crate) fn kill(&mut self, id: &str) {
        self.schedulers.get_mut(id).expect("it is one of ours").kill();
    }

    /// A client of the gateway.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.gateway_url)?)
    }
}

/// A service on a free port.
fn serve(setup: &Setup, service: &str, id: &str, etcd: &EtcdProcess) -> anyhow::Result<(Command, String)> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let prefix = format!("MCP_{}", service.to_uppercase());
    let mut command = Command::new(setup.program());
    command
        .args(["serve", service, "--listen", &address.to_string()])
        .env(format!("{prefix}__COORD__ENDPOINTS"), etcd.endpoint())
        .env(format!("{prefix}__SERVICE__INSTANCE_ID"), id);
    Ok((command, format!("http://{address}")))
}

/// A queue whose tasks belong to a partition.
pub(crate) fn queue_of(partition: u16) -> String {
    let names = (0_u32..).map(|n| format!("queue-{n}"));
    let is_there = |name: &String| of_home(TaskId::home_of("default", name), PARTITIONS) == partition;
    names.into_iter().find(is_there).expect("every partition has queues")
}
