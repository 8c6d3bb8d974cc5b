//! Our gateway as shipped, with what it needs: etcd, a receiver of traces, and a backend that it finds in etcd.

use std::{
    env,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use http::{Method, StatusCode};
use testkit::{Process, etcd::EtcdProcess, eventually, otlp::OtlpReceiver};

use crate::{
    message::{self, JSON_PATH},
    process,
};

/// Longest wait for the start.
const READY_MAX: Duration = Duration::from_secs(60);
/// Data-plane threads: the other proxies have as many.
const THREADS: &str = "2";
/// Share of the traces that is recorded and sent.
const SAMPLE_RATIO: &str = "0.01";
/// What the backend prints before its address.
pub const LISTENS: &str = "backend ";

/// The processes. They end with it.
#[derive(Debug)]
pub struct System {
    gateway: Process,
    address: SocketAddr,
    backend: Backend,
    etcd: EtcdProcess,
    collector: OtlpReceiver,
    program: PathBuf,
}

/// The service behind the proxies, as a process.
#[derive(Debug)]
pub struct Backend {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Backend {
    /// Starts it; with `etcd` it registers there.
    ///
    /// # Errors
    /// When the program is not built.
    pub async fn start(etcd: Option<&str>) -> anyhow::Result<Self> {
        // A binary of this workspace is beside every other one.
        let mut command = Command::new(beside("gateway-bench")?);
        command.arg("backend");
        if let Some(etcd) = etcd {
            command.args(["--etcd", etcd]);
        }
        let mut process = Process::spawn("backend", command);
        let line = process.line_with(LISTENS, READY_MAX).await;
        let address = line.trim_start_matches(LISTENS).trim().parse().context("the backend tells its address")?;
        Ok(Self { process, address })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// A program beside this one.
///
/// # Errors
/// When it is not there.
pub fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let program = env::current_exe()?.with_file_name(name);
    ensure!(program.exists(), "{} does not exist; build it with `cargo build --release`", program.display());
    Ok(program)
}

impl System {
    /// Starts everything and waits until gRPC and JSON calls are answered. `program` is `mcp` or `mcp-gateway`.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(program: &Path) -> anyhow::Result<Self> {
        process::raise_file_limit()?;
        let (etcd, collector) = (EtcdProcess::start().await, OtlpReceiver::start().await);
        let backend = Backend::start(Some(&etcd.endpoint())).await?;
        let (gateway, address) = gateway(program, &etcd, &collector)?;
        let system = Self { gateway, address, backend, etcd, collector, program: program.to_owned() };
        system.ready().await;
        Ok(system)
    }

    /// Ends the gateway and starts another one, which finds what is in etcd.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.gateway.kill();
        (self.gateway, self.address) = gateway(&self.program, &self.etcd, &self.collector)?;
        self.ready().await;
        Ok(())
    }

    /// Waits until a JSON call is answered: the gateway has found the backend and knows its descriptors.
    async fn ready(&self) {
        eventually(READY_MAX, || async {
            // The port may not be open yet.
            tokio::net::TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
            let answer = testkit::http::send(&self.url(), Method::POST, JSON_PATH, message::json().to_string()).await;
            if answer.status == StatusCode::OK { Ok(()) } else { Err(format!("{answer:?}")) }
        })
        .await;
    }

    /// Where the gateway listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The gateway's process.
    pub fn pid(&self) -> u32 {
        self.gateway.pid()
    }

    /// The backend.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }
}

/// As shipped: routing, balancing, breaker and metrics on, no access log, traces sampled at 1 % and sent.
fn gateway(program: &Path, etcd: &EtcdProcess, collector: &OtlpReceiver) -> anyhow::Result<(Process, SocketAddr)> {
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut command = Command::new(program);
    if program.file_name().is_some_and(|name| name == "mcp") {
        command.args(["serve", "gateway"]);
    }
    command
        .args(["--listen", &address.to_string()])
        .env("MCP_GATEWAY__COORD__ENDPOINTS", etcd.endpoint())
        .env("MCP_GATEWAY__TELEMETRY__OTLP_ENDPOINT", collector.endpoint())
        .env("MCP_GATEWAY__TELEMETRY__SAMPLE_RATIO", SAMPLE_RATIO)
        .env("MCP_GATEWAY__GATEWAY__DATA_PLANE_THREADS", THREADS)
        .env("MCP_GATEWAY__GATEWAY__SECURITY__ANONYMOUS", "true");
    Ok((Process::spawn("gateway", command), address))
}
