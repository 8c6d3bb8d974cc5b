//! What the gateway tells of everything that is registered: the document, the page, reflection.

mod calls;
mod page;
mod reflection;
mod schemas;
mod validator;

use gateway::Config;
use serde_json::{Value, json};
use testkit::eventually;

use crate::{
    dynamic::{
        self,
        backend::{DynamicBackend, Reflection},
    },
    support::{Answer, Cluster, LIMIT, deregister, register},
};

const SHOP: &str = r#"
    syntax = "proto3";
    package shop.v1;
    import "google/api/annotations.proto";
    message Order { string id = 1; }
    service Shop {
      rpc Get(Order) returns (Order) { option (google.api.http) = { get: "/shop/v1/orders/{id}" }; }
    }
"#;

/// A service of this package and name.
async fn shop(name: &str, text: &str) -> DynamicBackend {
    DynamicBackend::start(name, &dynamic::compile_text(text), Reflection::V1).await
}

/// Every service of the platform in one process, and one of everything.
async fn platform() -> (DynamicBackend, DynamicBackend, Cluster) {
    let platform = DynamicBackend::start("platform", mcp_proto::FILE_DESCRIPTOR_SET, Reflection::None).await;
    let sink = DynamicBackend::start("sink", &dynamic::compile("sink/v1/sink.proto"), Reflection::V1).await;
    let cluster = Cluster::of_records(Config::default(), &[&platform.record, &sink.record]).await;
    (platform, sink, cluster)
}

/// Waits until the document is as wanted, and returns the answer that has it.
async fn until(cluster: &Cluster, is_wanted: impl Fn(&Value) -> bool) -> Answer {
    eventually(LIMIT, || async {
        let answer = cluster.get("/openapi.json").await;
        if is_wanted(&answer.json()) { Ok(answer) } else { Err(answer.json()["paths"].to_string()) }
    })
    .await
}

#[tokio::test]
async fn what_registers_appears_what_changes_changes_and_what_leaves_vanishes() {
    let path = "/shop/v1/orders/{id}";
    let cluster = Cluster::of_records(Config::default(), &[]).await;
    let before = cluster.get("/openapi.json").await;
    assert_eq!((before.status.as_u16(), &before.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    assert_eq!(before.json()["paths"].get(path), None);
    let first = shop("shop", SHOP).await;
    register(&cluster.coord, &first.record).await;
    let there = until(&cluster, |document| document["paths"].get(path).is_some()).await;
    let tag = json!({"name": "shop.v1.Shop", "x-mcp-builds": [{"service": "shop", "version": "1.0.0"}]});
    assert!(there.json()["tags"].as_array().unwrap().contains(&tag), "{}", there.json()["tags"]);

    // Who has it is told so, until something changes.
    let etag = there.headers["etag"].to_str().unwrap().to_owned();
    assert_ne!(before.headers["etag"], there.headers["etag"]);
    let ask = async || {
        cluster.send(http::Method::GET, "/openapi.json", &[("if-none-match", &etag)], bytes::Bytes::new()).await
    };
    assert_eq!((ask().await.status.as_u16(), ask().await.body.len()), (304, 0));
    let mut second = shop("shop", &SHOP.replace("/shop/v1/", "/shop/v2/")).await;
    second.record.version = "2.0.0".into();
    second.record.registered_unix_ms = 2;
    register(&cluster.coord, &second.record).await;
    deregister(&cluster.coord, &first.record).await;
    let changed = until(&cluster, |document| document["paths"].get("/shop/v2/orders/{id}").is_some()).await;
    assert_eq!(changed.json()["paths"].get(path), None);
    assert_eq!(ask().await.status, 200);

    deregister(&cluster.coord, &second.record).await;
    let after = until(&cluster, |document| document["paths"].get("/shop/v2/orders/{id}").is_none()).await;
    assert_eq!(after.headers["etag"], before.headers["etag"], "the same is registered as at first");
}

#[tokio::test]
async fn a_service_that_tells_nothing_is_named() {
    let silent = DynamicBackend::start("shop", &dynamic::compile_text(SHOP), Reflection::None).await;
    let cluster = Cluster::of_records(Config::default(), &[&silent.record]).await;
    let document = until(&cluster, |document| document.get("x-mcp-undescribed").is_some()).await.json();
    assert_eq!(document["x-mcp-undescribed"], json!(["shop.v1.Shop"]));
}
