//! The orderly end of a worker.

use std::time::Duration;

use mcp_client::testing::{FakeScheduler, SOON, assignment, attempt, handler};
use mcp_proto::worker::v1::attempt_result::Outcome;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::support::{Running, builder, run};

async fn ended(worker: &mut Running) {
    timeout(SOON, &mut worker.task).await.expect("it ends soon").expect("it does not panic");
}

#[tokio::test]
async fn what_still_runs_after_the_grace_is_handed_back() {
    let scheduler = FakeScheduler::start().await;
    let mut worker = run(builder(&scheduler));
    let mut session = scheduler.welcomed().await;
    session.assign(vec![assignment(1, handler("wait", Value::Null)), assignment(2, handler("echo", json!(2)))]).await;
    let result = session.result().await;
    worker.stop.cancel();
    assert_eq!(session.handed_back().await, attempt(1, 1));
    session.acknowledge(&result.attempt.unwrap()).await;
    session.ended().await;
    assert_eq!(session.unread_results(), 0, "no result of the attempt that was handed back");
    drop(session);
    ended(&mut worker).await;
}

#[tokio::test]
async fn what_ends_within_the_grace_is_reported() {
    let scheduler = FakeScheduler::start().await;
    let mut worker = run(builder(&scheduler).drain_grace(SOON));
    let mut session = scheduler.welcomed().await;
    session.assign(vec![assignment(1, handler("wait", Value::Null))]).await;
    session.heard().await;
    worker.stop.cancel();
    // It takes nothing new, and says so at once; what came before the stop is still done.
    let mut task = 1;
    let back = loop {
        task += 1;
        session.assign(vec![assignment(task, handler("echo", Value::Null))]).await;
        let message = session.next().await.unwrap();
        if let Some(back) = message.handed_back.first() {
            session.acknowledge(back).await;
            break back.clone();
        }
        for result in message.results {
            session.acknowledge(&result.attempt.unwrap()).await;
        }
    };
    assert_eq!(back, attempt(task, 1));
    let credits = session.credits();
    worker.gate.add_permits(1);
    let result = loop {
        let result = session.result().await;
        session.acknowledge(&result.attempt.clone().unwrap()).await;
        if result.attempt == Some(attempt(1, 1)) {
            break result;
        }
    };
    assert!(matches!(result.outcome, Some(Outcome::Success(_))));
    session.ended().await;
    assert_eq!(session.credits(), credits, "no credits after the stop");
    drop(session);
    ended(&mut worker).await;
}

#[tokio::test]
async fn an_idle_worker_ends_at_once() {
    let scheduler = FakeScheduler::start().await;
    let mut worker = run(builder(&scheduler).drain_grace(Duration::from_secs(3_600)));
    let mut session = scheduler.welcomed().await;
    worker.stop.cancel();
    session.ended().await;
    drop(session);
    ended(&mut worker).await;
}

#[tokio::test]
async fn a_worker_ends_though_no_scheduler_is_there() {
    let scheduler = FakeScheduler::start().await;
    let mut worker = run(builder(&scheduler));
    let mut session = scheduler.welcomed().await;
    session.assign(vec![assignment(1, handler("echo", Value::Null))]).await;
    session.result().await;
    scheduler.stop().await;
    drop(session);
    let start = Instant::now();
    worker.stop.cancel();
    ended(&mut worker).await;
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}
