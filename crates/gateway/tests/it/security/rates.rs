//! How often callers may call.

use std::time::Duration;

use gateway::{
    Config,
    config::{By, RateLimit},
};
use http::Method;
use mcp_proto::{Code, Error};

use super::{BOOTSTRAP, closed};
use crate::{backend::Backend, support::Cluster};

fn limited(mut config: Config, by: By, requests: u32) -> Config {
    let rule = RateLimit { name: "test".into(), by, requests, window: Duration::from_secs(3_600), burst: 0 };
    config.gateway.limits.rules.push(rule);
    config
}

#[tokio::test]
async fn a_caller_is_told_how_it_stands_and_when_to_come_again() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(limited(Config::default(), By::Ip, 3), &[&backend]).await;
    for left in ["2", "1", "0"] {
        let answer = cluster.get("/v1/tasks/7").await;
        assert_eq!(answer.status, 200);
        let state = answer.headers["ratelimit"].to_str().unwrap();
        assert!(state.starts_with(&format!("\"test\";r={left};t=")), "{state}");
        assert_eq!(answer.headers["ratelimit-policy"], "\"test\";q=3;w=3600");
    }
    let answer = cluster.get("/v1/tasks/7").await;
    assert_eq!(answer.error(), "429 RATE_LIMITED");
    let wait: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=1_200).contains(&wait), "{wait}");
    let state = answer.headers["ratelimit"].to_str().unwrap();
    assert!(state.starts_with("\"test\";r=0;t="), "{state}");

    let status = cluster.task_with("7", "").await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    let error = Error::from(&status);
    assert_eq!(error.code(), Code::RateLimited);
    assert!(error.retry_after().is_some_and(|wait| wait > Duration::ZERO));
    assert!(status.metadata().contains_key("ratelimit"), "{status:?}");
    assert_eq!(backend.state.reached(), 3);
    assert_eq!(cluster.get("/readyz").await.status, 200, "probes are free");
}

#[tokio::test]
async fn bad_credentials_use_up_the_share_of_an_address_and_not_of_a_principal() {
    let backend = Backend::start("one").await;
    let config = limited(closed(), By::Principal, 2);
    let cluster = Cluster::configured(config, &[&backend]).await;
    for _ in 0..5 {
        assert_eq!(cluster.get_with("/v1/tasks/7", "wrong").await.status, 401);
    }
    for expected in [200, 200, 429] {
        assert_eq!(cluster.get_with("/v1/tasks/7", BOOTSTRAP).await.status, expected);
    }

    let cluster = Cluster::configured(limited(closed(), By::Ip, 2), &[&backend]).await;
    for expected in [401, 401, 429] {
        assert_eq!(cluster.with_token(Method::GET, "/v1/tasks/7", "wrong", "").await.status, expected);
    }
}
