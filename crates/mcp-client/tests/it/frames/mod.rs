//! The client of the wire frame against a small server that speaks the codec.

mod broken;
mod server;
mod topics;

use std::time::Duration;

use mcp_client::{
    FrameClient,
    frame::{FrameClientBuilder, FrameRequest},
};
use mcp_proto::{
    Code, Error,
    frame::{BodyCodec, Command},
};
use tokio::task::JoinSet;

use self::server::{ECHO, FAIL, HOLD, STREAM, Server};

/// A client that reconnects fast.
fn builder(server: &Server) -> FrameClientBuilder {
    FrameClient::builder(server.url()).reconnect(Duration::from_millis(1), Duration::from_millis(20))
}

fn request(command: Command, body: &str) -> FrameRequest {
    FrameRequest::command(command).raw(body.to_owned())
}

async fn echo(client: &FrameClient, text: &str) -> Result<String, Error> {
    let answer = client.call(request(ECHO, text)).await?;
    Ok(String::from_utf8(answer.body.to_vec()).unwrap())
}

#[tokio::test]
async fn every_call_gets_its_own_answer_whatever_is_in_flight() {
    let server = Server::start().await;
    for in_flight_max in [1, 1000] {
        let client = builder(&server).in_flight_max(in_flight_max).build().unwrap();
        let mut calls = JoinSet::new();
        for number in 0..300 {
            let client = client.clone();
            calls.spawn(async move { (number.to_string(), echo(&client, &number.to_string()).await.unwrap()) });
        }
        while let Some(call) = calls.join_next().await {
            let (asked, answered) = call.unwrap();
            assert_eq!(asked, answered);
        }
    }
    assert_eq!(server.connections(), 2, "all calls of a client share a connection");
}

#[tokio::test]
async fn a_request_tells_credentials_deadline_and_codec() {
    let server = Server::start().await;
    let client = builder(&server).token("secret").build().unwrap();
    let call = FrameRequest::method("/a.B/C").json_text("{}").metadata("x", "y").timeout(Duration::from_secs(3));
    client.call(call).await.unwrap();
    assert_eq!(server.authorization().as_deref(), Some("Bearer secret"));
    let (frame, metadata) = server.last_call();
    assert_eq!(frame.codec, BodyCodec::Json);
    let get = |key| metadata.get(key).map(str::to_owned);
    let expected = [Some("/a.B/C".to_owned()), Some("3000".to_owned()), Some("y".to_owned())];
    assert_eq!([get("method"), get("timeout-ms"), get("x")], expected);
}

#[tokio::test]
async fn an_error_of_the_server_reaches_the_caller() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let error = client.call(request(FAIL, "")).await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::TaskNotFound, "no such task"));
    assert!(client.ping().await.is_ok(), "the session goes on");
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_and_leaves_its_place() {
    let server = Server::start().await;
    let client = builder(&server).in_flight_max(1).build().unwrap();
    for _ in 0..3 {
        let error = client.call(request(HOLD, "").timeout(Duration::from_millis(10))).await.unwrap_err();
        assert_eq!(error.code(), Code::DeadlineExceeded);
    }
    assert_eq!(echo(&client, "next").await.unwrap(), "next");
}

#[tokio::test]
async fn a_stream_ends_after_its_last_answer() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let mut stream = client.stream(request(STREAM, "5")).await.unwrap();
    let mut answers = Vec::new();
    while let Some(answer) = stream.next().await.unwrap() {
        answers.push(String::from_utf8(answer.body.to_vec()).unwrap());
    }
    assert_eq!(answers, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_and_takes_no_more_than_it_may() {
    let server = Server::start().await;
    let client = builder(&server).unread_max(10).build().unwrap();
    let mut slow = client.stream(request(STREAM, "1000")).await.unwrap();
    server.unsubscribed(1).await;
    let mut count = 0;
    let error = loop {
        match slow.next().await {
            Ok(answer) => count += usize::from(answer.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!((count, error.code()), (10, Code::Overloaded));

    let stream = client.stream(request(HOLD, "")).await.unwrap();
    server.held(1).await;
    drop(stream);
    server.unsubscribed(2).await;
    assert_eq!(echo(&client, "next").await.unwrap(), "next");
}

#[tokio::test]
async fn closing_finishes_what_is_under_way_and_takes_nothing_more() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let mut subscription = client.subscribe("a").await.unwrap();
    let caller = client.clone();
    let call = tokio::spawn(async move { caller.call(request(HOLD, "held")).await });
    server.held(1).await;
    let closer = client.clone();
    let closing = tokio::spawn(async move { closer.close(Duration::from_secs(60)).await });
    assert_eq!(subscription.next().await, None);
    server.release();
    closing.await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().body, "held");
    assert_eq!(echo(&client, "late").await.unwrap_err().code(), Code::Cancelled);
    server.goodbyes(1).await;
}
