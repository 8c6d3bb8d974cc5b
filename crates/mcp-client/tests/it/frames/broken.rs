//! Connections that break, servers that go away, silence.

use std::time::Duration;

use mcp_client::FrameClient;
use mcp_proto::{Code, Error};

use super::{
    builder, echo, request,
    server::{DROP, DROP_ONCE, ECHO, GAP, HOLD, Server},
};

#[tokio::test]
async fn a_broken_connection_is_made_again_and_the_call_under_it_has_no_known_outcome() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let error = client.call(request(DROP, "")).await.unwrap_err();
    assert_eq!(error.code(), Code::OutcomeUnknown);
    assert_eq!(echo(&client, "again").await.unwrap(), "again");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_call_that_may_be_repeated_survives_its_connection() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let answer = client.call(request(DROP_ONCE, "once").idempotency_key("k")).await.unwrap();
    assert_eq!((answer.body, server.connections()), ("once".into(), 2));
}

#[tokio::test]
async fn a_resumed_session_brings_the_answers_that_were_missed() {
    let server = Server::start().await;
    server.keep_sessions();
    let client = builder(&server).build().unwrap();
    let mut subscription = client.subscribe("a").await.unwrap();
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.call(request(HOLD, "held")).await });
    server.held(1).await;
    server.cut();
    assert_eq!(call.await.unwrap().unwrap().body, "held");
    assert_eq!(server.subscribed(), ["a"], "the server still knows it");
    server.publish("a", "event");
    assert_eq!(subscription.next().await.unwrap().body, "event");
    assert_eq!(server.resumes(), 1);
}

#[tokio::test]
async fn a_resumed_stream_has_each_answer_once_and_ends_where_one_is_missing() {
    let server = Server::start().await;
    server.keep_sessions();
    let client = builder(&server).build().unwrap();
    let mut stream = client.stream(request(GAP, "")).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().body, "1");
    server.cut();
    assert_eq!(stream.next().await.unwrap().unwrap().body, "2", "the first was there before");
    assert_eq!(stream.next().await.unwrap_err().code(), Code::OutcomeUnknown, "the third was lost");
    server.unsubscribed(1).await;
    assert_eq!(echo(&client, "next").await.unwrap(), "next");
}

#[tokio::test]
async fn the_standby_takes_over_and_calls_that_may_go_to_it() {
    let (first, second) = (Server::start().await, Server::start().await);
    let client = builder(&first).or(second.url()).standby().build().unwrap();
    assert_eq!(echo(&client, "a").await.unwrap(), "a");
    first.connected(1).await;
    second.connected(1).await;
    let mut subscription = client.subscribe("a").await.unwrap();
    // Whichever connection is the active one breaks; the other one is there already.
    let active = if first.subscribed().is_empty() { &second } else { &first };
    let other = if first.subscribed().is_empty() { &first } else { &second };
    active.stop();
    active.cut();
    assert_eq!(client.call(request(ECHO, "b").repeatable()).await.unwrap().body, "b");
    other.has_subscriptions(1).await;
    other.publish("a", "event");
    assert_eq!(subscription.next().await.unwrap().body, "event");
    assert_eq!(active.connections(), 1);
}

#[tokio::test]
async fn a_server_that_sends_us_away_finishes_what_it_began() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.call(request(HOLD, "held")).await });
    server.held(1).await;
    server.send_away();
    server.connected(2).await;
    assert_eq!(echo(&client, "new").await.unwrap(), "new");
    server.release();
    assert_eq!(call.await.unwrap().unwrap().body, "held");
}

#[tokio::test]
async fn a_server_that_is_silent_is_left() {
    let server = Server::start().await;
    let client = builder(&server).ping_interval(Duration::from_millis(20)).build().unwrap();
    assert_eq!(echo(&client, "a").await.unwrap(), "a");
    server.mute();
    server.connected(2).await;
}

#[tokio::test]
async fn a_session_that_is_refused_tells_its_callers_at_once() {
    let server = Server::start().await;
    server.refuse(Error::new(Code::Unauthenticated, "no such key"));
    let client = builder(&server).build().unwrap();
    assert_eq!(echo(&client, "a").await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn whoever_does_not_wait_for_a_connection_hears_that_there_is_none() {
    let server = Server::start().await;
    server.stop();
    let client = builder(&server).fail_fast().build().unwrap();
    assert_eq!(echo(&client, "a").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_url_that_is_none_is_refused() {
    let error = FrameClient::builder("http://gateway").build().unwrap_err();
    assert_eq!(error.violations()[0].field, "url");
}
