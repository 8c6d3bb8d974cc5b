//! Descriptors by reflection: pulled, refreshed, and kept.

use gateway::Config;
use mcp_coord::InstanceRecord;
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    dynamic::{
        self,
        backend::{DynamicBackend, Reflection},
        codec,
    },
    sink::{EVERYTHING, assert_same},
    support::{Cluster, LIMIT, deregister, register},
};

const FIRST: &str = r#"
    syntax = "proto3";
    package shop.v1;
    import "google/api/annotations.proto";
    message Order { string id = 1; }
    service Shop {
      rpc Get(Order) returns (Order) { option (google.api.http) = { get: "/shop/v1/orders/{id}" }; }
    }
"#;

const SECOND: &str = r#"
    syntax = "proto3";
    package shop.v1;
    import "google/api/annotations.proto";
    message Order { string id = 1; int32 count = 2; }
    service Shop {
      rpc Get(Order) returns (Order) { option (google.api.http) = { get: "/shop/v2/orders/{id}" }; }
      rpc Put(Order) returns (Order) { option (google.api.http) = { put: "/shop/v2/orders/{id}" body: "*" }; }
    }
"#;

async fn shop(text: &str) -> DynamicBackend {
    DynamicBackend::start("shop", &dynamic::compile_text(text), Reflection::V1).await
}

/// What the gateway says came of asking a service.
async fn asked(cluster: &Cluster, service: &str) -> Value {
    let welcome = cluster.get("/").await.json();
    let sources = welcome["descriptors"].as_array().unwrap();
    sources.iter().find(|source| source["service"] == service).cloned().unwrap_or(Value::Null)
}

/// Waits until a path has an answer that is no `404`.
async fn routed(cluster: &Cluster, path: &str) {
    eventually(LIMIT, || async {
        let answer = cluster.get(path).await;
        if answer.status.is_success() { Ok(()) } else { Err(format!("{path}: {answer:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_service_that_was_there_first_is_known_when_the_gateway_is_ready() {
    let backend = shop(FIRST).await;
    let cluster = Cluster::of_records(Config::default(), &[&backend.record]).await;
    assert_eq!(cluster.get("/shop/v1/orders/7").await.json(), json!({"id": "7"}));
    let source = asked(&cluster, "shop").await;
    assert_eq!((&source["services"], &source["error"]), (&json!(["shop.v1.Shop"]), &Value::Null));
    assert_eq!(backend.asked(), 1);
}

#[tokio::test]
async fn a_service_that_registers_later_is_called_without_a_restart() {
    let backend = shop(FIRST).await;
    let cluster = Cluster::of_records(Config::default(), &[]).await;
    assert_eq!(cluster.get("/shop/v1/orders/7").await.error(), "404 PATH_NOT_FOUND");
    register(&cluster.coord, &backend.record).await;
    routed(&cluster, "/shop/v1/orders/7").await;
}

#[tokio::test]
async fn a_restart_with_another_proto_is_picked_up() {
    for version in ["1.0.0", "2.0.0"] {
        let first = shop(FIRST).await;
        let cluster = Cluster::of_records(Config::default(), &[&first.record]).await;
        assert_eq!(cluster.get("/shop/v1/orders/7").await.status, 200);
        let second = shop(SECOND).await;
        let record = InstanceRecord { version: version.into(), registered_unix_ms: 2, ..second.record.clone() };
        register(&cluster.coord, &record).await;
        deregister(&cluster.coord, &first.record).await;
        routed(&cluster, "/shop/v2/orders/7?count=3").await;
        assert_eq!(cluster.get("/shop/v2/orders/7?count=3").await.json(), json!({"id": "7", "count": 3}));
        assert_eq!(cluster.get("/shop/v1/orders/7").await.error(), "404 PATH_NOT_FOUND");
    }
}

#[tokio::test]
async fn of_many_instances_of_a_version_one_is_asked() {
    let backends = [shop(FIRST).await, shop(FIRST).await, shop(FIRST).await];
    let records: Vec<&InstanceRecord> = backends.iter().map(|backend| &backend.record).collect();
    let cluster = Cluster::of_records(Config::default(), &records).await;
    assert_eq!(cluster.get("/shop/v1/orders/7").await.status, 200);
    assert_eq!(backends.iter().map(DynamicBackend::asked).sum::<usize>(), 1);
}

#[tokio::test]
async fn the_older_reflection_is_asked_when_there_is_no_newer_one() {
    let backend = DynamicBackend::start("shop", &dynamic::compile_text(FIRST), Reflection::V1Alpha).await;
    let cluster = Cluster::of_records(Config::default(), &[&backend.record]).await;
    assert_eq!(cluster.get("/shop/v1/orders/7").await.json(), json!({"id": "7"}));
}

#[tokio::test]
async fn files_that_everybody_has_need_not_be_told_and_others_must() {
    let set = dynamic::compile("other/v1/other.proto");
    let told = dynamic::compile_alone("other/v1/other.proto");
    let backend = DynamicBackend::telling("other", &set, &told, Reflection::V1).await;
    let cluster = Cluster::of_records(Config::default(), &[&backend.record]).await;
    assert_eq!(cluster.post("/other/v1/weigh", r#"{"grams": 5}"#).await.json()["grams"], "5");
    // `google/api/httpbody.proto` is not a file of ours.
    let told = dynamic::compile_alone("sink/v1/sink.proto");
    let backend = DynamicBackend::telling("sink", &dynamic::compile("sink/v1/sink.proto"), &told, Reflection::V1).await;
    register(&cluster.coord, &backend.record).await;
    eventually(LIMIT, || async {
        let source = asked(&cluster, "sink").await;
        let error = source["error"].as_str().unwrap_or_default().to_owned();
        if error.contains("imports `google/api/httpbody.proto`") { Ok(()) } else { Err(source.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn without_reflection_a_service_is_still_called_by_grpc() {
    let backend = DynamicBackend::start("sink", &dynamic::compile("sink/v1/sink.proto"), Reflection::None).await;
    let cluster = Cluster::of_records(Config::default(), &[&backend.record]).await;
    let message = dynamic::message(&backend.pool, EVERYTHING, &json!({"fInt32": 7}));
    let kind = backend.pool.get_message_by_name(EVERYTHING).unwrap();
    let channel = cluster.channel().await;
    let answer = codec::call(channel, "/sink.v1.Sink/Echo", vec![message.clone()], kind).await.unwrap();
    assert_same(&answer[0], &message);
    assert_eq!(cluster.post("/sink/v1/echo", "{}").await.error(), "404 PATH_NOT_FOUND");
    let source = asked(&cluster, "sink").await;
    assert!(source["error"].as_str().unwrap().contains("does not serve gRPC reflection"), "{source}");
    assert_eq!(source["services"], json!([]));
}

#[tokio::test]
async fn of_two_services_with_the_same_rule_one_has_it_and_both_can_be_called_by_name() {
    let first = shop(FIRST).await;
    let set = dynamic::compile_text(&FIRST.replace("shop.v1", "copy.v1"));
    let copy = DynamicBackend::start("copy", &set, Reflection::V1).await;
    let cluster = Cluster::of_records(Config::default(), &[&first.record, &copy.record]).await;
    assert_eq!(cluster.get("/shop/v1/orders/7").await.json(), json!({"id": "7"}));
    for path in ["/shop.v1.Shop/Get", "/copy.v1.Shop/Get"] {
        assert_eq!(cluster.post(path, r#"{"id": "8"}"#).await.json(), json!({"id": "8"}), "{path}");
    }
}

#[tokio::test]
async fn what_is_known_stays_when_asking_again_fails_and_when_nobody_is_left() {
    let backend = shop(FIRST).await;
    let cluster = Cluster::of_records(Config::default(), &[&backend.record]).await;
    // A second process of the same version that cannot be reached.
    let broken = InstanceRecord {
        instance_id: "broken".into(),
        address: "127.0.0.1:1".into(),
        registered_unix_ms: 9,
        ..backend.record.clone()
    };
    register(&cluster.coord, &broken).await;
    eventually(LIMIT, || async {
        let source = asked(&cluster, "shop").await;
        if source["failures"].as_u64() > Some(0) || source["instances"] == 2 {
            Ok(())
        } else {
            Err(format!("{source}"))
        }
    })
    .await;
    assert_eq!(cluster.get("/shop/v1/orders/7").await.status, 200);
    deregister(&cluster.coord, &broken).await;
    deregister(&cluster.coord, &backend.record).await;
    eventually(LIMIT, || async {
        let answer = cluster.get("/shop/v1/orders/7").await;
        if answer.status == 503 { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    assert_eq!(cluster.get("/shop/v1/orders/7").await.error(), "503 NO_INSTANCE");
}
