//! Instances that go wrong, one way or another: callers are told in time, and nobody else suffers.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use gateway::{Config, policy::Balancer};
use http::Method;
use mcp_proto::{
    Code, Error,
    scheduler::v1::{GetTaskRequest, SubmitTaskRequest, TaskSpec, task_service_client::TaskServiceClient},
};
use serde_json::Value;
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::{Request, transport::Channel};

use crate::{
    backend::record,
    faulty::{Faulty, Manner},
    support::{Cluster, LIMIT, register},
};

const MS: Duration = Duration::from_millis(1);

const UNAVAILABLE: i32 = 14;
const INTERNAL: i32 = 13;

type Client = TaskServiceClient<Channel>;

/// One data-plane thread, so that all calls share what is known.
fn config() -> Config {
    let mut config = Config::default();
    config.gateway.data_plane_threads = 1;
    config.gateway.policy.retry.backoff = MS;
    config
}

/// Neither ejections nor breakers: whatever is called stays called.
fn unprotected() -> Config {
    let mut config = config();
    config.gateway.policy.ejection.consecutive_failures = 0;
    config.gateway.policy.breaker.failure_percent = 0;
    config
}

async fn cluster(config: Config, backends: &[&Faulty]) -> (Cluster, Client) {
    let cluster = Cluster::configured(config, &[]).await;
    for backend in backends {
        register(&cluster.coord, &backend.record).await;
    }
    eventually(LIMIT, || async {
        let known = cluster.endpoints().await.len();
        if known == backends.len() { Ok(()) } else { Err(format!("{known} instances are known")) }
    })
    .await;
    let client = TaskServiceClient::new(cluster.channel().await);
    (cluster, client)
}

/// A safe call: the name of the instance that answers, or the error.
async fn get(client: &Client, id: &str) -> Result<String, Error> {
    get_within(client, id, LIMIT).await
}

async fn get_within(client: &Client, id: &str, limit: Duration) -> Result<String, Error> {
    let mut request = Request::new(GetTaskRequest { task_id: id.into() });
    request.set_timeout(limit);
    match client.clone().get_task(request).await {
        Ok(response) => Ok(response.into_inner().task.unwrap().worker_id),
        Err(status) => Err(Error::from(&status)),
    }
}

/// A call that must not be repeated unless nobody looked at it.
async fn submit(client: &Client, name: &str) -> Result<(), Error> {
    let task = TaskSpec { name: name.into(), ..TaskSpec::default() };
    match client.clone().submit_task(SubmitTaskRequest { task: Some(task) }).await {
        Ok(_) => Ok(()),
        Err(status) => Err(Error::from(&status)),
    }
}

fn code<T>(result: Result<T, Error>) -> Result<T, Code> {
    result.map_err(|error| error.code())
}

impl Cluster {
    /// What the one data-plane thread knows about the backends.
    async fn endpoints(&self) -> serde_json::Map<String, Value> {
        let view = self.get("/admin/upstreams").await.json();
        let mut endpoints = view["threads"][0]["endpoints"].as_object().unwrap().clone();
        endpoints.retain(|key, _| !key.starts_with("gateway/")); // its own services
        endpoints
    }

    async fn breaker(&self, name: &str) -> Value {
        self.endpoints().await[&format!("backend/{name}")]["breaker"]["state"].clone()
    }
}

#[tokio::test]
async fn with_every_backend_failing_upstream_calls_stay_within_the_budget() {
    for manner in [Manner::Status(UNAVAILABLE), Manner::Reset, Manner::Refuse, Manner::Http503] {
        let backends = [Faulty::start("one", manner).await, Faulty::start("two", manner).await];
        let (_cluster, client) = cluster(unprotected(), &[&backends[0], &backends[1]]).await;
        let incoming = 400;
        for _ in 0..incoming / 20 {
            for result in join_all((0..20).map(|_| get(&client, "7"))).await {
                assert!(result.is_err());
            }
        }
        let upstream: usize = backends.iter().map(Faulty::calls).sum();
        assert!(upstream > incoming && upstream * 4 < incoming * 5, "{upstream} of {incoming}: {manner:?}");
    }
}

#[tokio::test]
async fn when_nothing_works_breakers_keep_most_calls_away() {
    let backends = [Faulty::start("one", Manner::Reset).await, Faulty::start("two", Manner::Reset).await];
    let (_cluster, client) = cluster(config(), &[&backends[0], &backends[1]]).await;
    for _ in 0..400 {
        let error = submit(&client, "x").await.unwrap_err();
        assert!(matches!(error.code(), Code::UpstreamFailed | Code::NoInstance), "{error:?}");
    }
    let upstream: usize = backends.iter().map(Faulty::calls).sum();
    assert!(upstream < 200, "{upstream}");
}

#[tokio::test]
async fn a_breaker_opens_half_opens_and_closes() {
    let backend = Faulty::start("one", Manner::Status(INTERNAL)).await;
    let mut config = config();
    let breaker = &mut config.gateway.policy.breaker;
    (breaker.calls_min, breaker.probes, breaker.open) = (5, 2, 2_000 * MS);
    let (cluster, client) = cluster(config, &[&backend]).await;
    assert_eq!(cluster.breaker("one").await, "closed");
    for _ in 0..5 {
        assert_eq!(code(get(&client, "7").await), Err(Code::Internal));
    }
    assert_eq!(cluster.breaker("one").await, "open");
    let error = get(&client, "7").await.unwrap_err();
    assert_eq!((error.code(), backend.calls()), (Code::NoInstance, 5), "nothing is sent to it");
    assert!(error.message().contains("failed most of its calls"), "{error:?}");
    assert!(error.retry_after().is_some_and(|wait| wait <= 2_000 * MS), "{error:?}");

    backend.behave(Manner::Held);
    eventually(LIMIT, || async {
        let state = cluster.breaker("one").await;
        if state == "half_open" { Ok(()) } else { Err(state.to_string()) }
    })
    .await;
    let probes: Vec<_> = (0..2)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { get(&client, "7").await })
        })
        .collect();
    eventually(LIMIT, || async {
        if backend.calls() == 7 { Ok(()) } else { Err(format!("{} calls", backend.calls())) }
    })
    .await;
    let error = get(&client, "7").await.unwrap_err();
    assert_eq!((error.code(), backend.calls()), (Code::NoInstance, 7), "no more than two probes");
    assert_eq!(cluster.breaker("one").await, "half_open");
    backend.state.release.add_permits(2);
    for probe in probes {
        assert_eq!(probe.await.unwrap().unwrap(), "one");
    }
    assert_eq!(cluster.breaker("one").await, "closed");
    backend.behave(Manner::Well);
    assert_eq!(get(&client, "7").await.unwrap(), "one");
    let metrics = cluster.get("/metrics").await;
    for event in ["breaker_opened", "breaker_half_opened", "breaker_closed"] {
        assert!(metrics.text().contains(&format!("event=\"{event}\"")), "{event}");
    }
}

#[tokio::test]
async fn an_instance_that_fails_is_ejected_and_comes_back() {
    let bad = Faulty::start("bad", Manner::Status(INTERNAL)).await;
    let good = Faulty::start("good", Manner::Well).await;
    let mut config = config();
    config.gateway.policy.balancer = Balancer::RoundRobin;
    config.gateway.policy.ejection.base = 3_000 * MS;
    let (cluster, client) = cluster(config, &[&bad, &good]).await;
    while bad.calls() < 5 {
        // Every other one is answered by the good one.
        drop(get(&client, "7").await);
    }
    assert!(cluster.endpoints().await["backend/bad"]["ejected_for_ms"].as_u64().is_some());
    for _ in 0..20 {
        assert_eq!(get(&client, "7").await.unwrap(), "good");
    }
    assert_eq!(bad.calls(), 5);

    // What is known about it belongs to it, and stays when its record says something else.
    let mut record = bad.record.clone();
    record.weight = 50;
    register(&cluster.coord, &record).await;
    eventually(LIMIT, || async {
        let view = cluster.endpoints().await["backend/bad"].clone();
        if view["weight"] == 50 { Ok(()) } else { Err(view.to_string()) }
    })
    .await;
    assert_eq!(cluster.endpoints().await["backend/bad"]["ejections"], 1);

    bad.behave(Manner::Well);
    eventually(LIMIT, || {
        let client = client.clone();
        async move {
            let name = get(&client, "7").await.unwrap();
            if name == "bad" { Ok(()) } else { Err("it is still away".into()) }
        }
    })
    .await;
    assert!(cluster.endpoints().await["backend/bad"].get("ejected_for_ms").is_none());
}

#[tokio::test]
async fn whatever_goes_wrong_the_caller_is_told_in_time_and_no_other_call_suffers() {
    let backend = Faulty::start("one", Manner::Well).await;
    let wrong = [
        ("id-hang", Manner::Hang, Code::DeadlineExceeded, "504 DEADLINE_EXCEEDED"),
        ("id-reset", Manner::Reset, Code::UpstreamFailed, "502 UPSTREAM_FAILED"),
        ("id-within", Manner::ResetWithin, Code::UpstreamFailed, "502 UPSTREAM_FAILED"),
        ("id-trickle", Manner::Trickle, Code::DeadlineExceeded, "504 DEADLINE_EXCEEDED"),
        ("id-no-status", Manner::NoStatus, Code::UpstreamFailed, "502 UPSTREAM_FAILED"),
        ("id-wrong", Manner::WrongStatus, Code::OutcomeUnknown, "500 OUTCOME_UNKNOWN"),
        ("id-refuse", Manner::Refuse, Code::Unavailable, "503 UNAVAILABLE"),
        ("id-503", Manner::Http503, Code::UpstreamFailed, "502 UPSTREAM_FAILED"),
    ];
    for (id, manner, ..) in wrong {
        backend.except(id, manner);
    }
    backend.except("id-oversize", Manner::Oversize);
    let (cluster, client) = cluster(unprotected(), &[&backend]).await;
    let others = tokio::spawn({
        let client = client.clone();
        async move {
            for _ in 0..50 {
                for result in join_all((0..10).map(|_| get(&client, "7"))).await {
                    assert_eq!(result.unwrap(), "one");
                }
            }
        }
    });
    for (id, manner, expected, _) in wrong {
        let found = get_within(&client, id, 400 * MS).await;
        assert_eq!(code(found), Err(expected), "{manner:?}");
    }
    for (id, manner, _, expected) in wrong {
        let path = format!("/v1/tasks/{id}");
        let answer = cluster.send(Method::GET, &path, &[("x-timeout", "400ms")], Bytes::new()).await;
        assert_eq!(answer.error(), expected, "{manner:?}");
    }
    let answer = cluster.get("/v1/tasks/id-oversize").await;
    assert_eq!(answer.status, 500, "{answer:?}");
    assert!(answer.text().contains("cannot be passed on"), "{answer:?}");
    others.await.unwrap();
    eventually(LIMIT, || async {
        let cancelled = backend.cancelled();
        if cancelled >= 4 { Ok(()) } else { Err(format!("{cancelled} calls that nobody waits for are cancelled")) }
    })
    .await;
}

#[tokio::test]
async fn when_a_connection_dies_calls_that_are_safe_go_elsewhere() {
    let (dying, good) = (Faulty::start("dying", Manner::Die).await, Faulty::start("good", Manner::Well).await);
    let (_cluster, client) = cluster(unprotected(), &[&dying, &good]).await;
    for result in join_all((0..10).map(|_| get(&client, "7"))).await {
        assert_eq!(result.unwrap(), "good");
    }
    let before = dying.calls();
    assert!(before > 0);
    let mut lost = 0;
    for _ in 0..20 {
        match code(submit(&client, "x").await) {
            Ok(()) => {}
            Err(Code::UpstreamFailed) => lost += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(dying.calls() - before, lost, "each unsafe call is sent once");
}

#[tokio::test]
async fn only_safe_calls_are_repeated_and_none_after_its_answer_began() {
    let backend = Faulty::start("one", Manner::Reset).await;
    let (_cluster, client) = cluster(unprotected(), &[&backend]).await;
    assert_eq!(code(submit(&client, "x").await), Err(Code::UpstreamFailed));
    assert_eq!(backend.calls(), 1);
    assert_eq!(code(get(&client, "7").await), Err(Code::UpstreamFailed));
    assert_eq!(backend.calls(), 4, "three attempts");
    backend.behave(Manner::ResetWithin);
    assert_eq!(code(get(&client, "7").await), Err(Code::UpstreamFailed));
    assert_eq!(backend.calls(), 5);
    backend.behave(Manner::Refuse);
    assert_eq!(code(submit(&client, "x").await), Err(Code::Unavailable));
    assert_eq!(backend.calls(), 8, "nobody looked at it");
    assert_eq!(code(submit(&client, &"x".repeat(100_000)).await), Err(Code::Unavailable));
    assert_eq!(backend.calls(), 9, "too much to be kept");
}

#[tokio::test]
async fn a_repeat_has_what_is_left_of_the_deadline() {
    let backend = Faulty::start("one", Manner::Status(UNAVAILABLE)).await;
    let mut config = unprotected();
    config.gateway.policy.retry.backoff = 50 * MS;
    let (_cluster, client) = cluster(config, &[&backend]).await;
    assert_eq!(code(get_within(&client, "7", Duration::from_secs(10)).await), Err(Code::Unavailable));
    let micros = |timeout: &String| timeout.strip_suffix('u').unwrap().parse::<u64>().unwrap();
    let timeouts: Vec<_> = backend.timeouts().iter().map(micros).collect();
    assert!(timeouts.len() == 3 && timeouts.is_sorted_by(|before, after| before > after), "{timeouts:?}");
    assert!(timeouts[0] <= 10_000_000, "{timeouts:?}");
}

#[tokio::test]
async fn a_slow_instance_is_hedged_and_the_loser_is_cancelled() {
    let (slow, good) = (Faulty::start("slow", Manner::Hang).await, Faulty::start("good", Manner::Well).await);
    let mut config = unprotected();
    config.gateway.policy.balancer = Balancer::RoundRobin;
    config.gateway.policy.hedge = serde_json::from_str(r#"{"after": "50ms"}"#).unwrap();
    let (_cluster, client) = cluster(config, &[&slow, &good]).await;
    for _ in 0..10 {
        assert_eq!(get(&client, "7").await.unwrap(), "good");
    }
    assert!(slow.calls() >= 3, "{}", slow.calls());
    eventually(LIMIT, || async {
        let (calls, cancelled) = (slow.calls(), slow.cancelled());
        if calls == cancelled { Ok(()) } else { Err(format!("{cancelled} of {calls} are cancelled")) }
    })
    .await;
    let before = slow.calls() + good.calls();
    let unsafe_call = tokio::time::timeout(300 * MS, submit(&client, "x"));
    let second = tokio::time::timeout(300 * MS, submit(&client, "x"));
    let (first, second) = tokio::join!(unsafe_call, second);
    assert!(first.is_err() != second.is_err(), "one of two hangs, for it must not be sent twice");
    assert_eq!(slow.calls() + good.calls(), before + 2);
}

#[tokio::test]
async fn a_stopping_instance_loses_no_call() {
    let (leaving, good) = (Faulty::start("leaving", Manner::Well).await, Faulty::start("good", Manner::Well).await);
    let mut config = config();
    config.gateway.policy.balancer = Balancer::RoundRobin;
    let (_cluster, client) = cluster(config, &[&leaving, &good]).await;
    let calls = (0..500).map(|number| {
        let (client, leaving) = (client.clone(), &leaving);
        async move {
            if number == 100 {
                leaving.state.leave.cancel();
            }
            submit(&client, "x").await
        }
    });
    for result in join_all(calls).await {
        result.unwrap();
    }
    for _ in 0..20 {
        submit(&client, "x").await.unwrap();
    }
}

/// A server that says on each connection, when the first call comes, that it looks at none.
async fn goes_away(listener: TcpListener) {
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    const PREFACE: usize = 24;
    const HEADERS: u8 = 1;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; PREFACE]).await.unwrap();
        stream.write_all(&SETTINGS).await.unwrap();
        // It reads on: else what it said could be lost with the connection.
        let mut gone = false;
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                break;
            }
            let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; len as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if head[3] == HEADERS && !std::mem::replace(&mut gone, true) {
                stream.write_all(&GOAWAY).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn calls_that_a_stopping_instance_has_not_looked_at_go_elsewhere() {
    const INVALID: i32 = 3;
    let good = Faulty::start("good", Manner::Status(INVALID)).await;
    good.except("end of the request", Manner::Well);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = record("away", &listener.local_addr().unwrap().to_string());
    tokio::spawn(goes_away(listener));
    let mut config = unprotected();
    config.gateway.policy.balancer = Balancer::RoundRobin;
    let cluster = Cluster::configured(config, &[]).await;
    register(&cluster.coord, &away).await;
    register(&cluster.coord, &good.record).await;
    eventually(LIMIT, || async {
        let known = cluster.endpoints().await.len();
        if known == 2 { Ok(()) } else { Err(format!("{known} instances are known")) }
    })
    .await;
    let client = TaskServiceClient::new(cluster.channel().await);
    let long = format!("{}end of the request", "of several frames ".repeat(2_000));
    for _ in 0..10 {
        let names = ["end of the request", &long];
        for result in join_all((0..20).map(|number| submit(&client, names[number % 2]))).await {
            result.unwrap();
        }
    }
    assert_eq!(good.calls(), 200);
}

#[tokio::test]
async fn a_key_stays_with_its_instance() {
    let backends = [Faulty::start("one", Manner::Well).await, Faulty::start("two", Manner::Well).await];
    let mut config = config();
    config.gateway.policy.balancer = Balancer::RingHash { header: "x-user".into() };
    let (_cluster, client) = cluster(config, &[&backends[0], &backends[1]]).await;
    let mut homes = Vec::new();
    for user in 0..20 {
        let mut names = Vec::new();
        for _ in 0..3 {
            let mut request = Request::new(GetTaskRequest { task_id: "7".into() });
            request.metadata_mut().insert("x-user", format!("user-{user}").parse().unwrap());
            names.push(client.clone().get_task(request).await.unwrap().into_inner().task.unwrap().worker_id);
        }
        names.dedup();
        assert_eq!(names.len(), 1, "{names:?}");
        homes.append(&mut names);
    }
    assert!(homes.contains(&"one".into()) && homes.contains(&"two".into()), "{homes:?}");
}

#[tokio::test]
async fn an_instance_that_allows_few_calls_on_a_connection_gets_more_connections() {
    let backend = Faulty::allowing(10, "one", Manner::Well).await;
    let (cluster, client) = cluster(config(), &[&backend]).await;
    assert_eq!(get(&client, "7").await.unwrap(), "one");
    backend.behave(Manner::Held);
    let mut held = Vec::new();
    for number in 1..=35 {
        let client = client.clone();
        held.push(tokio::spawn(async move { get(&client, "7").await }));
        eventually(LIMIT, || async {
            if backend.calls() == 1 + number { Ok(()) } else { Err(format!("{} calls", backend.calls())) }
        })
        .await;
    }
    assert!(cluster.endpoints().await["backend/one"]["connections"].as_u64() >= Some(4));
    backend.state.release.add_permits(35);
    for call in held {
        assert_eq!(call.await.unwrap().unwrap(), "one");
    }
}

#[tokio::test]
async fn a_limit_that_follows_latency_sheds_what_is_too_much() {
    let backend = Faulty::start("one", Manner::Held).await;
    let mut config = config();
    config.gateway.policy.concurrency = serde_json::from_str(r#"{"min": 10, "max": 10, "initial": 10}"#).unwrap();
    let (cluster, client) = cluster(config, &[&backend]).await;
    let calls: Vec<_> = (0..30)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { code(get(&client, "7").await) })
        })
        .collect();
    eventually(LIMIT, || async {
        let (refused, taken) = (calls.iter().filter(|call| call.is_finished()).count(), backend.calls());
        // The rest is kept for calls of high priority.
        if (refused, taken) == (21, 9) { Ok(()) } else { Err(format!("{refused} calls are refused, {taken} taken")) }
    })
    .await;
    backend.state.release.add_permits(9);
    let mut ends = Vec::new();
    for call in calls {
        ends.push(call.await.unwrap());
    }
    assert_eq!(ends.iter().filter(|end| **end == Ok("one".into())).count(), 9);
    assert_eq!(ends.iter().filter(|end| **end == Err(Code::Overloaded)).count(), 21);
    assert!(cluster.get("/metrics").await.text().contains("event=\"shed\""));
}
