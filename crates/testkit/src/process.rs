//! A real process under test: its output is kept, signals reach it, and it never outlives the test.

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::eventually;

/// How much of its output is shown when a test fails, in bytes.
const OUTPUT_SHOWN_MAX: usize = 20_000;

/// Clock ticks in a second, as `/proc` counts them: fixed on Linux.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time that a process, and its children that have ended, used so far. Zero once it is gone.
pub fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Four fields, the 12th to 15th after the name, which is in brackets and may contain anything.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// A running child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    _folder: TempDir,
}

impl Process {
    /// Starts `command`; its standard output and error go to one file.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(name: &str, mut command: Command) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let output = folder.path().join("output");
        let file = File::create(&output).expect("a file can be made in it");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle can be doubled"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {command:?}: {error}"));
        Self { name: name.to_owned(), child, output, _folder: folder }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    pub fn output(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a line of its output that has `mark` in it, and returns that line.
    ///
    /// # Panics
    /// When `limit` passes or the process ends first.
    pub async fn line_with(&mut self, mark: &str, limit: Duration) -> String {
        eventually(limit, || {
            let output = self.output();
            let found = output.lines().find(|line| line.contains(mark)).map(str::to_owned);
            let ended = self.child.try_wait().ok().flatten();
            let name = self.name.clone();
            let mark = mark.to_owned();
            async move {
                match (found, ended) {
                    (Some(line), _) => Ok(line),
                    (None, Some(status)) => panic!("{name} ended with {status} before it wrote {mark:?}:\n{output}"),
                    (None, None) => Err(format!("{name} has not written {mark:?}, but:\n{output}")),
                }
            }
        })
        .await
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().try_into().expect("a pid fits i32"));
        kill(pid, signal).unwrap_or_else(|error| panic!("{signal} does not reach {}: {error}", self.name));
    }

    /// Ends it without warning (SIGKILL) and waits for its end.
    pub fn kill(&mut self) {
        // Both fail only when it is gone already.
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }

    /// Waits for it to end by itself.
    ///
    /// # Panics
    /// When `limit` passes first.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        eventually(limit, || {
            let ended = self.child.try_wait().ok().flatten();
            let state = format!("{} still runs:\n{}", self.name, self.output());
            async move { ended.ok_or(state) }
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let output = self.output();
            let start = output.len().saturating_sub(OUTPUT_SHOWN_MAX);
            let start = (start..=output.len()).find(|&at| output.is_char_boundary(at)).unwrap_or(0);
            #[expect(clippy::print_stderr, reason = "shown with the failed test")]
            {
                eprintln!("---- output of {} ----\n{}", self.name, &output[start..]);
            }
        }
    }
}
