//! What is, and what is not, held against an instance.

use gateway::Config;
use mcp_proto::scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient};
use serde_json::Value;
use testkit::{
    eventually,
    proxy::{FaultProxy, Mode},
};
use tonic::transport::Channel;

use crate::{
    dynamic::{
        self,
        backend::{DynamicBackend, Reflection},
    },
    faulty::{Faulty, Manner},
    support::{Cluster, LIMIT},
};

/// What the one data-plane thread knows about an instance.
async fn view(cluster: &Cluster, key: &str) -> Value {
    let view = cluster.get("/admin/upstreams").await.json();
    view["threads"][0]["endpoints"][key].clone()
}

/// The name of the instance that answers.
async fn get(mut client: TaskServiceClient<Channel>) -> String {
    let answer = client.get_task(GetTaskRequest { task_id: "7".into() }).await;
    answer.map_or_else(|status| status.to_string(), |answer| answer.into_inner().task.unwrap().worker_id)
}

#[tokio::test]
async fn what_the_gateway_cannot_write_is_not_held_against_the_instance() {
    // The instance means something else by its messages than its descriptors say.
    let told = r#"syntax = "proto3"; package sink.v1; import "google/api/annotations.proto";
        message Everything { string f_int32 = 3; }
        message CountRequest { int32 to = 1; }
        service Sink {
          rpc Count(CountRequest) returns (stream Everything) { option (google.api.http) = { get: "/count/{to}" }; }
          rpc Echo(CountRequest) returns (Everything) { option (google.api.http) = { get: "/echo/{to}" }; }
        }"#;
    let set = dynamic::compile("sink/v1/sink.proto");
    let backend = DynamicBackend::telling("sink", &set, &dynamic::compile_text(told), Reflection::V1).await;
    let mut config = Config::default();
    config.gateway.data_plane_threads = 1;
    config.gateway.policy.breaker.calls_min = 5;
    let cluster = Cluster::of_records(config, &[&backend.record]).await;
    for _ in 0..20 {
        assert!(cluster.get("/count/1").await.text().contains("\"INTERNAL\""));
    }
    let view = view(&cluster, &format!("sink/{}", backend.record.instance_id)).await;
    assert_eq!((&view["breaker"]["state"], &view["ejections"]), (&Value::from("closed"), &Value::from(0)), "{view}");
}

/// Calls that are given up at a time, more than h2 remembers of them.
const BATCH: usize = 100;

/// How often, so that all of them are more than h2 lets a connection have by default.
const BATCHES: usize = 11;

#[tokio::test]
async fn answers_that_come_late_for_calls_that_were_given_up_cost_no_connection() {
    let backend = Faulty::start("late", Manner::Held).await;
    let link = FaultProxy::start(backend.record.address.parse().unwrap()).await;
    let mut record = backend.record.clone();
    record.address = link.address().to_string();
    let mut config = Config::default();
    config.gateway.data_plane_threads = 1;
    // Calls of normal priority fill nine tenths of what there is.
    (config.gateway.upstream.streams_max, config.gateway.upstream.connections_max) = (2 * BATCH, 1);
    config.gateway.downstream.resets_max = 10_000;
    let cluster = Cluster::of_records(config, &[&record]).await;
    let client = TaskServiceClient::new(cluster.channel().await);
    for _ in 0..BATCHES {
        give_up(&cluster, &client, &backend, &link).await;
    }
    backend.behave(Manner::Well);
    for _ in 0..3 {
        assert_eq!(get(client.clone()).await, "late");
    }
    let view = view(&cluster, "backend/late").await;
    assert_eq!((&view["connections"], &view["ejections"]), (&Value::from(1), &Value::from(0)), "{view}");
}

/// Calls are answered and given up at the same time, and neither side hears of the other before both are done.
async fn give_up(cluster: &Cluster, client: &TaskServiceClient<Channel>, backend: &Faulty, link: &FaultProxy) {
    let before = backend.calls();
    let calls: Vec<_> = (0..BATCH).map(|_| tokio::spawn(get(client.clone()))).collect();
    eventually(LIMIT, || async {
        let came = backend.calls() - before;
        if came == BATCH { Ok(()) } else { Err(format!("{came} calls came")) }
    })
    .await;
    link.set(Mode::STALL).await;
    backend.state.release.add_permits(BATCH);
    eventually(LIMIT, || async {
        let left = backend.state.release.available_permits();
        if left == 0 { Ok(()) } else { Err(format!("{left} calls are not answered")) }
    })
    .await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    eventually(LIMIT, || async {
        let view = view(cluster, "backend/late").await;
        if view["in_flight"] == 0 { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    link.set(Mode::PASS).await;
}
