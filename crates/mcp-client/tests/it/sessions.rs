//! Sessions: hello, credits, pings, reconnects, several replicas.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use mcp_client::{
    discovery::Discovery,
    testing::{FakeScheduler, SOON, assignment, attempt, handler},
    worker::{Schedulers, Worker},
};
use mcp_coord::{Coordinator, Embedded, InstanceRecord, keys};
use mcp_proto::worker::v1::{OpenSessionResponse, SessionWelcome, Taint, attempt_result::Outcome};
use serde_json::json;
use testkit::eventually;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::{builder, builder_for, run};

const CLUSTER: &str = "test";

fn ping(number: u64) -> OpenSessionResponse {
    OpenSessionResponse { ping: number, ..OpenSessionResponse::default() }
}

fn record(scheduler: &FakeScheduler, instance_id: &str) -> InstanceRecord {
    InstanceRecord {
        service: "scheduler".to_owned(),
        instance_id: instance_id.to_owned(),
        address: scheduler.address().to_string(),
        version: String::new(),
        zone: String::new(),
        weight: 100,
        grpc_services: Vec::new(),
        labels: Default::default(),
        registered_unix_ms: 0,
    }
}

async fn register(coord: &dyn Coordinator, record: &InstanceRecord) {
    let key = keys::instance(CLUSTER, &record.service, &record.instance_id);
    coord.put(&key, serde_json::to_vec(record).unwrap().into(), None).await.unwrap();
}

#[tokio::test]
async fn a_worker_says_what_it_is() {
    let scheduler = FakeScheduler::start().await;
    let worker = builder(&scheduler)
        .version("1.2.3")
        .namespaces(["a"])
        .queues(["b", "c"])
        .label("zone", "a")
        .taint("gpu", "true")
        .resources(1_500, 1 << 30);
    let _worker = run(worker);
    let hello = scheduler.opened().await.hello;
    assert_eq!(hello.name, "test");
    assert_eq!(hello.labels, [("zone".to_owned(), "a".to_owned())].into());
    assert_eq!(hello.taints, [Taint { key: "gpu".to_owned(), value: "true".to_owned() }]);
    assert_eq!((hello.cpu_millis, hello.memory_bytes), (1_500, 1 << 30));
    assert_eq!(hello.version, "1.2.3");
    assert_eq!((hello.namespaces, hello.queues), (vec!["a".to_owned()], vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(hello.handlers, ["echo", "talk", "wait"]);
    assert!(!hello.runs_processes);
    assert_eq!((hello.credits, hello.running.len()), (4, 0));
    assert!(uuid::Uuid::parse_str(&hello.worker_id).is_ok(), "{}", hello.worker_id);
}

#[tokio::test]
async fn credits_never_exceed_the_free_slots() {
    const SLOTS: u32 = 4;
    const TASKS: u16 = 500;
    let scheduler = FakeScheduler::start().await;
    let _worker = run(builder(&scheduler));
    let mut session = scheduler.welcomed().await;
    let mut running = BTreeSet::new();
    for task in 0..TASKS {
        session.assign(vec![assignment(task, handler("echo", json!(task)))]).await;
        running.insert(attempt(task, 1).task_id);
        // What the worker has said so far frees slots; the rest is in use.
        while session.credits() == 0 || session.unread_results() > 0 {
            let result = session.result().await;
            let ended = result.attempt.unwrap();
            assert!(running.remove(&ended.task_id));
            session.acknowledge(&ended).await;
            let used = u32::try_from(running.len() - session.unread_results()).unwrap();
            assert!(session.credits() + used <= SLOTS, "{} credits, {used} running", session.credits());
        }
    }
}

#[tokio::test]
async fn a_ping_is_answered() {
    let scheduler = FakeScheduler::start().await;
    let _worker = run(builder(&scheduler));
    let mut session = scheduler.welcomed().await;
    session.say(ping(7)).await;
    assert_eq!(session.next().await.unwrap().pong, 7);
    session.say(ping(9)).await;
    assert_eq!(session.next().await.unwrap().pong, 9);
}

#[tokio::test]
async fn a_silent_session_is_given_up() {
    let scheduler = FakeScheduler::start().await;
    let _worker = run(builder(&scheduler));
    let mut first = scheduler.opened().await;
    let interval = Duration::from_millis(30);
    first
        .welcome(SessionWelcome { ping_interval: Some(interval.try_into().unwrap()), ..SessionWelcome::default() })
        .await;
    for _ in 0..5 {
        first.heard().await;
    }
    let second = scheduler.opened().await;
    assert_eq!(second.hello.worker_id, first.hello.worker_id);
    first.ended().await;
}

#[tokio::test]
async fn the_next_session_claims_what_runs_and_repeats_what_was_not_acknowledged() {
    let scheduler = FakeScheduler::start().await;
    let worker = run(builder(&scheduler));
    let mut first = scheduler.welcomed().await;
    first.assign(vec![assignment(1, handler("wait", json!(null)))]).await;
    first.assign((2..=4).map(|task| assignment(task, handler("echo", json!(task)))).collect()).await;
    for _ in 2..=4 {
        first.result().await;
    }
    first.acknowledge(&attempt(4, 1)).await;
    first.heard().await;
    drop(first);

    let mut second = scheduler.opened().await;
    assert_eq!(second.hello.running, [attempt(1, 1), attempt(2, 1), attempt(3, 1)]);
    assert_eq!(second.hello.credits, 3);
    // The scheduler has given task 3 to another worker.
    second.welcome(SessionWelcome { revoked: vec![attempt(3, 1)], ..SessionWelcome::default() }).await;
    let repeated = second.result().await;
    assert_eq!(repeated.attempt, Some(attempt(2, 1)));
    second.acknowledge(&attempt(2, 1)).await;
    worker.gate.add_permits(1);
    let finished = second.result().await;
    assert_eq!(finished.attempt, Some(attempt(1, 1)));
    assert!(matches!(finished.outcome, Some(Outcome::Success(_))));
}

#[tokio::test]
async fn a_revoked_attempt_is_stopped_and_not_reported() {
    let scheduler = FakeScheduler::start().await;
    let _worker = run(builder(&scheduler).slots(1));
    let mut first = scheduler.welcomed().await;
    first.assign(vec![assignment(1, handler("wait", json!(null)))]).await;
    first.heard().await;
    drop(first);
    let mut second = scheduler.opened().await;
    assert_eq!((second.hello.running.len(), second.hello.credits), (1, 0));
    second.welcome(SessionWelcome { revoked: second.hello.running.clone(), ..SessionWelcome::default() }).await;
    second.assign(vec![assignment(2, handler("echo", json!(null)))]).await;
    assert_eq!(second.result().await.attempt, Some(attempt(2, 1)), "the slot is free and nothing else is said");
}

#[tokio::test]
async fn the_scheduler_may_be_away_for_a_while() {
    let scheduler = FakeScheduler::start().await;
    let worker = run(builder(&scheduler));
    let mut session = scheduler.welcomed().await;
    session.assign(vec![assignment(1, handler("wait", json!(null)))]).await;
    session.heard().await;
    let address = scheduler.stop().await;
    drop(session);
    worker.gate.add_permits(1);
    let scheduler = FakeScheduler::start_on(address).await;
    let mut session = scheduler.welcomed().await;
    assert_eq!(session.hello.running, [attempt(1, 1)]);
    assert_eq!(session.result().await.attempt, Some(attempt(1, 1)));
}

#[tokio::test]
async fn slots_are_shared_by_the_replicas_that_are_registered() {
    let coord: Arc<dyn Coordinator> = Arc::new(Embedded::in_memory());
    let (one, two) = (FakeScheduler::start().await, FakeScheduler::start().await);
    register(&*coord, &record(&one, "one")).await;
    let discovery = Discovery::start(Arc::clone(&coord), CLUSTER);
    let _worker = run(builder_for(Schedulers::Discovered(discovery)));
    let mut first = one.welcomed().await;
    assert_eq!(first.hello.credits, 4);

    // The second replica gets its half, which the first one gives back.
    register(&*coord, &record(&two, "two")).await;
    let mut other = two.welcomed().await;
    assert_eq!(other.hello.credits, 0);
    while first.credits() > 2 {
        first.heard().await;
    }
    other.assign(vec![assignment(1, handler("echo", json!(1))), assignment(2, handler("echo", json!(2)))]).await;
    other.result().await;
    other.result().await;

    // Two records with one address are one replica, and need one session only.
    register(&*coord, &record(&two, "two-after-a-restart")).await;
    coord.delete(&keys::instance(CLUSTER, "scheduler", "two")).await.unwrap();
    other.heard().await;
}

#[tokio::test]
async fn work_of_a_replica_that_is_gone_is_claimed_at_another() {
    let coord: Arc<dyn Coordinator> = Arc::new(Embedded::in_memory());
    let (old, new) = (FakeScheduler::start().await, FakeScheduler::start().await);
    register(&*coord, &record(&old, "old")).await;
    let discovery = Discovery::start(Arc::clone(&coord), CLUSTER);
    let worker = run(builder_for(Schedulers::Discovered(discovery)));
    let mut session = old.welcomed().await;
    session.assign(vec![assignment(1, handler("wait", json!(null)))]).await;
    session.heard().await;

    register(&*coord, &record(&new, "new")).await;
    coord.delete(&keys::instance(CLUSTER, "scheduler", "old")).await.unwrap();
    drop((session, old));
    // It claims it in its hello, or reports it later, according to what it learns first.
    let mut session = new.welcomed().await;
    if session.hello.running.is_empty() {
        assert_eq!(session.reported().await, attempt(1, 1));
        session.adopt(&[attempt(1, 1)]).await;
    }
    worker.gate.add_permits(1);
    assert_eq!(session.result().await.attempt, Some(attempt(1, 1)));
}

#[tokio::test]
async fn open_sessions_are_counted() {
    let scheduler = FakeScheduler::start().await;
    let worker = Worker::builder(Schedulers::Fixed(vec![scheduler.url()])).build();
    let open = worker.open_sessions();
    let stop = CancellationToken::new();
    let task = tokio::spawn(worker.run(stop.clone()));
    assert_eq!(*open.borrow(), 0);
    let session = scheduler.opened().await;
    assert_eq!(*open.borrow(), 0, "not before the welcome");
    session.welcome(SessionWelcome::default()).await;
    let count = || async { if *open.borrow() == 1 { Ok(()) } else { Err("not open".to_owned()) } };
    eventually(SOON, count).await;
    stop.cancel();
    timeout(SOON, task).await.unwrap().unwrap();
    assert_eq!(*open.borrow(), 0);
}
