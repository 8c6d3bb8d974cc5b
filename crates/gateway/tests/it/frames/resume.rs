//! Connections that break, and what their clients find when they come back.

use std::time::Duration;

use mcp_client::{FrameClient, frame::FrameRequest};
use mcp_proto::{
    Code,
    frame::{
        Command, Frame, Kind, Metadata, Profile,
        hello::{Hello, HelloAck},
    },
    scheduler::v1::{TaskEvent, WatchTasksResponse},
};
use serde_json::{Value, json};
use testkit::{FaultProxy, eventually, proxy::Mode};

use super::{
    client::{Client, address, json as body},
    config, gateway, task,
};
use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

/// Opens a session, or goes on with one; its id.
async fn greet(client: &mut Client, resume: &str) -> String {
    client.send(Hello { resume: resume.to_owned(), ..Hello::default() }.to_frame(1)).await;
    let session = HelloAck::parse(&client.next().await.body).unwrap().session;
    assert!(resume.is_empty() || session == resume, "it is another session");
    session
}

/// A connection that goes on with a session.
async fn resumed(cluster: &Cluster, session: &str) -> Client {
    let mut client = Client::connect(cluster).await;
    greet(&mut client, session).await;
    client
}

/// Waits until so many calls run behind the gateway.
async fn running(backend: &Backend, count: usize) {
    eventually(LIMIT, || async {
        if backend.state.running() == count { Ok(()) } else { Err(backend.state.running().to_string()) }
    })
    .await;
}

/// Tells all who watch of a task.
fn tell(backend: &Backend, id: u32) {
    let event = TaskEvent { task_id: id.to_string(), ..TaskEvent::default() };
    backend.state.events.send(WatchTasksResponse { events: vec![event], dropped: 0 }).unwrap();
}

/// The task that an answer of a watch tells of; the first one tells of none.
fn told(body: &Value) -> u32 {
    body["events"][0]["taskId"].as_str().map_or(0, |id| id.parse().unwrap())
}

/// The number of an answer in its stream, which it says when its client may have seen it.
fn number(frame: &Frame) -> Option<u64> {
    frame.metadata().unwrap().get("answer").map(|text| text.parse().unwrap())
}

#[tokio::test]
async fn a_stream_goes_on_for_whoever_comes_back_and_ends_by_its_number() {
    let (backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let session = greet(&mut client, "").await;
    let watch = client.ask(Command::TASK_WATCH, &json!({}), &Metadata::new()).await;
    let first = client.answer(watch).await;
    assert_eq!((first.has_more(), number(&first)), (true, None), "nobody needs it yet");
    let other = client.ask(Command::TASK_WATCH, &json!({}), &Metadata::new()).await;
    client.answer(other).await;
    // It comes back, and comes back once more while the connection before is still open.
    drop(client);
    let mut second = resumed(&cluster, &session).await;
    for stream in [watch, other] {
        let again = second.answer(stream).await;
        assert_eq!((told(&body(&again)), number(&again)), (0, Some(1)), "it is sent again, and says so");
    }
    let mut third = resumed(&cluster, &session).await;
    for stream in [watch, other] {
        assert_eq!(number(&third.answer(stream).await), Some(1));
    }
    third.send(Frame::new(Kind::Unsubscribe, watch)).await;
    assert!(!third.answer(watch).await.has_more());
    running(&backend, 1).await;
    tell(&backend, 7);
    let next = third.answer(other).await;
    assert_eq!((told(&body(&next)), number(&next)), (7, Some(2)), "the other one goes on");
    third.send(Frame::new(Kind::Unsubscribe, watch)).await;
    assert_eq!(third.error(watch).await.code(), Code::NotFound);
    third.send(Frame::new(Kind::Unsubscribe, other)).await;
    third.answer(other).await;
    running(&backend, 0).await;
    third.lives().await;
}

#[tokio::test]
async fn what_a_resumed_session_may_have_at_a_time_is_what_it_might_before() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.subscriptions_max = 2;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    let session = greet(&mut client, "").await;
    let watch = client.ask(Command::TASK_WATCH, &json!({}), &Metadata::new()).await;
    client.answer(watch).await;
    drop(client);
    let mut client = resumed(&cluster, &session).await;
    client.answer(watch).await;
    // A client that comes back keeps its numbers apart.
    let later = |sequence| {
        let frame = Frame::request(Command::TASK_WATCH, sequence, "{}");
        frame.with_codec(mcp_proto::frame::BodyCodec::Json)
    };
    client.send(later(50)).await;
    client.answer(50).await;
    client.send(later(51)).await;
    assert_eq!(client.error(51).await.code(), Code::Overloaded);
    client.send(Frame::new(Kind::Unsubscribe, watch)).await;
    client.answer(watch).await;
    client.send(later(52)).await;
    client.answer(52).await;
}

#[tokio::test]
async fn a_stream_waits_for_its_client_as_far_as_its_answers_cannot_be_kept() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.resume_frames_max = 4;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    let session = greet(&mut client, "").await;
    let watch = client.ask(Command::TASK_WATCH, &json!({}), &Metadata::new()).await;
    client.answer(watch).await;
    drop(client);
    // More than is kept, and no more than the backend holds ready.
    (1..=12).for_each(|id| tell(&backend, id));
    let mut client = resumed(&cluster, &session).await;
    let mut seen = Vec::new();
    while seen.last() != Some(&(12, Some(13))) {
        let answer = client.answer(watch).await;
        seen.push((told(&body(&answer)), number(&answer)));
    }
    seen.retain(|(id, _)| *id > 0);
    let expected: Vec<_> = (1..=12).map(|id| (id, Some(u64::from(id) + 1))).collect();
    assert_eq!(seen, expected, "none is missed");
}

#[tokio::test]
async fn a_call_of_a_resumed_session_is_finished_when_the_gateway_stops() {
    let (backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let session = greet(&mut client, "").await;
    let held = client.ask(Command::TASK_GET, &task("held"), &Metadata::new()).await;
    running(&backend, 1).await;
    drop(client);
    let mut client = resumed(&cluster, &session).await;
    client.lives().await;
    cluster.stop.cancel();
    assert_eq!(client.next().await.kind, Kind::GoAway);
    backend.state.release.add_permits(1);
    client.answer(held).await;
    client.closed().await;
    cluster.task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_client_gets_every_answer_of_a_stream_once() {
    let (backend, cluster) = gateway().await;
    let proxy = FaultProxy::start(address(&cluster, Profile::Standard).await).await;
    let client = FrameClient::builder(format!("mcp://{}", proxy.address()))
        .reconnect(Duration::from_millis(1), Duration::from_millis(20))
        .build()
        .unwrap();
    let watch = FrameRequest::command(Command::TASK_WATCH).json(&json!({})).unwrap();
    let mut stream = client.stream(watch).await.unwrap();
    let mut seen = vec![told(&stream.next().await.unwrap().unwrap().json().unwrap())];
    for round in 0..3 {
        (1..=3).for_each(|id| tell(&backend, round * 3 + id));
        while seen.last() != Some(&(round * 3 + 3)) {
            let answer = stream.next().await.unwrap().expect("it goes on");
            seen.push(told(&answer.json().unwrap()));
        }
        proxy.reset().await;
    }
    assert_eq!(seen, (0..=9).collect::<Vec<_>>());
    drop(stream);
    running(&backend, 0).await;
}

#[tokio::test]
async fn a_stream_that_its_reader_leaves_meanwhile_ends_when_the_client_is_back() {
    let (backend, cluster) = gateway().await;
    let proxy = FaultProxy::start(address(&cluster, Profile::Standard).await).await;
    let client = FrameClient::builder(format!("mcp://{}", proxy.address()))
        .reconnect(Duration::from_millis(1), Duration::from_millis(20))
        .deadline(Duration::from_millis(200))
        .fail_fast()
        .build()
        .unwrap();
    let watch = FrameRequest::command(Command::TASK_WATCH).json(&json!({})).unwrap();
    let mut stream = client.stream(watch).await.unwrap();
    stream.next().await.unwrap().unwrap();
    proxy.set(Mode::Cut).await;
    eventually(LIMIT, || async {
        match client.ping().await {
            Err(error) if error.code() == Code::Unavailable => Ok(()),
            other => Err(format!("the client has not seen it yet: {other:?}")),
        }
    })
    .await;
    drop(stream);
    running(&backend, 1).await;
    proxy.set(Mode::PASS).await;
    running(&backend, 0).await;
}

#[tokio::test]
async fn a_half_open_connection_is_given_up_by_both_ends() {
    let backend = Backend::start("one").await;
    let mut config = config();
    let frames = &mut config.gateway.frames;
    (frames.ping_interval, frames.idle_timeout) = (Duration::from_millis(200), Duration::from_millis(600));
    frames.resume_window = Duration::from_millis(50);
    let cluster = Cluster::configured(config, &[&backend]).await;
    let direct = address(&cluster, Profile::Standard).await;
    let proxy = FaultProxy::start(direct).await;
    let client = FrameClient::builder(format!("mcp://{}", proxy.address()))
        .or(format!("mcp://{direct}"))
        .reconnect(Duration::from_millis(10), Duration::from_millis(20))
        .resume_max(Duration::from_millis(100))
        .build()
        .unwrap();
    let watch = FrameRequest::command(Command::TASK_WATCH).json(&json!({})).unwrap();
    let mut stream = client.stream(watch).await.unwrap();
    stream.next().await.unwrap().unwrap();
    running(&backend, 1).await;
    // Nothing is closed: what is sent is just gone. Each end finds out by itself, in the time that is configured.
    proxy.set(Mode::BlackHole).await;
    running(&backend, 0).await;
    assert!(stream.next().await.is_err(), "its client was told, too");
    client.ping().await.unwrap();
}
