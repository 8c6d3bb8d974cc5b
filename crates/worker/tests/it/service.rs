//! The service as a whole: discovery of schedulers, readiness, drain.

use std::{sync::Arc, time::Duration};

use mcp_client::testing::{FakeScheduler, SOON, assignment, attempt, process};
use mcp_coord::{Coordinator, Embedded, InstanceRecord, keys};
use mcp_proto::worker::v1::Taint;
use testkit::{eventually, http};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;
use worker::Config;

use crate::support::{gone, sh};

async fn register(coord: &dyn Coordinator, cluster: &str, scheduler: &FakeScheduler) {
    let record = InstanceRecord {
        service: "scheduler".to_owned(),
        instance_id: "one".to_owned(),
        address: scheduler.address().to_string(),
        version: String::new(),
        zone: String::new(),
        weight: 100,
        grpc_services: Vec::new(),
        labels: Default::default(),
        registered_unix_ms: 0,
    };
    let value = serde_json::to_vec(&record).unwrap();
    coord.put(&keys::instance(cluster, "scheduler", "one"), value.into(), None).await.unwrap();
}

async fn readiness_is(base: &str, status: u16) {
    eventually(SOON, || async {
        let found = http::get(base, "/readyz").await.status.as_u16();
        if found == status { Ok(()) } else { Err(format!("readiness is {found}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_with_a_session_and_drains_in_order() {
    let work_dir = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.worker.slots = 2;
    config.worker.drain_grace = Duration::from_millis(50);
    config.worker.labels = vec!["zone=eu-1".to_owned(), "ssd".to_owned()];
    config.worker.taints = vec!["gpu=true".to_owned()];
    (config.worker.cpu_millis, config.worker.memory_bytes) = (1_500, 1 << 30);
    config.worker.work_dir = Some(work_dir.path().join("made/by/the/service"));
    let coord: Arc<dyn Coordinator> = Arc::new(Embedded::in_memory());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let cluster = config.coord.cluster.clone();
    let service = tokio::spawn(worker::run(config, listener, Arc::clone(&coord), stop.clone()));
    readiness_is(&base, 503).await;

    let scheduler = FakeScheduler::start().await;
    register(&*coord, &cluster, &scheduler).await;
    let mut session = scheduler.welcomed().await;
    assert!(session.hello.runs_processes && session.hello.name.starts_with("worker-"), "{:?}", session.hello);
    assert_eq!(session.hello.credits, 2);
    let labels = [("ssd", ""), ("zone", "eu-1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert!(labels.into_iter().eq(session.hello.labels.clone()), "{:?}", session.hello);
    assert_eq!(session.hello.taints, [Taint { key: "gpu".to_owned(), value: "true".to_owned() }]);
    assert_eq!((session.hello.cpu_millis, session.hello.memory_bytes), (1_500, 1 << 30));
    readiness_is(&base, 200).await;

    session.assign(vec![assignment(1, process(sh("echo $$; sleep 600")))]).await;
    let program = nix::unistd::Pid::from_raw(session.texts(1).await[0].parse().unwrap());
    let metrics = String::from_utf8(http::get(&base, "/metrics").await.body.to_vec()).unwrap();
    assert!(metrics.contains("mcp_worker_processes_running"), "{metrics}");

    stop.cancel();
    assert_eq!(session.handed_back().await, attempt(1, 1));
    session.ended().await;
    drop(session);
    timeout(SOON, service).await.expect("it ends soon").unwrap().unwrap();
    gone(program).await;
}
