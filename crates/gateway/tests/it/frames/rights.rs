//! What holds for every call holds for frames: rate limits, the access log.

use gateway::config::{By, RateLimit};
use mcp_proto::{
    Code,
    frame::{Command, Frame, Kind, Metadata, hello::Hello, parse_error},
};
use serde_json::{Value, json};
use testkit::eventually;

use super::{Client, client::json as body, config, task};
use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

const KEY: &str = "mcp_0123456789abcdef_0123456789abcdef0123456789abcdef0123456789a";

/// A hello with the key.
fn hello() -> Frame {
    let metadata = Metadata::new().with("authorization", format!("Bearer {KEY}"));
    Hello::default().to_frame(1).with_metadata(&metadata)
}

#[tokio::test]
async fn a_caller_has_one_share_whatever_it_speaks() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.security.bootstrap_key = KEY.to_owned().into();
    config.gateway.limits.rules.push(RateLimit {
        name: "test".into(),
        by: By::Principal,
        requests: 3,
        window: std::time::Duration::from_secs(3_600),
        burst: 0,
    });
    // A rate is counted by each thread for itself.
    config.gateway.data_plane_threads = 1;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let bearer = format!("Bearer {KEY}");
    let mut client = Client::connect(&cluster).await;
    client.send(hello()).await;
    assert_eq!(client.next().await.kind, Kind::HelloAck);
    let mut codes = Vec::new();
    for _ in 0..5 {
        client.ask(Command::TASK_GET, &task("7"), &Metadata::new()).await;
        let frame = client.next().await;
        codes.push((frame.kind == Kind::Error).then(|| parse_error(&frame)));
    }
    let refused = codes.last().unwrap().as_ref().expect("three may call, a hello among them or not");
    assert_eq!(refused.code(), Code::RateLimited);
    assert!(refused.retry_after().is_some_and(|wait| !wait.is_zero()), "{refused:?}");
    assert!(codes[0].is_none() && backend.state.reached() <= 3, "{codes:?}");
    let headers = [("authorization", bearer.as_str())];
    let answer = cluster.send(http::Method::GET, "/v1/tasks/7", &headers, Default::default()).await;
    assert_eq!(answer.error(), "429 RATE_LIMITED", "the same share by HTTP");
}

#[tokio::test]
async fn a_frame_is_one_line_of_the_access_log() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.access_log = true;
    config.gateway.access_log_file = Some(file.clone());
    config.gateway.security.bootstrap_key = KEY.to_owned().into();
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    client.send(hello()).await;
    client.next().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (id, trace) in [("7", trace), ("missing", "4bf92f3577b34da6a3ce929d0e0e4737")] {
        let traced = Metadata::new().with("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
        client.ask(Command::TASK_GET, &task(id), &traced).await;
        client.next().await;
    }
    let line = async |trace: &str| {
        eventually(LIMIT, || async {
            let text = std::fs::read_to_string(&file).unwrap();
            let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            lines.into_iter().find(|line| line["trace_id"] == trace).ok_or(text)
        })
        .await
    };
    let found = line(trace).await;
    let expected = json!({
        "protocol": "frame", "path": "/mcp.scheduler.v1.TaskService/GetTask", "status": 200, "code": "OK",
        "rpc": "mcp.scheduler.v1.TaskService/GetTask", "endpoint": backend.record.address, "principal": "bootstrap",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&found[name], value, "{name} of {found:#}");
    }
    let failed = line("4bf92f3577b34da6a3ce929d0e0e4737").await;
    assert_eq!((&failed["code"], &failed["principal"]), (&json!("NOT_FOUND"), &json!("bootstrap")), "{failed:#}");
    assert!(!std::fs::read_to_string(&file).unwrap().contains(KEY), "no secret is written");
    assert_eq!(
        body(&{
            client.ask(Command::HEALTH, &json!({}), &Metadata::new()).await;
            client.next().await
        })["status"],
        "SERVING"
    );
}
