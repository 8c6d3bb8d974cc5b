//! What instances are told about callers, and whose word counts.

use std::time::Duration;

use bytes::Bytes;
use gateway::{
    Config,
    config::{By, Family, RateLimit},
};
use http::Method;
use mcp_proto::scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient};
use serde_json::{Value, json};

use crate::{backend::Backend, support::Cluster};

/// The metadata that reached the instance.
async fn seen(cluster: &Cluster, headers: &[(&str, &str)]) -> Value {
    cluster.send(Method::GET, "/v1/tasks/7", headers, Bytes::new()).await.json()["spec"]["labels"].clone()
}

#[tokio::test]
async fn an_instance_is_told_who_calls_and_nothing_that_a_caller_made_up() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let labels =
        seen(&cluster, &[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-host", "bank"), ("forwarded", "for=x")]).await;
    assert_eq!(
        [&labels["x-forwarded-for"], &labels["x-forwarded-proto"], &labels["x-forwarded-host"], &labels["forwarded"]],
        [&json!("127.0.0.1"), &json!("http"), &json!("gateway"), &Value::Null]
    );
    let mut client = TaskServiceClient::new(cluster.channel().await);
    let task = client.get_task(GetTaskRequest { task_id: "7".into() }).await.unwrap().into_inner().task.unwrap();
    let labels = task.spec.unwrap().labels;
    assert_eq!(labels["x-forwarded-for"], "127.0.0.1");
    assert_eq!(labels["x-forwarded-host"], cluster.address.to_string());

    let mut config = Config::default();
    config.gateway.forwarded.headers = Family::Forwarded;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let labels = seen(&cluster, &[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "1.1.1.1")]).await;
    assert_eq!(labels["forwarded"], "for=127.0.0.1;proto=http;host=\"gateway\"");
    assert_eq!(labels["x-forwarded-for"], Value::Null);
}

#[tokio::test]
async fn a_trusted_proxy_says_whose_share_a_call_uses_up() {
    let backend = Backend::start("one").await;
    let mut config = Config::default();
    config.gateway.forwarded.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
    let window = Duration::from_secs(3_600);
    config.gateway.limits.rules.push(RateLimit { name: "ip".into(), by: By::Ip, requests: 1, window, burst: 0 });
    let cluster = Cluster::configured(config, &[&backend]).await;
    let get = |address: &'static str| {
        let cluster = &cluster;
        async move {
            let headers = [("x-forwarded-for", address)];
            cluster.send(Method::GET, "/v1/tasks/7", &headers, Bytes::new()).await.status.as_u16()
        }
    };
    assert_eq!((get("192.0.2.1").await, get("192.0.2.1").await), (200, 429));
    assert_eq!(get("192.0.2.2, 10.0.0.9").await, 200, "another caller, by two proxies");
    assert_eq!(get("192.0.2.3, 192.0.2.2, 10.0.0.9").await, 429, "what the caller said before that does not count");
    assert_eq!(
        seen(&cluster, &[("x-forwarded-for", "192.0.2.4"), ("x-forwarded-proto", "https")]).await["x-forwarded-proto"],
        "https"
    );
}
