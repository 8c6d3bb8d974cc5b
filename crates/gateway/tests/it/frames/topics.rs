//! Publish and subscribe: whoever is there hears of it, on whatever gateway, as far as they may.

use http::Method;
use mcp_proto::{
    Code,
    frame::{
        BodyCodec, Command, Frame, Kind, Metadata,
        hello::{Hello, HelloAck},
        parse_error,
    },
    scheduler::v1::{TaskEvent, TaskState, WatchTasksResponse},
};
use serde_json::{Value, json};
use testkit::eventually;

use super::{
    client::{Client, json as body, text},
    config, gateway,
};
use crate::{
    backend::Backend,
    support::{Cluster, LIMIT, deregister, register},
};

const KEY: &str = "mcp_0123456789abcdef_0123456789abcdef0123456789abcdef0123456789a";

impl Client {
    /// Asks for a topic, and returns the number that its events carry.
    async fn ask_for(&mut self, wanted: &Value, metadata: &Metadata<'_>) -> u32 {
        let request = self.request(Command::CALL, BodyCodec::Json, wanted.to_string()).with_metadata(metadata);
        let sequence = request.sequence;
        self.send(Frame { kind: Kind::Subscribe, ..request }).await;
        sequence
    }

    /// Subscribes, and waits until that holds.
    async fn subscribe(&mut self, topic: &str) -> u32 {
        let sequence = self.ask_for(&json!({"topic": topic}), &Metadata::new()).await;
        self.answer(sequence).await;
        sequence
    }

    /// The next frame, which is an event.
    async fn event(&mut self) -> (u32, String, Frame) {
        let frame = self.next().await;
        assert_eq!(frame.kind, Kind::Event, "{}", text(&frame));
        let topic = frame.metadata().unwrap().get("topic").unwrap().to_owned();
        (frame.sequence, topic, frame)
    }

    /// The numbers of the next events, and that nothing else came before.
    async fn events(&mut self, count: usize) -> Vec<u32> {
        let mut numbers = Vec::new();
        for _ in 0..count {
            numbers.push(self.event().await.0);
        }
        numbers
    }

    async fn publish(&mut self, topic: &str, message: &Value) -> Frame {
        let frame = self.request(Command::TOPIC_PUBLISH, BodyCodec::Json, message.to_string());
        self.send(frame.with_metadata(&Metadata::new().with("topic", topic.to_owned()))).await;
        self.next().await
    }
}

#[tokio::test]
async fn a_message_reaches_the_subscribers_of_every_gateway() {
    let (_backend, one) = gateway().await;
    let two = one.beside(config()).await;
    let (mut here, mut there) = (Client::connect(&one).await, Client::connect(&two).await);
    let (exact, rest) = (here.subscribe("orders/eu/created").await, there.subscribe("orders/#").await);
    let mut publisher = Client::connect(&two).await;
    for number in 1..=3 {
        let answer = publisher.publish("orders/eu/created", &json!({"order": number})).await;
        assert_eq!((answer.kind, body(&answer)), (Kind::Response, json!({})));
    }
    for number in 1..=3 {
        for (client, sequence) in [(&mut here, exact), (&mut there, rest)] {
            let (found, topic, event) = client.event().await;
            assert_eq!((found, topic.as_str(), event.codec), (sequence, "orders/eu/created", BodyCodec::Json));
            assert_eq!(body(&event), json!({"order": number}), "in the order in which they were published");
        }
    }
    // The same by HTTP, with bytes.
    let answer = one.post("/v1/topics:publish", r#"{"topic": "orders/x", "body": "AQI="}"#).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let (_, topic, event) = there.event().await;
    assert_eq!((topic.as_str(), event.codec, &*event.body), ("orders/x", BodyCodec::Raw, &[1, 2][..]));

    // What has ended is heard no more.
    let leave = there.request(Command::CALL, BodyCodec::Json, json!({"topic": "orders/#"}).to_string());
    let sequence = leave.sequence;
    there.send(Frame { kind: Kind::Unsubscribe, ..leave }).await;
    there.answer(sequence).await;
    publisher.publish("orders/eu/created", &json!(4)).await;
    assert_eq!(body(&here.event().await.2), json!(4));
    there.lives().await;
    here.send(Frame::new(Kind::Unsubscribe, exact)).await;
    here.answer(exact).await;
    here.send(Frame::new(Kind::Unsubscribe, exact)).await;
    assert_eq!(here.error(exact).await.code(), Code::NotFound);
}

fn change(namespace: &str, id: &str) -> WatchTasksResponse {
    let event = TaskEvent {
        task_id: id.into(),
        namespace: namespace.into(),
        queue: "q".into(),
        state: TaskState::Running.into(),
        ..TaskEvent::default()
    };
    WatchTasksResponse { events: vec![event], dropped: 0 }
}

/// Waits until the gateways follow the scheduler by so many streams.
async fn followed(backend: &Backend, count: usize) {
    eventually(LIMIT, || async {
        if backend.state.events.receiver_count() == count { Ok(()) } else { Err(backend.state.running().to_string()) }
    })
    .await;
}

#[tokio::test]
async fn tasks_and_services_are_heard_of_while_somebody_listens() {
    let (backend, cluster) = gateway().await;
    assert_eq!(backend.state.reached(), 0, "nobody asked for anything");
    let mut client = Client::connect(&cluster).await;
    let tasks = client.subscribe("tasks/default/*").await;
    followed(&backend, 1).await;
    backend.state.events.send(change("other", "6")).unwrap();
    backend.state.events.send(change("default", "7")).unwrap();
    let (sequence, topic, event) = client.event().await;
    assert_eq!((sequence, topic.as_str()), (tasks, "tasks/default/7"));
    let told = body(&event);
    assert_eq!((&told["taskId"], &told["state"]), (&json!("7"), &json!("TASK_STATE_RUNNING")), "{told}");
    client.send(Frame::new(Kind::Unsubscribe, tasks)).await;
    client.answer(tasks).await;
    followed(&backend, 0).await;

    client.subscribe("services/backend").await;
    let mut other = Backend::start("two").await;
    other.record.instance_id = "two".into();
    register(&cluster.coord, &other.record).await;
    let (_, topic, event) = client.event().await;
    let told = body(&event);
    assert_eq!(
        (topic.as_str(), &told["change"], &told["instanceId"]),
        ("services/backend", &json!("put"), &json!("two"))
    );
    deregister(&cluster.coord, &other.record).await;
    assert_eq!(body(&client.event().await.2)["change"], "removed");
}

/// A gateway of one thread, so that nobody is served between the events of one group.
async fn of_one_thread(events_max: usize) -> (Backend, Cluster) {
    let backend = Backend::start("one").await;
    let mut config = config();
    (config.gateway.data_plane_threads, config.gateway.frames.events_max) = (1, events_max);
    let cluster = Cluster::configured(config, &[&backend]).await;
    (backend, cluster)
}

/// Changes of so many tasks at once.
fn changes(count: usize) -> WatchTasksResponse {
    let events = (0..count).flat_map(|id| change("default", &id.to_string()).events);
    WatchTasksResponse { events: events.collect(), dropped: 0 }
}

#[tokio::test]
async fn a_slow_subscriber_misses_the_oldest_events_and_they_are_counted() {
    let (backend, cluster) = of_one_thread(10).await;
    let mut client = Client::connect(&cluster).await;
    let tasks = client.subscribe("tasks/#").await;
    backend.state.events.send(changes(100)).unwrap();
    for id in 90..100 {
        let (sequence, topic, event) = client.event().await;
        assert_eq!((sequence, topic), (tasks, format!("tasks/default/{id}")));
        let dropped = event.metadata().unwrap().get("dropped").map(str::to_owned);
        assert_eq!(dropped.as_deref(), (id == 90).then_some("90"), "it is told once");
    }
    client.lives().await;
    let metrics = cluster.get("/metrics").await;
    let counted = metrics.text().lines().filter(|line| line.starts_with("mcp_gateway_frame_events_dropped_total"));
    let counted: f64 = counted.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert!(counted >= 90.0, "{}", metrics.text());
}

#[tokio::test]
async fn a_subscriber_that_wants_no_gap_is_sent_away_instead() {
    let (backend, cluster) = of_one_thread(10).await;
    let mut client = Client::connect(&cluster).await;
    let wanted = json!({"topic": "tasks/#", "slow": "disconnect"});
    let sequence = client.ask_for(&wanted, &Metadata::new()).await;
    client.answer(sequence).await;
    backend.state.events.send(changes(10)).unwrap();
    for _ in 0..10 {
        client.event().await;
    }
    backend.state.events.send(changes(11)).unwrap();
    let frame = client.next().await;
    assert_eq!((frame.kind, parse_error(&frame).code()), (Kind::GoAway, Code::Overloaded));
    client.closed().await;
}

#[tokio::test]
async fn every_gateway_hears_of_tasks_from_the_moment_of_the_answer() {
    let (backend, one) = gateway().await;
    let two = one.beside(config()).await;
    let mut clients = [Client::connect(&one).await, Client::connect(&two).await];
    for client in &mut clients {
        client.subscribe("tasks/default/*").await;
    }
    // Nothing is waited for: a subscription that was answered holds.
    assert_eq!(backend.state.events.receiver_count(), 2);
    backend.state.events.send(change("default", "7")).unwrap();
    for client in &mut clients {
        assert_eq!(client.event().await.1, "tasks/default/7");
    }
}

#[tokio::test]
async fn an_event_comes_once_for_each_subscription_that_wants_it() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    let [exact, star, rest, again] = ["a/b", "a/*", "a/#", "a/#"].map(|topic| topic.to_owned());
    let mut numbers = Vec::new();
    for topic in [&exact, &star, &rest, &again] {
        numbers.push(client.subscribe(topic).await);
    }
    let mut publisher = Client::connect(&cluster).await;
    publisher.publish("a/b", &json!(1)).await;
    let mut events = client.events(4).await;
    assert_eq!(events, numbers, "in the order in which they were made");
    // `#` stands for no level, too.
    publisher.publish("a", &json!(2)).await;
    events = client.events(2).await;
    assert_eq!(events, numbers[2..]);
    // One is ended by its number, all to a topic by the topic.
    client.send(Frame::new(Kind::Unsubscribe, numbers[0])).await;
    client.answer(numbers[0]).await;
    publisher.publish("a/b", &json!(3)).await;
    assert_eq!(client.events(3).await, numbers[1..]);
    let leave = client.request(Command::CALL, BodyCodec::Json, json!({"topic": "a/#"}).to_string());
    let sequence = leave.sequence;
    client.send(Frame { kind: Kind::Unsubscribe, ..leave }).await;
    client.answer(sequence).await;
    publisher.publish("a/b", &json!(4)).await;
    assert_eq!(client.events(1).await, [numbers[1]]);
    client.lives().await;
}

#[tokio::test]
async fn a_topic_that_is_none_or_not_ones_own_is_refused() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.frames.publish_rate_max = 1;
    config.gateway.frames.event_bytes_max = 100;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut client = Client::connect(&cluster).await;
    for (wanted, code) in [
        (json!({"topic": "a//b"}), Code::InvalidArgument),
        (json!({"topic": "a", "slow": "never"}), Code::MalformedBody),
        (json!({}), Code::MalformedBody),
    ] {
        let sequence = client.ask_for(&wanted, &Metadata::new()).await;
        assert_eq!(client.error(sequence).await.code(), code, "{wanted}");
    }
    for (topic, message, code) in [
        ("tasks/default/7", json!(1), Code::InvalidArgument),
        ("a/*", json!(1), Code::InvalidArgument),
        ("a", json!("x".repeat(200)), Code::PayloadTooLarge),
    ] {
        let answer = client.publish(topic, &message).await;
        assert_eq!((answer.kind, parse_error(&answer).code()), (Kind::Error, code), "{topic}");
    }
    let mut last = Code::Internal;
    for _ in 0..20 {
        let answer = client.publish("a", &json!(1)).await;
        if answer.kind == Kind::Error {
            last = parse_error(&answer).code();
            break;
        }
    }
    assert_eq!(last, Code::RateLimited);
}

#[tokio::test]
async fn a_subscriber_hears_of_the_namespaces_that_it_may_view() {
    let backend = Backend::start("one").await;
    let mut config = config();
    config.gateway.security.bootstrap_key = KEY.to_owned().into();
    let cluster = Cluster::configured(config, &[&backend]).await;
    let admin = format!("Bearer {KEY}");
    let headers = [("content-type", "application/json"), ("authorization", admin.as_str())];
    let grants = json!({"name": "a", "grants": [{"role": "ROLE_OPERATOR", "namespace": "a"}]}).to_string();
    let made = cluster.send(Method::POST, "/v1/keys", &headers, grants.into()).await.json();
    let mine = Metadata::new().with("authorization", format!("Bearer {}", made["secret"].as_str().unwrap()));
    let mut client = Client::connect(&cluster).await;
    let nobody = client.ask_for(&json!({"topic": "#"}), &Metadata::new()).await;
    assert_eq!(client.error(nobody).await.code(), Code::Unauthenticated);
    // The key comes to every thread a moment after it was made.
    loop {
        client.ask_for(&json!({"topic": "tasks/b/*"}), &mine).await;
        let error = parse_error(&client.next().await);
        if error.code() != Code::Unauthenticated {
            assert_eq!(error.code(), Code::PermissionDenied);
            break;
        }
    }
    let sequence = client.ask_for(&json!({"topic": "#"}), &mine).await;
    client.answer(sequence).await;
    followed(&backend, 1).await;
    backend.state.events.send(change("b", "6")).unwrap();
    backend.state.events.send(change("a", "7")).unwrap();
    assert_eq!(client.event().await.1, "tasks/a/7");
    // By a session of its own: an event may come before the answer to what made it.
    let mut publisher = Client::connect(&cluster).await;
    for (topic, allowed) in [("b/x", false), ("a/x", true)] {
        let frame = publisher.request(Command::TOPIC_PUBLISH, BodyCodec::Json, "1");
        publisher.send(frame.with_metadata(&mine.clone().with("topic", topic))).await;
        let answer = publisher.next().await;
        assert_eq!(answer.kind == Kind::Response, allowed, "{topic}: {}", text(&answer));
    }
    assert_eq!(client.event().await.1, "a/x");
}

#[tokio::test]
async fn a_session_that_goes_on_is_still_subscribed() {
    let (_backend, cluster) = gateway().await;
    let mut client = Client::connect(&cluster).await;
    client.send(Hello::default().to_frame(1)).await;
    let session = HelloAck::parse(&client.next().await.body).unwrap().session;
    let sequence = client.subscribe("a/*").await;
    drop(client);
    let mut client = Client::connect(&cluster).await;
    client.send(Hello { resume: session.clone(), ..Hello::default() }.to_frame(1)).await;
    assert_eq!(HelloAck::parse(&client.next().await.body).unwrap().session, session);
    // The answer to the subscription may have been missed.
    client.answer(sequence).await;
    client.lives().await;
    let mut publisher = Client::connect(&cluster).await;
    publisher.publish("a/b", &json!(1)).await;
    let (found, topic, _) = client.event().await;
    assert_eq!((found, topic.as_str()), (sequence, "a/b"));
}
