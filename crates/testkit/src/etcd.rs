//! A real etcd process for tests: its own ports and data, stopped and started at will, gone when it is dropped.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::{Process, eventually};

/// The text of the panic when the program is not there.
const MISSING: &str = "etcd is missing: apt-get install etcd-server";
/// How often another pair of ports is tried when somebody else took one in between.
const STARTS_MAX: usize = 5;
/// Longest wait until it answers; it takes well under a second on an idle machine.
const HEALTHY_WITHIN: Duration = Duration::from_secs(30);
/// Longest wait for one answer of its health page.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// What it writes when a port is taken.
const PORT_TAKEN: &str = "address already in use";
/// Raft timers in milliseconds: short, so that it leads soon and grants leases of 1 s (etcd's shortest lease is
/// one and a half election timeouts).
const HEARTBEAT_MS: &str = "60";
const ELECTION_MS: &str = "600";

/// One etcd server on this machine.
///
/// It listens on loopback only. Its data live as long as this value, so that they outlast [`stop`](Self::stop) and
/// [`restart`](Self::restart). Dropping it kills the process and removes the data.
#[derive(Debug)]
pub struct EtcdProcess {
    process: Option<Process>,
    client: SocketAddr,
    peer: SocketAddr,
    data: TempDir,
}

impl EtcdProcess {
    /// Starts an empty one on free ports and waits until it answers.
    ///
    /// # Panics
    /// When the program is missing, or does not become healthy; the text shows its output.
    pub async fn start() -> Self {
        for _ in 0..STARTS_MAX {
            let data = tempfile::tempdir().expect("a temporary folder can be made");
            let mut etcd = Self { process: None, client: free_port(), peer: free_port(), data };
            if etcd.launch().await {
                return etcd;
            }
        }
        panic!("etcd found its ports taken {STARTS_MAX} times");
    }

    /// Where clients connect, `http://127.0.0.1:port`. It stays the same over a restart.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client)
    }

    /// Ends it without warning (SIGKILL). Nothing happens when it is stopped already.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts it again on the same ports and data, and waits until it answers. A running one is stopped first.
    ///
    /// # Panics
    /// When it does not become healthy, or somebody else took a port for good.
    pub async fn restart(&mut self) {
        self.stop();
        for _ in 0..STARTS_MAX {
            if self.launch().await {
                return;
            }
        }
        panic!("the ports of etcd at {} were taken while it was stopped", self.client);
    }

    /// Freezes it (SIGSTOP): connections stay open, nothing answers.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn freeze(&self) {
        self.process.as_ref().expect("etcd runs").signal(Signal::SIGSTOP);
    }

    /// Ends a [`freeze`](Self::freeze).
    ///
    /// # Panics
    /// When it is stopped.
    pub fn thaw(&self) {
        self.process.as_ref().expect("etcd runs").signal(Signal::SIGCONT);
    }

    /// Starts the process; `false` when a port was taken.
    async fn launch(&mut self) -> bool {
        let process = self.process.insert(Process::spawn("etcd", command(self.client, self.peer, self.data.path())));
        let address = self.client;
        eventually(HEALTHY_WITHIN, || {
            let output = process.output();
            let taken = output.contains(PORT_TAKEN);
            async move {
                match taken {
                    true => Ok(false),
                    false if healthy(address).await => Ok(true),
                    false => Err(format!("etcd at {address} does not answer; it wrote:\n{output}")),
                }
            }
        })
        .await
    }
}

fn command(client: SocketAddr, peer: SocketAddr, data: &std::path::Path) -> Command {
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    let mut command = Command::new(program());
    for (variable, _) in std::env::vars().filter(|(variable, _)| variable.starts_with("ETCD_")) {
        command.env_remove(variable);
    }
    command
        .args(["--name", "test", "--logger", "zap", "--log-level", "warn", "--log-outputs", "stderr"])
        .args(["--heartbeat-interval", HEARTBEAT_MS, "--election-timeout", ELECTION_MS])
        .arg("--data-dir")
        .arg(data.join("etcd"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("test={peer}")]);
    command
}

/// The program, from PATH or where Debian puts it.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/bin"), PathBuf::from("/usr/local/bin")])
        .map(|folder| folder.join("etcd"))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{MISSING}"))
}

/// A port that is free now.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}

/// True when the health page says so.
async fn healthy(address: SocketAddr) -> bool {
    let probe = move || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_WITHIN)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = tokio::task::spawn_blocking(probe).await;
    matches!(answer, Ok(Ok(text)) if text.contains(r#""health":"true""#))
}

#[cfg(test)]
mod tests {
    use super::{EtcdProcess, healthy};

    #[tokio::test]
    async fn it_starts_stops_and_comes_back_on_the_same_port() {
        let mut etcd = EtcdProcess::start().await;
        let endpoint = etcd.endpoint();
        etcd.stop();
        assert!(!healthy(etcd.client).await);
        etcd.restart().await;
        assert!(healthy(etcd.client).await);
        assert_eq!(etcd.endpoint(), endpoint);
    }
}
