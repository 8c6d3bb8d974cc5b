//! What fires, what is skipped, and what the ledger says of it.

use std::collections::HashSet;

use mcp_proto::{
    Code,
    scheduler::v1::{
        FireKind, FireOutcome, ListFiresRequest, ListSchedulesRequest, OverlapPolicy, Schedule, TaskState,
    },
};

use super::{Book, HOURLY, all_tasks, every_second, idle, now_ms, task, time};
use crate::support::{LIMIT, Scheduler, Worker, code, handler, unix_ms};

const HOUR: u64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_fire_time_becomes_one_task_that_names_its_schedule() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    let put = book.put(every_second()).await;
    assert_eq!((put.namespace.as_str(), put.time_zone.as_str()), ("default", "UTC"));
    assert!(put.next_time.is_some() && put.create_time.is_some() && put.pause_time.is_none());
    let mut worker = Worker::join(&scheduler, 4).await;
    let first = worker.work().await;
    let second = worker.work().await;
    let fires = book.fires_reach(2).await;
    assert_eq!([&fires[0].task_id, &fires[1].task_id], [&first, &second]);
    assert_eq!(unix_ms(fires[1].fire_time) - unix_ms(fires[0].fire_time), 1_000);
    for fire in &fires {
        assert_eq!((fire.kind(), fire.outcome(), fire.count), (FireKind::Regular, FireOutcome::Ran, 1));
        assert!(unix_ms(fire.decide_time) >= unix_ms(fire.fire_time));
    }
    let task = scheduler.get(&first).await;
    assert_eq!((task.schedule.as_str(), task.fire_time), ("s", fires[0].fire_time));
    assert_eq!(task.spec.unwrap().namespace, "default");
    book.delete().await.unwrap();
    assert_eq!(code(book.try_get().await), Code::ScheduleNotFound);
    assert_eq!(code(book.delete().await), Code::ScheduleNotFound);
    // Its ledger stays.
    let after = book.fires().await;
    let ran: HashSet<_> = after.iter().filter(|fire| fire.outcome() == FireOutcome::Ran).map(|f| &f.task_id).collect();
    assert_eq!(ran.len(), all_tasks(&scheduler).await.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_starts_at_once_and_says_what_it_started() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    book.put(idle()).await;
    let (first, second) = (book.trigger().await, book.trigger().await);
    assert_eq!((first.kind(), first.outcome()), (FireKind::Trigger, FireOutcome::Ran));
    assert_ne!(first.task_id, second.task_id);
    assert_ne!(first.fire_time, second.fire_time);
    let mut worker = Worker::join(&scheduler, 2).await;
    assert_eq!([worker.work().await, worker.work().await], [first.task_id.clone(), second.task_id.clone()]);
    assert_eq!(book.fires().await, [first.clone(), second.clone()]);
    assert_eq!(book.get().await.running, [""; 0]);
    // From the second one on.
    let request = ListFiresRequest { name: "s".to_owned(), since: second.fire_time, ..ListFiresRequest::default() };
    assert_eq!(book.client().list_fires(request).await.unwrap().into_inner().fires, [second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_one_entry_and_what_is_asked_for_starts_all_the_same() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    book.put(every_second()).await;
    let paused = book.pause().await;
    assert!(paused.pause_time.is_some() && paused.next_time.is_none());
    let before = book.fires().await.len();
    assert_eq!(book.trigger().await.outcome(), FireOutcome::Ran);
    let pause_ms = unix_ms(paused.pause_time);
    testkit::eventually(LIMIT, || async {
        if now_ms() > u64::try_from(pause_ms).unwrap() + 2_100 { Ok(()) } else { Err("the clock".to_owned()) }
    })
    .await;
    assert_eq!(book.fires().await.len(), before + 1, "nothing but the trigger");
    let resumed = book.resume().await;
    assert!(resumed.pause_time.is_none() && resumed.next_time.is_some());
    let fires = book.fires().await;
    let skipped: Vec<_> = fires.iter().filter(|fire| fire.outcome() == FireOutcome::Skipped).collect();
    assert_eq!(skipped.len(), 1, "{fires:?}");
    assert!(skipped[0].count >= 2 && skipped[0].reason.contains("paused"), "{skipped:?}");
    let span = unix_ms(skipped[0].last_fire_time) - unix_ms(skipped[0].fire_time);
    assert_eq!(u64::try_from(span).unwrap(), (skipped[0].count - 1) * 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_starts_what_did_not_run_and_nothing_twice() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    book.put(Schedule { cron: vec![HOURLY.to_owned()], ..idle() }).await;
    // Ends well before now, so that no regular fire time comes into it.
    let end = now_ms() / HOUR * HOUR - 10 * HOUR;
    let first = book.backfill(end - 5 * HOUR, end).await.unwrap();
    assert_eq!((first.accepted, first.ran_before), (5, 0));
    let fires = book.fires_reach(5).await;
    assert!(fires.iter().all(|fire| fire.kind() == FireKind::Backfill && fire.outcome() == FireOutcome::Ran));
    let times: Vec<_> = fires.iter().map(|fire| fire.fire_time.unwrap()).collect();
    assert_eq!(times, (0..5).map(|n| time(end - (5 - n) * HOUR)).collect::<Vec<_>>());
    let again = book.backfill(end - 7 * HOUR, end).await.unwrap();
    assert_eq!((again.accepted, again.ran_before), (2, 5));
    let fires = book.fires_reach(7).await;
    let tasks: HashSet<_> = fires.iter().map(|fire| fire.task_id.clone()).collect();
    assert_eq!((tasks.len(), all_tasks(&scheduler).await.len()), (7, 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_rules_hold_from_now_on_and_the_ledger_goes_on() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    let created = book.put(idle()).await.create_time;
    let first = book.trigger().await;
    let put = book.put(Schedule { target: task(handler("other")), ..every_second() }).await;
    assert_eq!((put.create_time, put.running), (created, vec![first.task_id.clone()]));
    let fires = book.fires_reach(2).await;
    assert_eq!(fires[0], first);
    scheduler.reaches(&fires[1].task_id, TaskState::Pending).await;
    assert_eq!(scheduler.get(&fires[1].task_id).await.spec.unwrap().name, "other");
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_listed_by_name_over_all_partitions() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    let mut expected = Vec::new();
    for (namespace, name) in
        [("b", "one"), ("a", "z"), ("a", "m"), ("a-b", "a"), ("b", "a1"), ("a", "m.1"), ("b", "a2")]
    {
        book.put(Schedule { namespace: namespace.to_owned(), name: name.to_owned(), ..idle() }).await;
        expected.push((namespace.to_owned(), name.to_owned()));
    }
    expected.sort();
    for (namespace, expected) in [
        ("", expected.clone()),
        ("a", expected.iter().filter(|(namespace, _)| namespace == "a").cloned().collect()),
        ("none", Vec::new()),
    ] {
        let namespace = namespace.to_owned();
        let mut request = ListSchedulesRequest { namespace, page_size: 2, ..ListSchedulesRequest::default() };
        let mut listed = Vec::new();
        loop {
            let page = book.client().list_schedules(request.clone()).await.unwrap().into_inner();
            assert!(page.schedules.len() <= 2);
            listed.extend(page.schedules.into_iter().map(|schedule| (schedule.namespace, schedule.name)));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(listed, expected);
    }
    let page = ListSchedulesRequest { page_token: "00".to_owned(), ..ListSchedulesRequest::default() };
    assert_eq!(code(book.client().list_schedules(page).await), Code::InvalidPageToken);
}

#[tokio::test(flavor = "multi_thread")]
async fn fires_are_counted_by_their_outcome() {
    let value = |outcome: &str| {
        let (text, label) = (mcp_chassis::metrics::text(), format!("outcome=\"{outcome}\""));
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("mcp_scheduler_schedule_fires_total{") && line.contains(&label));
        lines.next().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    let before = [value("ran"), value("skipped")];
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    book.put(Schedule { overlap: OverlapPolicy::Skip.into(), ..idle() }).await;
    let outcomes = [book.trigger().await.outcome(), book.trigger().await.outcome()];
    assert_eq!(outcomes, [FireOutcome::Ran, FireOutcome::Skipped], "nobody runs the first one");
    testkit::eventually(LIMIT, || async {
        let more = [value("ran") - before[0], value("skipped") - before[1]];
        if more.iter().all(|more| *more >= 1.0) { Ok(()) } else { Err(format!("{more:?}")) }
    })
    .await;
    assert!(mcp_chassis::metrics::text().contains("mcp_scheduler_schedules"));
}
