//! Routes that change while calls go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gateway::Config;
use mcp_proto::scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient};
use serde_json::json;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::Edge;
use crate::support::LIMIT;

/// Changes of the route.
const UPDATES: u64 = 1_000;
/// Connections that call all the time.
const CONNECTIONS: usize = 4;

/// Between two calls of a connection: the machine shall have something to do, not too much.
const PAUSE: Duration = Duration::from_millis(2);

/// What a connection saw last.
#[derive(Default)]
struct Seen {
    version: AtomicU64,
    calls: AtomicU64,
    news: Notify,
}

/// Calls over one connection until `stop`, and notes which version of the route answered.
async fn call(mut client: TaskServiceClient<tonic::transport::Channel>, seen: Arc<Seen>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let answer = client.get_task(GetTaskRequest { task_id: "7".into() }).await.expect("no call fails");
        let version =
            answer.metadata().get("x-version").map_or(0, |version| version.to_str().unwrap().parse().unwrap());
        let before = seen.version.swap(version, Ordering::SeqCst);
        assert!(before <= version, "the route went back from {before} to {version}");
        seen.calls.fetch_add(1, Ordering::Relaxed);
        if before != version {
            seen.news.notify_one();
        }
        sleep(PAUSE).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_changes_under_load_each_hold_everywhere_and_no_call_fails() {
    let mut config = Config::default();
    config.gateway.data_plane_threads = 2;
    let mut edge = Edge::configured(config).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (mut callers, mut all) = (JoinSet::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let seen = Arc::new(Seen::default());
        let client = TaskServiceClient::new(edge.cluster.channel().await);
        callers.spawn(call(client, Arc::clone(&seen), Arc::clone(&stop)));
        all.push(seen);
    }
    let mut took: Vec<Duration> = Vec::new();
    for version in 1..=UPDATES {
        let target = if version % 2 == 0 { "canary" } else { "backend" };
        edge.apply(json!({"id": "hot", "match": {"grpc": {"service": "mcp.scheduler.v1.TaskService"}},
            "forward": {"targets": [{"service": target}]},
            "settings": {"headers": [{"response": {"set": {"x-version": version.to_string()}}}]}}))
            .await;
        let written = Instant::now();
        for seen in &all {
            while seen.version.load(Ordering::SeqCst) < version {
                assert!(callers.len() == CONNECTIONS && callers.try_join_next().is_none(), "a caller ended");
                timeout(LIMIT, seen.news.notified()).await.expect("a change holds on every connection in the end");
            }
        }
        took.push(written.elapsed());
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.expect("no call failed");
    }
    let calls: u64 = all.iter().map(|seen| seen.calls.load(Ordering::Relaxed)).sum();
    took.sort();
    let at = |share: usize| took[(took.len() - 1) * share / 100];
    println!(
        "{UPDATES} changes, {calls} calls: from the answer to every connection p50 {:?}, p99 {:?}, max {:?}",
        at(50),
        at(99),
        at(100)
    );
}
