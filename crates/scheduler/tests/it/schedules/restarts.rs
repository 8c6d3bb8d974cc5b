//! Over restarts no fire time is forgotten and none runs twice.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use mcp_proto::scheduler::v1::{FireKind, FireOutcome, OverlapPolicy, Schedule, TaskSpec, TaskState};
use scheduler::config::Settings;

use super::{Book, all_tasks, every_second, idle, now_ms, task};
use crate::support::{LIMIT, Scheduler, Worker, handler, millis, unix_ms};

fn quick() -> Settings {
    Settings { worker_lease: Duration::from_secs(1), ping_interval: Duration::from_millis(100), ..Settings::default() }
}

/// Every fire time from the first to the last has one outcome, and every task one fire time.
async fn check(scheduler: &Scheduler, book: &Book) {
    let (fires, tasks) = (book.fires().await, all_tasks(scheduler).await);
    let mut decided: BTreeMap<i64, u32> = BTreeMap::new();
    for fire in fires.iter().filter(|fire| fire.kind() != FireKind::Trigger) {
        let (first, last) = (unix_ms(fire.fire_time), unix_ms(fire.last_fire_time));
        (first..=last).step_by(1_000).for_each(|time| *decided.entry(time).or_default() += 1);
    }
    let (first, last) = (*decided.keys().next().unwrap(), *decided.keys().last().unwrap());
    for time in (first..=last).step_by(1_000) {
        assert_eq!(decided.get(&time), Some(&1), "fire time {time}: {fires:#?}");
    }
    let ran: HashSet<_> =
        fires.iter().filter(|fire| fire.outcome() == FireOutcome::Ran).map(|fire| fire.task_id.as_str()).collect();
    let there: HashSet<_> = tasks.iter().map(|task| task.id.as_str()).collect();
    assert_eq!(ran, there);
    let mut by_time: HashMap<i64, usize> = HashMap::new();
    tasks.iter().for_each(|task| *by_time.entry(unix_ms(task.fire_time)).or_default() += 1);
    assert!(by_time.values().all(|count| *count == 1), "{by_time:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fire_time_is_decided_once_over_restarts() {
    let mut scheduler = Scheduler::with(quick()).await;
    Book::of(&scheduler).put(every_second()).await;
    for round in 1..=3 {
        Book::of(&scheduler).fires_reach(2 * round).await;
        scheduler.restart().await;
    }
    let book = Book::of(&scheduler);
    book.fires_reach(8).await;
    book.pause().await;
    check(&scheduler, &book).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_not_over_still_counts_after_a_restart() {
    let mut scheduler = Scheduler::with(quick()).await;
    let book = Book::of(&scheduler);
    book.put(Schedule { overlap: OverlapPolicy::BufferOne.into(), ..idle() }).await;
    let first = book.trigger().await;
    let waiting = book.trigger().await;
    scheduler.restart().await;
    let book = Book::of(&scheduler);
    assert_eq!(book.get().await.running, std::slice::from_ref(&first.task_id));
    let mut worker = Worker::join(&scheduler, 1).await;
    assert_eq!(worker.work().await, first.task_id);
    let second = worker.work().await;
    let fires = book.fires_reach(2).await;
    assert_eq!((&fires[1].task_id, fires[1].fire_time), (&second, waiting.fire_time));
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_all_partitions_get_their_tasks_and_their_ends_are_heard() {
    let mut scheduler = Scheduler::with(quick()).await;
    // The queues lie in many partitions, the schedule in one.
    for n in 0..8 {
        let book = Book::of(&scheduler);
        let spec = TaskSpec { queue: format!("q{n}"), ..handler("h") };
        book.put(Schedule { target: task(spec), overlap: OverlapPolicy::Skip.into(), ..idle() }).await;
        let fire = book.trigger().await;
        assert_eq!(fire.outcome(), FireOutcome::Ran, "the earlier run is over: {fire:?}");
        if n == 4 {
            scheduler.restart().await;
        }
        let mut worker = Worker::join(&scheduler, 1).await;
        assert_eq!(worker.work().await, fire.task_id);
        assert_eq!(scheduler.reaches(&fire.task_id, TaskState::Succeeded).await.schedule, "s");
        assert_eq!(Book::of(&scheduler).get().await.running, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_meanwhile_is_caught_up_with_or_missed() {
    let mut scheduler = Scheduler::with(quick()).await;
    let book = Book::of(&scheduler);
    book.put(Schedule { cron: Vec::new(), every: millis(1_000), ..every_second() }).await;
    let before = book.fires_reach(1).await.len();
    scheduler.stop().await;
    let until = now_ms() + 2_500;
    testkit::eventually(LIMIT, || async { if now_ms() > until { Ok(()) } else { Err("the outage lasts".to_owned()) } })
        .await;
    scheduler.start_again().await;
    let book = Book::of(&scheduler);
    let fires = book.fires_reach(before + 4).await;
    assert!(fires.iter().all(|fire| fire.outcome() == FireOutcome::Ran), "within the catch-up window: {fires:?}");
    book.pause().await;
    check(&scheduler, &book).await;
}
