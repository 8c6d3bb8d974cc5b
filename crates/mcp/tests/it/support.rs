//! Clusters of real processes: `mcp dev` in one, or the four services apart on a real etcd.

use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc, time::Duration};

use mcp_client::{Client, discovery::Discovery};
use mcp_coord::{Coordinator, Etcd, keys};
use mcp_proto::scheduler::v1::{HandlerWork, ProcessWork, Task, TaskSpec, TaskState, task_spec::Work};
use tempfile::TempDir;
use testkit::{Process, etcd::EtcdProcess, eventually};

/// Longest wait for something that takes well under a second on an idle machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// How long a service stays registered without a keep-alive.
pub(crate) const LEASE_TTL: Duration = Duration::from_secs(3);

/// The name of the cluster in etcd.
pub(crate) const CLUSTER: &str = "local";

/// The `mcp` program under test, with nothing of the caller's settings.
pub(crate) fn mcp() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp"));
    for (key, _) in std::env::vars().filter(|(key, _)| key.starts_with("MCP_") || key.starts_with("OTEL_")) {
        command.env_remove(key);
    }
    command
}

/// `mcp dev` as a process of its own.
pub(crate) struct Dev {
    /// The process.
    pub(crate) process: Process,
    /// Where the gateway answers.
    pub(crate) url: String,
    /// Where sessions of the wire frame begin, `host:port`.
    pub(crate) frames: String,
    _data: TempDir,
}

impl Dev {
    /// Starts it and waits until it takes tasks.
    pub(crate) async fn start(args: &[&str]) -> Self {
        let mut command = mcp();
        // It is killed in the end, so its folder has to be the test's.
        let data = tempfile::tempdir().expect("a temporary folder can be made");
        command.args(["dev", "--port", "0", "--data-dir"]).arg(data.path()).args(args);
        let mut process = Process::spawn("mcp dev", command);
        let line = process.line_with("http://127.0.0.1:", SOON).await;
        let start = line.find("http://").expect("the mark is in the line");
        let url = line[start..].split_whitespace().next().expect("a URL follows").to_owned();
        let line = process.line_with("wire frame", SOON).await;
        let frames = line.split_whitespace().last().expect("an address follows").to_owned();
        Self { process, url, frames, _data: data }
    }

    /// A client of its gateway.
    pub(crate) fn client(&self) -> Client {
        Client::connect(&self.url).expect("the URL is right")
    }
}

/// The four services as processes of their own, on a real etcd.
pub(crate) struct Cluster {
    /// The etcd they meet in.
    pub(crate) etcd: EtcdProcess,
    /// What is registered.
    pub(crate) discovery: Discovery,
    otlp_endpoint: Option<String>,
    services: BTreeMap<String, Process>,
    data: TempDir,
}

impl Cluster {
    /// Starts etcd, a registry, a scheduler, a gateway and the named workers, and waits until all are registered.
    pub(crate) async fn start(workers: &[&str]) -> Self {
        Self::traced(workers, None).await
    }

    /// The same; traces go to this OTLP receiver.
    pub(crate) async fn traced(workers: &[&str], otlp_endpoint: Option<String>) -> Self {
        let etcd = EtcdProcess::start().await;
        let coord: Arc<dyn Coordinator> =
            Arc::new(Etcd::connect(&[etcd.endpoint()]).await.expect("the endpoint is well formed"));
        let discovery = Discovery::start(coord, CLUSTER);
        let data = tempfile::tempdir().expect("a temporary folder can be made");
        let mut cluster = Self { etcd, discovery, otlp_endpoint, services: BTreeMap::new(), data };
        for service in ["registry", "scheduler", "gateway"] {
            cluster.serve(service, service);
        }
        for worker in workers {
            cluster.serve("worker", worker);
        }
        for service in ["registry", "scheduler", "gateway"] {
            cluster.registered(service, service).await;
        }
        for worker in workers {
            cluster.registered("worker", worker).await;
        }
        cluster
    }

    /// Starts one service under the instance id `id`. Its data outlives it.
    pub(crate) fn serve(&mut self, service: &str, id: &str) {
        self.serve_with(service, id, |_| {});
    }

    /// The same; `change` has the last word on the command.
    pub(crate) fn serve_with(&mut self, service: &str, id: &str, change: impl FnOnce(&mut Command)) {
        let prefix = format!("MCP_{}", service.to_uppercase());
        let mut command = mcp();
        command
            .args(["serve", service, "--listen", "127.0.0.1:0"])
            .env(format!("{prefix}__COORD__ENDPOINTS"), self.etcd.endpoint())
            .env(format!("{prefix}__SERVICE__INSTANCE_ID"), id)
            .env(format!("{prefix}__SERVICE__LEASE_TTL"), format!("{}s", LEASE_TTL.as_secs()));
        if let Some(endpoint) = &self.otlp_endpoint {
            command.env(format!("{prefix}__TELEMETRY__OTLP_ENDPOINT"), endpoint);
        }
        if service == "scheduler" {
            command
                .env("MCP_SCHEDULER__SCHEDULER__DATA_DIR", self.data.path().join(id))
                .env("MCP_SCHEDULER__SCHEDULER__WORKER_LEASE", "3s");
        }
        if service == "worker" {
            command.env("MCP_WORKER__WORKER__SLOTS", "8");
        }
        if service == "gateway" {
            command
                .env("MCP_GATEWAY__GATEWAY__SECURITY__ANONYMOUS", "true")
                .env("MCP_GATEWAY__GATEWAY__FRAMES__STANDARD_ADDR", "127.0.0.1:0");
        }
        change(&mut command);
        self.services.insert(id.to_owned(), Process::spawn(id, command));
    }

    /// Waits until an instance is registered at an address that answers, and returns the address.
    pub(crate) async fn registered(&self, service: &str, id: &str) -> String {
        eventually(SOON, || async {
            let snapshot = self.discovery.snapshot();
            let known = snapshot.by_service(service);
            let address = known.iter().find(|instance| instance.instance_id == id).map(|i| i.address.clone());
            let address = address.ok_or_else(|| format!("no {service} `{id}` among {known:?}"))?;
            match tokio::net::TcpStream::connect(&address).await {
                Ok(_) => Ok(address),
                Err(error) => Err(format!("{service} `{id}` at {address}: {error}")),
            }
        })
        .await
    }

    /// Where a registered gateway takes frames, `host:port`.
    pub(crate) fn frames(&self, id: &str) -> String {
        let snapshot = self.discovery.snapshot();
        let gateways = snapshot.by_service("gateway");
        let gateway = gateways.iter().find(|instance| instance.instance_id == id).expect("it is registered");
        gateway.labels.get("frame-standard").expect("it takes frames").clone()
    }

    /// Waits until etcd itself holds the instance, whatever a watcher remembers.
    pub(crate) async fn registered_in_etcd(&self, service: &str, id: &str) {
        let etcd = Etcd::connect(&[self.etcd.endpoint()]).await.expect("the endpoint is well formed");
        let key = keys::instance(CLUSTER, service, id);
        eventually(SOON, || async {
            match etcd.get(&key).await {
                Ok(Some(entry)) if entry.lease.is_some() => Ok(()),
                other => Err(format!("{key}: {other:?}")),
            }
        })
        .await;
    }

    /// A client of the gateway.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(&self.gateway_url().await).expect("the URL is right")
    }

    /// Where the gateway answers.
    pub(crate) async fn gateway_url(&self) -> String {
        format!("http://{}", self.registered("gateway", "gateway").await)
    }

    /// The process of a service.
    pub(crate) fn process(&mut self, id: &str) -> &mut Process {
        self.services.get_mut(id).expect("the service was started")
    }
}

/// A program to run, in the default queue.
pub(crate) fn program(argv: &[&str]) -> TaskSpec {
    let argv = argv.iter().map(|&arg| arg.to_owned()).collect();
    TaskSpec { work: Some(Work::Process(ProcessWork { argv, ..Default::default() })), ..Default::default() }
}

/// A call of a function that only the test's own worker has.
pub(crate) fn call(handler: &str) -> TaskSpec {
    let work = HandlerWork { handler: handler.to_owned(), input: None };
    TaskSpec { work: Some(Work::Handler(work)), ..Default::default() }
}

/// Waits for a task to be final and asserts how it ended.
pub(crate) async fn ends(client: &Client, id: &str, expected: TaskState) -> Task {
    let task = client.wait(id, SOON).await.expect("the wait is answered");
    assert_eq!(task.state(), expected, "{task:?}");
    task
}

/// Waits until a file holds at least `lines` lines, and returns them.
pub(crate) async fn file_lines(path: &Path, lines: usize) -> Vec<String> {
    eventually(SOON, || async {
        let text = tokio::fs::read_to_string(path).await.unwrap_or_default();
        let found: Vec<String> = text.lines().map(str::to_owned).collect();
        if found.len() >= lines { Ok(found) } else { Err(format!("{found:?}")) }
    })
    .await
}
