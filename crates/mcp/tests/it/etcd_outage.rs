//! etcd goes away for half a minute: nothing that runs notices, and everything is registered again afterwards.

use std::time::Duration;

use mcp_proto::scheduler::v1::TaskState;

use crate::support::{Cluster, LEASE_TTL, ends, file_lines, program};

/// How long etcd is away: ten times the services' lease.
const OUTAGE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn tasks_go_on_while_etcd_is_away_and_everything_registers_again() {
    let mut cluster = Cluster::start(&["worker-1"]).await;
    let client = cluster.client().await;
    let folder = tempfile::tempdir().unwrap();
    let (ticks, open) = (folder.path().join("ticks"), folder.path().join("open"));
    let script = r#"while [ ! -e "$2" ]; do echo tick >> "$1"; sleep 0.2; done"#;
    let argv = ["sh", "-c", script, "sh", ticks.to_str().unwrap(), open.to_str().unwrap()];
    let long = client.submit(program(&argv)).await.unwrap().task_id;
    file_lines(&ticks, 1).await;

    cluster.etcd.stop();
    // The outage itself is the subject, so this wait is not a synchronisation.
    tokio::time::sleep(OUTAGE).await;
    let during = client.submit(program(&["true"])).await.expect("the running services still take tasks").task_id;
    ends(&client, &during, TaskState::Succeeded).await;
    let before = file_lines(&ticks, 1).await.len();
    file_lines(&ticks, before + 1).await;

    cluster.etcd.restart().await;
    // etcd gives the leases of before the outage their full time again, so wait them out: what is registered after
    // that was kept alive or registered anew.
    tokio::time::sleep(LEASE_TTL * 3).await;
    for (service, id) in
        [("registry", "registry"), ("scheduler", "scheduler"), ("gateway", "gateway"), ("worker", "worker-1")]
    {
        cluster.registered_in_etcd(service, id).await;
    }
    tokio::fs::write(&open, "").await.unwrap();
    let task = ends(&client, &long, TaskState::Succeeded).await;
    assert_eq!(task.attempt, 1, "the outage cost no attempt: {task:?}");
    let after = client.submit(program(&["true"])).await.unwrap().task_id;
    ends(&client, &after, TaskState::Succeeded).await;
}
