//! A worker of several scheduler replicas, which take tasks over from each other.

use mcp_client::{
    testing::{FakeScheduler, FakeSession, SOON, assignment, attempt, handler},
    worker::Schedulers,
};
use mcp_proto::worker::v1::{AttemptRef, OpenSessionResponse, SessionWelcome, attempt_result::Outcome};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Running, builder_for, run};

/// Two replicas and a worker with a session to each.
async fn two_replicas() -> ([FakeScheduler; 2], [FakeSession; 2], Running) {
    let schedulers = [FakeScheduler::start().await, FakeScheduler::start().await];
    let worker = run(builder_for(Schedulers::Fixed(schedulers.iter().map(FakeScheduler::url).collect())));
    let sessions = [schedulers[0].welcomed().await, schedulers[1].welcomed().await];
    (schedulers, sessions, worker)
}

fn first() -> Vec<AttemptRef> {
    vec![attempt(1, 1)]
}

#[tokio::test]
async fn an_attempt_follows_its_task_to_another_replica() {
    let (_schedulers, [mut old, mut new], worker) = two_replicas().await;
    old.assign(vec![assignment(1, handler("wait", Value::Null))]).await;
    old.heard().await;
    old.disown(&first()).await;
    assert_eq!(new.reported().await, attempt(1, 1));
    new.adopt(&first()).await;
    new.heard().await;
    worker.gate.add_permits(1);
    let result = new.result().await;
    assert_eq!(result.attempt, Some(attempt(1, 1)));
    assert!(matches!(result.outcome, Some(Outcome::Success(_))));
    old.heard().await;
    assert_eq!(old.unread_results(), 0, "the old owner hears nothing of it");
}

#[tokio::test]
async fn a_result_that_comes_too_late_for_the_old_owner_goes_to_the_new_one() {
    let (schedulers, [mut old, mut new], _worker) = two_replicas().await;
    old.assign(vec![assignment(1, handler("echo", json!(7)))]).await;
    old.result().await;
    old.disown(&first()).await;
    // The new owner is not ready at first.
    assert_eq!(new.reported().await, attempt(1, 1));
    new.disown(&first()).await;
    new.heard().await;
    assert_eq!(new.unread_results(), 0, "it does not own the task");
    new.ask_for_report().await;
    assert_eq!(new.reported().await, attempt(1, 1));
    new.adopt(&first()).await;
    assert_eq!(new.result().await.attempt, Some(attempt(1, 1)));
    new.acknowledge(&attempt(1, 1)).await;
    // It is forgotten: a new session claims nothing.
    new.heard().await;
    new.ask_for_report().await;
    new.heard().await;
    drop(old);
    assert_eq!(schedulers[0].opened().await.hello.running, []);
}

#[tokio::test]
async fn what_a_dead_replica_had_is_reported_to_the_others() {
    let (schedulers, [mut old, mut new], worker) = two_replicas().await;
    let long = assignment(2, handler("wait", Value::Null));
    old.assign(vec![assignment(1, handler("echo", json!(1))), long]).await;
    old.result().await;
    let [scheduler, _other] = schedulers;
    scheduler.stop().await;
    drop(old);
    assert_eq!([new.reported().await, new.reported().await], [attempt(1, 1), attempt(2, 1)]);
    new.adopt(&[attempt(1, 1), attempt(2, 1)]).await;
    assert_eq!(new.result().await.attempt, Some(attempt(1, 1)));
    worker.gate.add_permits(1);
    assert_eq!(new.result().await.attempt, Some(attempt(2, 1)));
}

#[tokio::test]
async fn a_replica_that_has_taken_over_gets_attempts_of_one_that_is_silent() {
    let (_schedulers, [mut frozen, mut new], worker) = two_replicas().await;
    frozen.assign(vec![assignment(1, handler("wait", Value::Null))]).await;
    frozen.heard().await;
    // Its session is open, but it says nothing.
    new.ask_for_report().await;
    assert_eq!(new.reported().await, attempt(1, 1));
    new.adopt(&first()).await;
    new.heard().await;
    // What it says when it is back does not count.
    frozen.cancel(&attempt(1, 1)).await;
    frozen.revoke(&first()).await;
    frozen.heard().await;
    worker.gate.add_permits(1);
    assert!(matches!(new.result().await.outcome, Some(Outcome::Success(_))));
}

#[tokio::test]
async fn only_the_owner_revokes() {
    let (schedulers, [mut one, mut two], worker) = two_replicas().await;
    one.assign(vec![assignment(1, handler("wait", Value::Null))]).await;
    one.heard().await;
    two.revoke(&first()).await;
    two.heard().await;
    drop(two);
    // The other one hears of it in the hello, and says that it is not its own.
    let two = schedulers[1].opened().await;
    assert_eq!(two.hello.running, first());
    let welcome = Some(SessionWelcome::default());
    two.say(OpenSessionResponse { welcome, not_mine: first(), ..OpenSessionResponse::default() }).await;
    worker.gate.add_permits(1);
    assert_eq!(one.result().await.attempt, Some(attempt(1, 1)));
}

#[tokio::test]
async fn a_homeless_attempt_that_its_owner_revokes_is_stopped() {
    let (_schedulers, [mut old, mut new], _worker) = two_replicas().await;
    old.assign(vec![assignment(1, handler("wait", Value::Null))]).await;
    old.heard().await;
    old.disown(&first()).await;
    new.reported().await;
    new.revoke(&first()).await;
    // Its slot is free again: all four are credits.
    while old.credits() + new.credits() < 4 {
        old.heard().await;
        new.heard().await;
    }
    assert_eq!((old.unread_results(), new.unread_results()), (0, 0));
}

#[tokio::test]
async fn lines_wait_for_the_new_owner() {
    let (_schedulers, [mut old, mut new], worker) = two_replicas().await;
    old.assign(vec![assignment(1, handler("talk", Value::Null))]).await;
    assert_eq!(old.texts(1).await, ["begin"]);
    old.disown(&first()).await;
    assert_eq!(new.reported().await, attempt(1, 1));
    worker.gate.add_permits(1);
    new.heard().await;
    new.adopt(&first()).await;
    assert_eq!(new.texts(1).await, ["end"]);
    assert_eq!(new.result().await.attempt, Some(attempt(1, 1)));
}

#[tokio::test]
async fn a_busy_replica_gets_the_credits_that_the_other_does_not_use() {
    let (_schedulers, [mut busy, mut quiet], _worker) = two_replicas().await;
    while busy.credits() + quiet.credits() < 4 {
        busy.heard().await;
        quiet.heard().await;
    }
    let all: Vec<_> = (1..=3).map(|task| assignment(task, handler("wait", Value::Null))).collect();
    for assignment in all {
        while busy.credits() == 0 {
            quiet.heard().await;
            busy.heard().await;
        }
        busy.assign(vec![assignment]).await;
    }
    quiet.heard().await;
    assert_eq!(quiet.credits(), 1, "so that it can start something at once");
}

#[tokio::test]
async fn a_hand_back_goes_to_the_new_owner() {
    let (_schedulers, [mut old, mut new], mut worker) = two_replicas().await;
    old.assign(vec![assignment(1, handler("wait", Value::Null))]).await;
    old.heard().await;
    worker.stop.cancel();
    let message = loop {
        let message = old.next().await.expect("the session goes on");
        if !message.handed_back.is_empty() {
            break message;
        }
    };
    assert_eq!(message.handed_back, first());
    old.disown(&first()).await;
    assert_eq!(new.reported().await, attempt(1, 1));
    new.adopt(&first()).await;
    assert_eq!(new.handed_back().await, attempt(1, 1));
    old.ended().await;
    new.ended().await;
    drop((old, new));
    timeout(SOON, &mut worker.task).await.expect("it ends soon").expect("it does not panic");
}
