//! The processes, and what etcd says of them.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc, time::Duration};

use mcp_client::{Client, discovery::Discovery};
use mcp_coord::{Coordinator, Etcd, InstanceRecord, keys};
use mcp_proto::{
    TaskId,
    partition::{OWNED_LABEL, OwnedPartitions, of_home},
    scheduler::v1::{Task, TaskSpec},
};
use nix::sys::signal::Signal;
use testkit::{FaultProxy, Postgres, Process, etcd::EtcdProcess, eventually, proxy::Mode};

use crate::support::handler;

/// Longest time that anything may take on a machine that is busy with other things.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// A lease that does not end by itself in a test, however slow the machine.
pub(super) const LONG_LEASE: Duration = Duration::from_secs(30);
/// A lease whose end a test waits for.
pub(super) const SHORT_LEASE: Duration = Duration::from_secs(3);
/// How long a worker without a session keeps its attempts, and a new owner waits for reports.
const WORKER_LEASE: &str = "5s";
/// How many partitions there are.
pub(super) const PARTITIONS: u16 = 16;
const CLUSTER: &str = "local";

/// The replicas and what they share.
pub(super) struct Fleet {
    pub(super) discovery: Discovery,
    coord: Arc<dyn Coordinator>,
    etcd: EtcdProcess,
    database: String,
    lease_ttl: Duration,
    replicas: BTreeMap<&'static str, Replica>,
}

/// A process, and the proxy through which it reaches etcd.
struct Replica {
    process: Process,
    to_etcd: FaultProxy,
}

impl Fleet {
    /// Starts replicas on an empty database, and waits until they share the partitions.
    pub(super) async fn start(ids: &[&'static str], lease_ttl: Duration) -> Self {
        let etcd = EtcdProcess::start().await;
        let coord: Arc<dyn Coordinator> = Arc::new(Etcd::connect(&[etcd.endpoint()]).await.unwrap());
        let discovery = Discovery::start(Arc::clone(&coord), CLUSTER);
        let database = tokio::task::spawn_blocking(|| Postgres::shared().database()).await.unwrap();
        let mut fleet = Self { discovery, coord, etcd, database, lease_ttl, replicas: BTreeMap::new() };
        for id in ids {
            fleet.serve(id).await;
        }
        fleet.settled(ids).await;
        fleet
    }

    /// Starts a replica, or starts it again.
    pub(super) async fn serve(&mut self, id: &'static str) {
        let to_etcd = match self.replicas.remove(id) {
            Some(Replica { to_etcd, .. }) => to_etcd,
            None => {
                let address = self.etcd.endpoint().trim_start_matches("http://").parse().unwrap();
                FaultProxy::start(address).await
            }
        };
        let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_mcp-scheduler")));
        for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("MCP_") || key.starts_with("OTEL_")) {
            command.env_remove(key);
        }
        let lease_ttl = humantime_seconds(self.lease_ttl);
        for (key, value) in [
            ("SERVICE__LISTEN", "127.0.0.1:0"),
            ("SERVICE__INSTANCE_ID", id),
            ("SERVICE__LEASE_TTL", &lease_ttl),
            ("COORD__ENDPOINTS", &to_etcd.url()),
            ("SCHEDULER__STORE", "postgres"),
            ("SCHEDULER__POSTGRES__URL", &self.database),
            ("SCHEDULER__WORKER_LEASE", WORKER_LEASE),
            ("SCHEDULER__PING_INTERVAL", "500ms"),
        ] {
            command.env(format!("MCP_SCHEDULER__{key}"), value);
        }
        self.replicas.insert(id, Replica { process: Process::spawn(id, command), to_etcd });
    }

    /// Waits until exactly these replicas are registered, and each partition is owned by the one that is preferred for it
    /// and open there.
    pub(super) async fn settled(&self, ids: &[&str]) {
        let expected: BTreeMap<u16, String> = (0..PARTITIONS).map(|n| (n, preferred(ids, n).to_owned())).collect();
        eventually(SOON, || async {
            let owners = self.owners().await;
            let mut open = BTreeMap::new();
            let records = self.records();
            for record in &records {
                let owned = record.labels.get(OWNED_LABEL).and_then(|label| OwnedPartitions::parse(label));
                let owned = owned.ok_or_else(|| format!("{record:?} does not say what it owns"))?;
                open.extend((0..PARTITIONS).filter(|n| owned.has(*n)).map(|n| (n, record.instance_id.clone())));
            }
            let is_right = records.len() == ids.len() && owners == expected && open == expected;
            if is_right { Ok(()) } else { Err(format!("owned {owners:?}, open {open:?}, expected {expected:?}")) }
        })
        .await;
    }

    /// Who owns each partition, as etcd has it.
    pub(super) async fn owners(&self) -> BTreeMap<u16, String> {
        let prefix = keys::partitions(CLUSTER);
        let entries = self.coord.range(&prefix).await.unwrap().entries;
        let owner = |entry: &mcp_coord::KeyValue| {
            let value: serde_json::Value = serde_json::from_slice(&entry.value).unwrap();
            (entry.key[prefix.len()..].parse().unwrap(), value["instance_id"].as_str().unwrap().to_owned())
        };
        entries.iter().map(owner).collect()
    }

    /// A partition that this replica owns.
    pub(super) async fn partition_of(&self, id: &str) -> u16 {
        let owners = self.owners().await;
        owners.into_iter().find(|(_, owner)| owner == id).map(|(partition, _)| partition).unwrap()
    }

    /// Waits until a replica owns nothing and all partitions have owners.
    pub(super) async fn taken_from(&self, id: &str) {
        eventually(SOON, || async {
            let owners = self.owners().await;
            let is_taken = owners.len() == usize::from(PARTITIONS) && owners.values().all(|owner| owner != id);
            if is_taken { Ok(()) } else { Err(format!("{owners:?}")) }
        })
        .await;
    }

    /// Where a replica listens.
    pub(super) fn url(&self, id: &str) -> String {
        let records = self.records();
        let record = records.iter().find(|record| record.instance_id == id);
        format!("http://{}", record.unwrap_or_else(|| panic!("{id} is not registered: {records:?}")).address)
    }

    /// A client of one replica.
    pub(super) fn client(&self, id: &str) -> Client {
        Client::connect(&self.url(id)).unwrap()
    }

    /// Sends a signal.
    pub(super) fn signal(&self, id: &str, signal: Signal) {
        self.replicas[id].process.signal(signal);
    }

    /// Ends a replica without warning.
    pub(super) fn kill(&mut self, id: &str) {
        self.replica(id).process.kill();
    }

    /// Stops a replica in order, and waits for its end.
    pub(super) async fn stop(&mut self, id: &str) {
        self.signal(id, Signal::SIGTERM);
        let status = self.replica(id).process.ended(SOON).await;
        assert!(status.success(), "{id} ended with {status}");
    }

    /// Puts something between a replica and etcd.
    pub(super) async fn set_link(&self, id: &str, mode: Mode) {
        self.replicas[id].to_etcd.set(mode).await;
    }

    /// What a replica wrote.
    pub(super) fn output(&self, id: &str) -> String {
        self.replicas[id].process.output()
    }

    fn replica(&mut self, id: &str) -> &mut Replica {
        self.replicas.get_mut(id).unwrap()
    }

    fn records(&self) -> Vec<Arc<InstanceRecord>> {
        self.discovery.snapshot().by_service("scheduler").to_vec()
    }
}

fn humantime_seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}

/// Who is to own a partition: rendezvous hashing, the same in every version.
fn preferred<'a>(ids: &[&'a str], partition: u16) -> &'a str {
    let weight = |id: &str| {
        let bytes = id.bytes().chain(partition.to_be_bytes());
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let mut mixed = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    ids.iter().max_by_key(|id| weight(id)).unwrap()
}

/// A queue whose tasks belong to a partition.
pub(super) fn queue_of(partition: u16) -> String {
    let names = (0_u32..).map(|n| format!("queue-{n}"));
    let is_there = |name: &String| of_home(TaskId::home_of("default", name), PARTITIONS) == partition;
    names.into_iter().find(is_there).unwrap()
}

/// A task for a handler, in a partition.
pub(super) fn task_in(partition: u16, name: &str) -> TaskSpec {
    TaskSpec { queue: queue_of(partition), ..handler(name) }
}

/// Waits until a task is in a state that fits.
pub(super) async fn reaches(client: &Client, id: &str, fits: impl Fn(&Task) -> bool) -> Task {
    eventually(SOON, || async {
        let task = client.get(id).await.map_err(|error| error.to_string())?;
        if fits(&task) { Ok(task) } else { Err(format!("{task:?}")) }
    })
    .await
}
