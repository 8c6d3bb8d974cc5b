//! Sessions: greeting, coming back, limits, silence, the end.

use std::time::Duration;

use gateway::Config;
use http::Method;
use mcp_proto::{
    Code,
    frame::{
        BodyCodec, Command, Frame, Kind, Metadata, Profile,
        hello::{Hello, HelloAck},
        parse_error,
    },
};
use serde_json::json;
use testkit::eventually;

use super::{
    client::{self, Client, json as body},
    config, gateway, task,
};
use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

const KEY: &str = "mcp_0123456789abcdef_0123456789abcdef0123456789abcdef0123456789a";

impl Client {
    /// Greets, and returns the terms of the session.
    async fn greet(&mut self, resume: &str) -> HelloAck {
        let hello = Hello { client: "test/1".into(), codecs: vec!["json".into()], resume: resume.into() };
        self.send(hello.to_frame(1)).await;
        let ack = self.next().await;
        assert_eq!((ack.kind, ack.sequence), (Kind::HelloAck, 1), "{}", client::text(&ack));
        HelloAck::parse(&ack.body).unwrap()
    }
}

async fn reached(backend: &Backend, count: usize) {
    eventually(LIMIT, || async {
        if backend.state.reached() == count { Ok(()) } else { Err(backend.state.reached().to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_greeting_is_answered_with_the_terms_of_the_session() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let ack = client.greet("nobody's").await;
    assert_eq!((ack.ping_interval_ms, ack.idle_timeout_ms, ack.max_frame), (30_000, 90_000, 16 << 20));
    assert_eq!((ack.session.len(), ack.codec.as_str()), (32, "json"));
    client.lives().await;
}

#[tokio::test]
async fn a_client_that_comes_back_gets_the_answers_that_it_missed() {
    let backend = Backend::start("one").await;
    // The second connection is served by the other thread.
    let mut config = config();
    config.gateway.data_plane_threads = 2;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut first = Client::connect(&cluster).await;
    let session = first.greet("").await.session;
    let read = first.ask(Command::TASK_GET, &task("read"), &Metadata::new()).await;
    first.answer(read).await;
    let held = first.ask(Command::TASK_GET, &task("held"), &Metadata::new()).await;
    let slow = first.ask(Command::TASK_GET, &task("held"), &Metadata::new()).await;
    reached(&backend, 3).await;
    drop(first);
    backend.state.release.add_permits(1);
    eventually(LIMIT, || async {
        if backend.state.running() == 1 { Ok(()) } else { Err("the call was cancelled, or runs on".into()) }
    })
    .await;
    let mut second = Client::connect(&cluster).await;
    assert_eq!(second.greet(&session).await.session, session, "it is the same session");
    // What was sent may have been read or not: its client knows.
    let known: Vec<_> = vec![second.next().await.sequence, second.next().await.sequence];
    assert!(known.contains(&read) && (known.contains(&held) || known.contains(&slow)), "{known:?}");
    backend.state.release.add_permits(1);
    let last = second.next().await;
    assert!([held, slow].contains(&last.sequence) && !known.contains(&last.sequence), "{last:?}");
    second.lives().await;
    // Once more, while the connection before is still open.
    let mut third = Client::connect(&cluster).await;
    assert_eq!(third.greet(&session).await.session, session);
    second.closed().await;
    for _ in 0..3 {
        assert_eq!(third.next().await.kind, Kind::Response);
    }
    third.lives().await;
}

#[tokio::test]
async fn a_session_is_forgotten_after_its_window() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.resume_window = Duration::from_millis(20);
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    let session = client.greet("").await.session;
    client.ask(Command::TASK_GET, &task("never"), &Metadata::new()).await;
    reached(&backend, 1).await;
    drop(client);
    eventually(LIMIT, || async {
        if backend.state.running() == 0 { Ok(()) } else { Err("its call still runs".into()) }
    })
    .await;
    let mut client = Client::connect(&cluster).await;
    assert_ne!(client.greet(&session).await.session, session);
    client.lives().await;
}

#[tokio::test]
async fn a_session_with_as_many_calls_as_it_may_have_is_not_read() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.calls_max = 3;
    config.gateway.frames.subscriptions_max = 1;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    let watch = client.ask(Command::TASK_WATCH, &json!({}), &Metadata::new()).await;
    assert!(client.answer(watch).await.has_more());
    let other = client.ask(Command::TASK_WATCH, &json!({}), &Metadata::new()).await;
    let error = client.error(other).await;
    assert_eq!((error.code(), error.metadata()["limit"].as_str()), (Code::Overloaded, "1"));
    for _ in 0..10 {
        client.ask(Command::TASK_GET, &task("held"), &Metadata::new()).await;
    }
    let mut answered = 0;
    while answered < 10 {
        let running = 1 + (10 - answered).min(3);
        eventually(LIMIT, || async {
            // Never more than these: what is over waits in the connection.
            if backend.state.running() == running { Ok(()) } else { Err(backend.state.running().to_string()) }
        })
        .await;
        assert_eq!(backend.state.reached(), 1 + answered + running - 1);
        backend.state.release.add_permits(1);
        assert_eq!(client.next().await.kind, Kind::Response);
        answered += 1;
    }
    client.lives().await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_waits_and_then_comes_whole() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.write_bytes_max = 4_096;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    let lines = 1_000;
    let logs = client.ask(Command::TASK_LOGS, &json!({"taskId": "7", "afterSeq": lines}), &Metadata::new()).await;
    let get = client.ask(Command::TASK_GET, &task("7"), &Metadata::new()).await;
    let (mut line, mut got, mut ended) = (0, false, false);
    while !(got && ended) {
        let frame = client.next().await;
        if frame.kind == Kind::Ping {
            // A slow machine may have been silent for long.
            continue;
        }
        if frame.sequence == get {
            got = true;
        } else if frame.has_more() {
            line += 1;
            assert_eq!((frame.sequence, body(&frame)["lines"][0]["seq"].as_str()), (logs, Some(&*line.to_string())));
        } else {
            assert_eq!((frame.kind, frame.sequence), (Kind::Response, logs));
            ended = true;
        }
    }
    assert_eq!(line, lines);
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_one_that_never_answers_is_closed() {
    let backend = Backend::start("one").await;
    let mut config = config();
    let frames = &mut config.gateway.frames;
    (frames.ping_interval, frames.idle_timeout) = (Duration::from_millis(100), Duration::from_millis(500));
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut silent = Client::connect(&cluster).await;
    let mut alive = Client::connect(&cluster).await;
    let mut compact = Client::speaking(&cluster, Profile::Compact).await;
    let mut pings = 0;
    while let Some(frame) = silent.try_next().await {
        assert_eq!((frame.kind, frame.sequence), (Kind::Ping, 0));
        let ping = alive.next().await;
        assert_eq!(ping.kind, Kind::Ping);
        alive.send(Frame::new(Kind::Pong, 0)).await;
        pings += 1;
    }
    assert!(pings >= 2, "{pings}");
    compact.closed().await;
    alive.send(Frame::new(Kind::Ping, 3)).await;
    while alive.next().await.kind != Kind::Pong {}
}

#[tokio::test]
async fn a_drain_says_so_and_lets_calls_finish() {
    let (backend, cluster) = gateway().await;
    let mut idle = Client::connect(&cluster).await;
    idle.lives().await;
    let mut client = Client::connect(&cluster).await;
    let held = client.ask(Command::TASK_GET, &task("held"), &Metadata::new()).await;
    reached(&backend, 1).await;
    cluster.stop.cancel();
    for client in [&mut client, &mut idle] {
        let frame = client.next().await;
        assert_eq!((frame.kind, parse_error(&frame).code()), (Kind::GoAway, Code::ShuttingDown));
    }
    idle.closed().await;
    let late = client.ask(Command::TASK_GET, &task("7"), &Metadata::new()).await;
    assert_eq!(client.error(late).await.code(), Code::ShuttingDown);
    backend.state.release.add_permits(1);
    client.answer(held).await;
    client.closed().await;
    cluster.task.await.unwrap().unwrap();
}

fn closed() -> Config {
    let mut config = config();
    config.gateway.security.bootstrap_key = KEY.to_owned().into();
    config
}

#[tokio::test]
async fn credentials_come_with_a_call_or_with_the_hello() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(closed(), &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    let bearer = format!("Bearer {KEY}");
    let mine = Metadata::new().with("authorization", &bearer);
    let sequence = client.ask(Command::TASK_GET, &task("7"), &Metadata::new()).await;
    assert_eq!(client.error(sequence).await.code(), Code::Unauthenticated);
    assert_eq!(client.call(Command::HEALTH, &json!({})).await["status"], "SERVING", "health is for everybody");
    let sequence = client.ask(Command::TASK_GET, &task("7"), &mine).await;
    let seen = body(&client.answer(sequence).await)["task"]["spec"]["labels"].clone();
    assert!(seen.get("authorization").is_none() && seen["mcp-principal"].as_str().is_some(), "{seen}");

    let hello = |authorization: &str| {
        let metadata = Metadata::new().with("authorization", authorization.to_owned());
        Hello::default().to_frame(5).with_metadata(&metadata)
    };
    client.send(hello("Bearer mcp_wrong")).await;
    assert_eq!(client.error(5).await.code(), Code::Unauthenticated);
    client.send(hello(&bearer)).await;
    let session = HelloAck::parse(&client.next().await.body).unwrap().session;
    client.call(Command::TASK_GET, &task("7")).await;
    // Whoever learns the session's id cannot take it without its credentials.
    let mut thief = Client::connect(&cluster).await;
    assert_ne!(thief.greet(&session).await.session, session);
    client.lives().await;
}

#[tokio::test]
async fn a_key_for_one_namespace_holds_there_by_frames_too() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(closed(), &[&backend]).await;
    let made = cluster
        .send(
            Method::POST,
            "/v1/keys",
            &[("content-type", "application/json"), ("authorization", &format!("Bearer {KEY}"))],
            json!({"name": "a", "grants": [{"role": "ROLE_OPERATOR", "namespace": "a"}]}).to_string().into(),
        )
        .await
        .json();
    let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
    let mine = Metadata::new().with("authorization", bearer);
    let mut client = Client::connect(&cluster).await;
    // The key comes to every thread a moment after it was made.
    for (namespace, allowed) in [("a", true), ("b", false)] {
        let mut code = Some(Code::Unauthenticated);
        while code == Some(Code::Unauthenticated) {
            let body = json!({"task": {"namespace": namespace}});
            client.ask(Command::TASK_SUBMIT, &body, &mine).await;
            let frame = client.next().await;
            code = (frame.kind == Kind::Error).then(|| parse_error(&frame).code());
        }
        assert_eq!(code, (!allowed).then_some(Code::PermissionDenied), "{namespace}");
    }
}

#[tokio::test]
async fn sessions_and_their_calls_are_counted() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    client.raw(b"nonsense").await;
    client.next().await;
    let frame = client.request(Command::TASK_GET, BodyCodec::Json, task("7").to_string());
    let sequence = frame.sequence;
    client.send(frame).await;
    client.answer(sequence).await;
    let metrics = cluster.get("/metrics").await;
    for (name, label) in [
        ("mcp_gateway_frame_sessions", ""),
        ("mcp_gateway_frames_broken", "reason=\"magic\""),
        ("mcp_gateway_call_duration_seconds_count", "protocol=\"frame\""),
    ] {
        let found = metrics.text().lines().any(|line| line.starts_with(name) && line.contains(label));
        assert!(found, "{name} {label}: {}", metrics.text());
    }
}
