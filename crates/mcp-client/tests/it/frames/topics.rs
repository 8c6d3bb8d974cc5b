//! Publish and subscribe.

use mcp_proto::frame::BodyCodec;

use super::{builder, echo, server::Server};

#[tokio::test]
async fn events_go_to_those_who_subscribed_to_their_topic() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let mut some = client.subscribe("a/*").await.unwrap();
    let mut same = client.subscribe("a/*").await.unwrap();
    let mut all = client.subscribe("#").await.unwrap();
    assert_eq!(server.subscribed(), ["a/*", "#"], "the same topic is subscribed to once");
    client.publish("a/b", BodyCodec::Json, "1").await.unwrap();
    client.publish("c", BodyCodec::Raw, "2").await.unwrap();
    let event = some.next().await.unwrap();
    assert_eq!((event.topic.as_str(), event.codec, &event.body[..]), ("a/b", BodyCodec::Json, &b"1"[..]));
    assert_eq!(same.next().await, Some(event.clone()));
    assert_eq!(all.next().await, Some(event));
    assert_eq!(all.next().await.unwrap().topic, "c");
}

#[tokio::test]
async fn subscriptions_are_made_again_after_a_reconnect() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let mut subscription = client.subscribe("a").await.unwrap();
    server.cut();
    server.has_subscriptions(2).await;
    client.publish("a", BodyCodec::Raw, "after").await.unwrap();
    assert_eq!(subscription.next().await.unwrap().body, "after");
}

#[tokio::test]
async fn a_subscription_ends_at_the_server_with_its_last_reader() {
    let server = Server::start().await;
    let client = builder(&server).build().unwrap();
    let (first, second) = (client.subscribe("a").await.unwrap(), client.subscribe("a").await.unwrap());
    drop(first);
    assert_eq!(echo(&client, "x").await.unwrap(), "x");
    drop(second);
    server.unsubscribed(1).await;
    client.subscribe("a").await.unwrap();
    assert_eq!(server.subscribed(), ["a", "a"]);
}

#[tokio::test]
async fn a_slow_reader_misses_the_oldest_events_and_hears_how_many() {
    let server = Server::start().await;
    let client = builder(&server).unread_max(3).build().unwrap();
    let mut subscription = client.subscribe("a").await.unwrap();
    for number in 0..10 {
        client.publish("a", BodyCodec::Raw, number.to_string()).await.unwrap();
    }
    for number in 7..10 {
        assert_eq!(subscription.next().await.unwrap().body, number.to_string());
    }
    assert_eq!(subscription.dropped(), 7);
}
