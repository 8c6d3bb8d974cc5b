//! The system under measurement: `mcp dev` as a process of its own, with its data on the disk of the working folder.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, bail};
use mcp_client::Client;
use tempfile::TempDir;

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

/// A running `mcp dev`.
#[derive(Debug)]
pub(crate) struct System {
    child: Child,
    url: String,
    _data: TempDir,
}

impl System {
    /// Starts it without process slots, so that this program's worker gets every task.
    pub(crate) fn start(program: &Path) -> anyhow::Result<Self> {
        // Not in /tmp, which may be memory: an fsync there would cost nothing.
        fs::create_dir_all("target/bench")?;
        let data = tempfile::tempdir_in("target/bench")?;
        let mut child = Command::new(program)
            .args(["dev", "--port", "0", "--slots", "1", "--data-dir"])
            .arg(data.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let url = loop {
            let line = lines.next().context("mcp dev ended before it said where its gateway is")??;
            if let Some(start) = line.find("http://127.0.0.1:") {
                break line[start..].split_whitespace().next().expect("a URL follows").to_owned();
            }
        };
        // Whoever writes to a full pipe waits for ever.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Self { child, url, _data: data })
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
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for System {
    fn drop(&mut self) {
        // Both fail only when it is gone already.
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }
}
