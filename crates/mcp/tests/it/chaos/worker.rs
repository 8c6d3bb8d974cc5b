//! A worker whose functions write down when they were called. It is this test program once more, as a process of its own.

use std::{env, fs::OpenOptions, io::Write as _, path::Path, process::Command, sync::Arc, time::Duration};

use mcp_client::{
    discovery::Discovery,
    worker::{AttemptContext, Schedulers, Worker},
};
use mcp_coord::{Coordinator, Etcd};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::history::uptime_text;
use crate::support::CLUSTER;

/// Function that ends at once.
pub(super) const QUICK: &str = "quick";
/// Function that takes a while.
pub(super) const SLOW: &str = "slow";
/// How long it takes.
const SLOW_TIME: Duration = Duration::from_millis(300);
/// Attempts at a time.
const SLOTS: usize = 16;

/// Variables by which the process knows what it is.
const ETCD: &str = "CHAOS_WORKER_ETCD";
const HISTORY: &str = "CHAOS_WORKER_HISTORY";

/// How to start one that finds its schedulers in an etcd, and writes into a file.
pub(super) fn command(etcd: &str, history: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program has a path"));
    command
        .args(["--exact", "chaos::worker::it_works_when_it_was_started_as_a_worker", "--nocapture"])
        .env(ETCD, etcd)
        .env(HISTORY, history);
    command
}

/// As a test among others it has nothing to do.
#[tokio::test]
async fn it_works_when_it_was_started_as_a_worker() {
    let (Ok(etcd), Some(history)) = (env::var(ETCD), env::var_os(HISTORY)) else { return };
    let coord: Arc<dyn Coordinator> = Arc::new(Etcd::connect(&[etcd]).await.expect("the endpoint is well formed"));
    let function = move |time: Duration| {
        let history = history.clone();
        move |context: AttemptContext, input: Value| {
            let history = history.clone();
            async move {
                write(Path::new(&history), "start", &context);
                tokio::time::sleep(time).await;
                write(Path::new(&history), "end", &context);
                Ok(input)
            }
        }
    };
    let worker = Worker::builder(Schedulers::Discovered(Discovery::start(coord, CLUSTER)))
        .slots(SLOTS)
        .reconnect(Duration::from_millis(50), Duration::from_secs(1))
        .handler(QUICK, function(Duration::ZERO))
        .handler(SLOW, function(SLOW_TIME))
        .build();
    worker.run(CancellationToken::new()).await; // until it is killed
}

/// One write for each line, so that lines do not mix.
fn write(history: &Path, what: &str, context: &AttemptContext) {
    let (queue, task, token) = (context.queue(), context.task_id(), context.token());
    let line = format!("{what} {queue} {task} {}.{} {}\n", token.epoch, token.sequence, uptime_text());
    let file = OpenOptions::new().create(true).append(true).open(history);
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the history can be written");
}
