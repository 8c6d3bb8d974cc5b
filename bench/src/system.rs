//! The system under measurement: `mcp dev` as a process of its own, with its data on the disk of the working folder.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use mcp_client::Client;
use tempfile::TempDir;
use testkit::Postgres;

/// The `mcp` program: the one named, or the one built beside this program.
pub(crate) fn program(named: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let program = match named {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("mcp"),
    };
    if !program.exists() {
        bail!("{} does not exist; build it with `cargo build --release -p mcp`", program.display());
    }
    Ok(program)
}

/// Seconds after which a system without load must have come to rest.
const SETTLE_SECONDS_MAX: u32 = 60;
/// Processor time in a second below which it has.
const IDLE_CPU_MAX: Duration = Duration::from_millis(50);

/// Where tasks are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// In the process.
    Fjall,
    /// In a PostgreSQL of its own, with its defaults for durability.
    Postgres,
}

/// How to start the system, and where its data lies.
#[derive(Debug)]
pub(crate) struct Setup {
    program: PathBuf,
    data: TempDir,
    postgres: Option<(Postgres, String)>,
}

impl Setup {
    /// Empty data.
    pub(crate) fn new(program: &Path, store: StoreKind) -> anyhow::Result<Self> {
        // Not in /tmp, which may be memory: an fsync there would cost nothing.
        fs::create_dir_all("target/bench")?;
        let data = tempfile::tempdir_in("target/bench")?;
        let postgres = match store {
            StoreKind::Fjall => None,
            StoreKind::Postgres => {
                let server = Postgres::start();
                let url = server.database();
                Some((server, url))
            }
        };
        Ok(Self { program: program.to_owned(), data, postgres })
    }

    /// The `mcp` program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The database, when there is one.
    pub(crate) fn database(&self) -> Option<&str> {
        self.postgres.as_ref().map(|(_, url)| url.as_str())
    }

    fn spawn(&self) -> anyhow::Result<(Child, String)> {
        let mut command = Command::new(&self.program);
        // Without process slots, so that this program's worker gets every task.
        command.args(["dev", "--port", "0", "--slots", "1", "--data-dir"]).arg(self.data.path());
        if let Some((_, url)) = &self.postgres {
            command.args(["--postgres", url]);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", self.program.display()))?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = loop {
            let line = lines.next().context("mcp dev ended before it said where its gateway is")??;
            if let Some(start) = line.find("http://127.0.0.1:") {
                break line[start..].split_whitespace().next().expect("a URL follows").to_owned();
            }
        };
        // Whoever writes to a full pipe waits for ever.
        std::thread::spawn(move || lines.for_each(drop));
        Ok((child, url))
    }
}

/// A running `mcp dev`.
#[derive(Debug)]
pub(crate) struct System {
    child: Child,
    url: String,
}

impl System {
    /// Starts it.
    pub(crate) fn start(setup: &Setup) -> anyhow::Result<Self> {
        let (child, url) = setup.spawn()?;
        Ok(Self { child, url })
    }

    /// Ends it without warning.
    pub(crate) fn kill(&mut self) {
        // Both fail only when it is gone already.
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }

    /// Starts it once more on the same data.
    pub(crate) fn start_again(&mut self, setup: &Setup) -> anyhow::Result<()> {
        (self.child, self.url) = setup.spawn()?;
        Ok(())
    }

    /// Where the gateway answers.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client with a connection of its own.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.url)?)
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        Ok(self.number_in("status", "VmRSS:")? * 1024)
    }

    /// Bytes it had written to disk.
    pub(crate) fn written(&self) -> anyhow::Result<u64> {
        self.number_in("io", "write_bytes:")
    }

    /// Processor time it took so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(')').context("no name in stat")?;
        let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let ticks = times.next().context("no utime")?? + times.next().context("no stime")??;
        // Linux counts in hundredths of a second on every platform that we run on.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Waits until it has nothing more to do on its own account, such as the store's compactions.
    pub(crate) async fn settles(&self) -> anyhow::Result<()> {
        for _ in 0..SETTLE_SECONDS_MAX {
            let before = self.cpu()?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.cpu()? - before < IDLE_CPU_MAX {
                return Ok(());
            }
        }
        bail!("mcp dev is still busy after {SETTLE_SECONDS_MAX} s without any load")
    }

    /// Commits of the store so far.
    pub(crate) async fn commits(&self) -> anyhow::Result<f64> {
        let answer = testkit::http::send(&self.url, http::Method::GET, "/metrics", "").await;
        let text = String::from_utf8_lossy(&answer.body);
        let count = text.lines().filter(|line| line.starts_with("mcp_scheduler_commit_seconds_count"));
        count.filter_map(|line| line.rsplit(' ').next()).map(|value| Ok(value.parse::<f64>()?)).sum()
    }

    fn number_in(&self, file: &str, name: &str) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.kill();
    }
}
