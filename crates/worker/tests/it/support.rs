//! A worker that runs programs, and what a test asks about them.

use std::{path::Path, sync::Arc, time::Duration};

use mcp_client::{
    testing::{FakeScheduler, FakeSession, SOON, assignment, attempt, process},
    value::from_value,
    worker::{Schedulers, Worker},
};
use mcp_proto::{
    common,
    scheduler::v1::{LogStream, ProcessWork},
    worker::v1::{AttemptResult, attempt_result::Outcome},
};
use nix::{errno::Errno, sys::signal, unistd::Pid};
use serde_json::Value;
use tempfile::TempDir;
use testkit::eventually;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use worker::ProcessRunner;

/// Between SIGTERM and SIGKILL, for programs that end at SIGTERM.
pub(crate) const KILL_GRACE: Duration = Duration::from_secs(20);

/// A running worker with its scheduler.
pub(crate) struct Bench {
    pub(crate) session: FakeSession,
    pub(crate) work_dir: TempDir,
    pub(crate) stop: CancellationToken,
    pub(crate) worker: JoinHandle<()>,
    _scheduler: FakeScheduler,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.worker.abort();
    }
}

impl Bench {
    pub(crate) async fn new(kill_grace: Duration) -> Self {
        let scheduler = FakeScheduler::start().await;
        let work_dir = tempfile::tempdir().unwrap();
        let worker = Worker::builder(Schedulers::Fixed(vec![scheduler.url()]))
            .drain_grace(Duration::ZERO)
            .processes(Arc::new(ProcessRunner::new(work_dir.path(), kill_grace)))
            .build();
        let stop = CancellationToken::new();
        let worker = tokio::spawn(worker.run(stop.clone()));
        let session = scheduler.welcomed().await;
        Self { session, work_dir, stop, worker, _scheduler: scheduler }
    }

    /// Runs one program to its end.
    pub(crate) async fn run(&mut self, work: ProcessWork) -> AttemptResult {
        self.session.assign(vec![assignment(1, process(work))]).await;
        let result = self.session.result().await;
        // So that the next one may have the same id.
        self.session.acknowledge(&attempt(1, 1)).await;
        result
    }

    /// Starts a program and waits for the first line, which tells a process id.
    pub(crate) async fn start(&mut self, work: ProcessWork) -> Pid {
        self.session.assign(vec![assignment(1, process(work))]).await;
        self.pid().await
    }

    /// The process id in the first line.
    pub(crate) async fn pid(&mut self) -> Pid {
        let texts = self.session.texts(1).await;
        Pid::from_raw(texts[0].parse().unwrap_or_else(|_| panic!("not a process id: {texts:?}")))
    }

    /// The lines of one stream.
    pub(crate) fn lines(&self, stream: LogStream) -> Vec<&str> {
        let of_stream = self.session.lines.iter().filter(|(_, line)| line.stream() == stream);
        of_stream.map(|(_, line)| line.text.as_str()).collect()
    }

    /// Asserts that attempts left nothing behind in the work folder.
    pub(crate) fn assert_clean(&self) {
        let left: Vec<_> = self.work_dir.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// A shell script.
pub(crate) fn sh(script: &str) -> ProcessWork {
    ProcessWork { argv: ["sh", "-c", script].map(str::to_owned).to_vec(), ..ProcessWork::default() }
}

/// The output of a success.
pub(crate) fn output(result: AttemptResult) -> Option<Value> {
    match result.outcome {
        Some(Outcome::Success(success)) => success.output.map(from_value),
        other => panic!("not a success: {other:?}"),
    }
}

/// The error of a failure.
pub(crate) fn failure(result: AttemptResult) -> common::v1::Error {
    match result.outcome {
        Some(Outcome::Failure(error)) => error,
        other => panic!("not a failure: {other:?}"),
    }
}

/// Waits until no process has this id. A process that nobody has waited for yet does not count.
pub(crate) async fn gone(pid: Pid) {
    eventually(SOON, || async {
        if signal::kill(pid, None) == Err(Errno::ESRCH) || is_zombie(pid) {
            Ok(())
        } else {
            Err(format!("{pid} is still there"))
        }
    })
    .await;
}

/// True while the process runs.
pub(crate) fn is_there(pid: Pid) -> bool {
    signal::kill(pid, None).is_ok() && !is_zombie(pid)
}

fn is_zombie(pid: Pid) -> bool {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    status.is_ok_and(|status| status.lines().any(|line| line.starts_with("State:") && line.contains('Z')))
}
