//! What cannot be put, and what is refused when it fires.

use mcp_proto::{
    Code, Error,
    scheduler::v1::{FireOutcome, Schedule, TaskSpec},
};
use scheduler::config::Settings;

use super::{Book, HOURLY, idle, now_ms, task, time};
use crate::support::{Scheduler, code, handler, millis};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_by_its_field() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    let cases = [
        (Schedule { name: String::new(), ..idle() }, "schedule.name"),
        (Schedule { namespace: "Upper".to_owned(), ..idle() }, "schedule.namespace"),
        (Schedule { cron: vec![HOURLY.to_owned(), "61 * * * *".to_owned()], ..idle() }, "schedule.cron[1]"),
        (Schedule { cron: Vec::new(), ..idle() }, "schedule.cron"),
        (Schedule { every: millis(5_000), ..idle() }, "schedule.every"),
        (Schedule { cron: Vec::new(), every: millis(999), ..idle() }, "schedule.every"),
        (Schedule { time_zone: "Mars/Olympus".to_owned(), ..idle() }, "schedule.time_zone"),
        (Schedule { overlap: 99, ..idle() }, "schedule.overlap"),
        (Schedule { jitter: millis(3_600_001), ..idle() }, "schedule.jitter"),
        (Schedule { catch_up: millis(367 * 24 * 3_600_000), ..idle() }, "schedule.catch_up"),
        (Schedule { start_time: Some(time(2_000)), end_time: Some(time(1_000)), ..idle() }, "schedule.end_time"),
        (Schedule { target: None, ..idle() }, "schedule.target"),
        (Schedule { target: task(TaskSpec::default()), ..idle() }, "schedule.task.work"),
        (Schedule { target: task(TaskSpec { delay: millis(1), ..handler("h") }), ..idle() }, "schedule.task.delay"),
        (
            Schedule { target: task(TaskSpec { namespace: "other".to_owned(), ..handler("h") }), ..idle() },
            "schedule.task.namespace",
        ),
        (
            Schedule { target: task(TaskSpec { unique_key: "u".to_owned(), ..handler("h") }), ..idle() },
            "schedule.task.unique_key",
        ),
    ];
    for (schedule, field) in cases {
        let error = Error::from(book.try_put(schedule).await.unwrap_err());
        let fields: Vec<_> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!((error.code(), fields), (Code::InvalidArgument, vec![field]), "{error}");
    }
    let large = TaskSpec { labels: [("k".to_owned(), "v".to_owned())].into(), ..handler("h") };
    let input = Some(crate::support::text(&"x".repeat(300_000)));
    let work = mcp_proto::scheduler::v1::HandlerWork { handler: "h".to_owned(), input };
    let large = TaskSpec { work: Some(mcp_proto::scheduler::v1::task_spec::Work::Handler(work)), ..large };
    assert_eq!(code(book.try_put(Schedule { target: task(large), ..idle() }).await), Code::PayloadTooLarge);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_must_be_of_the_past_and_not_too_long() {
    let scheduler = Scheduler::start().await;
    let book = Book::of(&scheduler);
    assert_eq!(code(book.backfill(1, 2).await), Code::ScheduleNotFound);
    book.put(Schedule { cron: vec!["* * * * * *".to_owned()], start_time: Some(time(1_000)), ..idle() }).await;
    book.pause().await;
    let now = now_ms();
    for (start, end) in [(now - 1_000, now + 60_000), (now - 1_000, now - 1_000), (now - 20_000_000, now - 1_000)] {
        assert_eq!(code(book.backfill(start, end).await), Code::InvalidArgument, "{start} {end}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fire_whose_queue_is_full_is_skipped_with_the_reason() {
    let scheduler = Scheduler::with(Settings { queue_len_max: 1, ..Settings::default() }).await;
    let book = Book::of(&scheduler);
    book.put(idle()).await;
    assert_eq!(book.trigger().await.outcome(), FireOutcome::Ran);
    let full = book.trigger().await;
    assert_eq!(full.outcome(), FireOutcome::Skipped);
    assert!(full.reason.contains("queue was full"), "{full:?}");
}
