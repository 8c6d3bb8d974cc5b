//! What happens when a fire comes while an earlier run is not over.

use mcp_proto::{
    Code,
    scheduler::v1::{FireOutcome, OverlapPolicy, Schedule, TaskState},
    worker::v1::AttemptRef,
};

use super::{Book, idle};
use crate::support::{LIMIT, Scheduler, Worker, failure, success};

async fn start(overlap: OverlapPolicy) -> (Scheduler, Book, Worker) {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    book.put(Schedule { overlap: overlap.into(), ..idle() }).await;
    let worker = Worker::join(&scheduler, 4).await;
    (scheduler, book, worker)
}

async fn attempt(worker: &mut Worker) -> AttemptRef {
    worker.assigned().await.attempt.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fire_is_skipped_while_an_earlier_run_is_not_over() {
    let (_scheduler, book, mut worker) = start(OverlapPolicy::Skip).await;
    let first = book.trigger().await;
    let running = attempt(&mut worker).await;
    let second = book.trigger().await;
    assert_eq!((second.outcome(), second.task_id.as_str()), (FireOutcome::Skipped, ""));
    assert!(second.reason.contains(&first.task_id), "{second:?}");
    worker.finish(running, success(None)).await;
    assert_eq!(book.trigger().await.outcome(), FireOutcome::Ran);
    let outcomes: Vec<_> = book.fires().await.iter().map(|fire| fire.outcome()).collect();
    assert_eq!(outcomes, [FireOutcome::Ran, FireOutcome::Skipped, FireOutcome::Ran]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fire_waits_for_the_end_of_the_earlier_run() {
    let (_scheduler, book, mut worker) = start(OverlapPolicy::BufferOne).await;
    book.trigger().await;
    let running = attempt(&mut worker).await;
    let waits = book.trigger().await;
    assert_eq!((waits.outcome(), waits.task_id.as_str()), (FireOutcome::Waiting, ""));
    assert_eq!(book.trigger().await.outcome(), FireOutcome::Skipped);
    // A failed run is over, too.
    let failed = failure(Code::InvalidArgument, "no");
    worker.finish(running, failed).await;
    let next = attempt(&mut worker).await;
    let fires = book.fires_reach(3).await;
    assert_eq!((fires[1].outcome(), &fires[1].task_id), (FireOutcome::Ran, &next.task_id));
    assert_eq!(fires[1].fire_time, waits.fire_time);
    assert_eq!(fires[2].outcome(), FireOutcome::Skipped);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_earlier_run_is_cancelled_for_the_next() {
    let (scheduler, book, mut worker) = start(OverlapPolicy::CancelOther).await;
    let first = book.trigger().await;
    let running = attempt(&mut worker).await;
    let second = book.trigger().await;
    assert_eq!(second.outcome(), FireOutcome::Waiting, "it starts when the first one is stopped");
    let (cancelled, reason) = worker.cancelled().await;
    assert_eq!(cancelled, running);
    assert!(reason.contains("fire time"), "{reason}");
    worker.finish(running, failure(Code::TaskCancelled, "stopped")).await;
    let next = attempt(&mut worker).await;
    assert_eq!(scheduler.wait(&first.task_id).await.state(), TaskState::Cancelled);
    let fires = book.fires_reach(2).await;
    assert_eq!((fires[1].outcome(), &fires[1].task_id), (FireOutcome::Ran, &next.task_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_may_be_side_by_side() {
    let (_scheduler, book, mut worker) = start(OverlapPolicy::AllowAll).await;
    let (first, second) = (book.trigger().await, book.trigger().await);
    let attempts = [attempt(&mut worker).await, attempt(&mut worker).await];
    assert_eq!(attempts.clone().map(|attempt| attempt.task_id), [first.task_id.clone(), second.task_id.clone()]);
    assert_eq!(book.get().await.running, [first.task_id, second.task_id]);
    for attempt in attempts {
        worker.finish(attempt, success(None)).await;
    }
    testkit::eventually(LIMIT, || async {
        let running = book.get().await.running;
        if running.is_empty() { Ok(()) } else { Err(format!("{running:?}")) }
    })
    .await;
}
