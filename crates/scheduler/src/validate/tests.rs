use std::{collections::BTreeMap, time::Duration};

use mcp_engine::WorkKind;
use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        HandlerWork, ListTasksRequest, ProcessWork, RetryPolicy, TaskSpec, TaskState, WaitTaskRequest,
        WatchTasksRequest, task_spec::Work,
    },
};

use crate::config::Settings;

use super::{Intake, intake::TASKS_PER_BATCH_MAX, list, wait_timeout, watch};

fn process(argv: &[&str]) -> TaskSpec {
    let argv = argv.iter().map(|&argument| argument.to_owned()).collect();
    TaskSpec { work: Some(Work::Process(ProcessWork { argv, ..ProcessWork::default() })), ..TaskSpec::default() }
}

fn handler(name: &str) -> TaskSpec {
    let work = HandlerWork { handler: name.to_owned(), input: None };
    TaskSpec { work: Some(Work::Handler(work)), ..TaskSpec::default() }
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn refusal(spec: TaskSpec) -> Error {
    Intake::new(&Settings::default(), 1_000, "").single(Some(spec)).unwrap_err()
}

fn fields(error: &Error) -> Vec<&str> {
    error.violations().iter().map(|violation| violation.field.as_str()).collect()
}

#[test]
fn defaults_are_filled_in() {
    let task = Intake::new(&Settings::default(), 1_000, "").single(Some(process(&["/usr/bin/wc", "-l"]))).unwrap();
    let spec = task.fixed.decode_spec().unwrap();
    assert_eq!((spec.namespace.as_str(), spec.queue.as_str(), spec.name.as_str()), ("default", "default", "wc"));
    let retry = spec.retry.unwrap();
    assert_eq!((retry.max_attempts, retry.initial_backoff, retry.max_backoff), (3, seconds(1), seconds(60)));
    assert_eq!((retry.multiplier, retry.jitter), (2.0, Some(0.2)));
    assert_eq!((spec.run_timeout, spec.queue_timeout, spec.delay), (seconds(3600), None, None));
    let submission = task.submission;
    assert_eq!((submission.not_before, submission.run_timeout), (0, 3_600_000));
    assert_eq!((submission.kind, submission.idempotency), (WorkKind::Process, None));
}

#[test]
fn a_short_max_backoff_shortens_the_default_of_the_first() {
    let retry = RetryPolicy { max_backoff: seconds(0), ..RetryPolicy::default() };
    let task =
        Intake::new(&Settings::default(), 0, "").single(Some(TaskSpec { retry: Some(retry), ..handler("h") })).unwrap();
    assert_eq!((task.submission.retry.initial_backoff, task.submission.retry.max_backoff), (0, 0));
}

#[test]
fn a_delay_counts_from_the_call() {
    let task = Intake::new(&Settings::default(), 1_000, "")
        .single(Some(TaskSpec { delay: seconds(5), ..handler("h") }))
        .unwrap();
    assert_eq!((task.submission.not_before, task.fixed.not_before()), (6_000, 6_000));
}

#[test]
fn the_same_spec_has_the_same_hash_and_another_one_not() {
    let hash = |spec: TaskSpec| {
        let spec = TaskSpec { idempotency_key: "k".to_owned(), ..spec };
        Intake::new(&Settings::default(), 0, "").single(Some(spec)).unwrap().submission.idempotency.unwrap().body_hash
    };
    assert_eq!(hash(handler("a")), hash(handler("a")));
    assert_eq!(hash(handler("a")), hash(TaskSpec { queue: "default".to_owned(), ..handler("a") }));
    assert_ne!(hash(handler("a")), hash(handler("b")));
    let large = |byte: u8| {
        let stdin = vec![byte; 5_000].into();
        let work = ProcessWork { argv: vec!["cat".to_owned()], stdin, ..ProcessWork::default() };
        TaskSpec { work: Some(Work::Process(work)), ..TaskSpec::default() }
    };
    assert_ne!(hash(large(1)), hash(large(2)), "the part that is stored apart counts");
}

#[test]
fn every_bound_of_a_spec_is_held() {
    let retry = |retry: RetryPolicy| TaskSpec { retry: Some(retry), ..handler("h") };
    let env = |key: &str, value: &str| {
        let env = BTreeMap::from([(key.to_owned(), value.to_owned())]);
        let work = ProcessWork { argv: vec!["x".to_owned()], env, ..ProcessWork::default() };
        TaskSpec { work: Some(Work::Process(work)), ..TaskSpec::default() }
    };
    let labels = |entries: usize, key: usize, value: usize| {
        let labels = (0..entries).map(|n| (format!("{n:0>key$}"), "v".repeat(value))).collect();
        TaskSpec { labels, ..handler("h") }
    };
    let base = || handler("h");
    let cases = [
        (TaskSpec { namespace: "Upper".to_owned(), ..base() }, "task.namespace"),
        (TaskSpec { namespace: "n".repeat(64), ..base() }, "task.namespace"),
        (TaskSpec { queue: "a b".to_owned(), ..base() }, "task.queue"),
        (TaskSpec { name: "n".repeat(201), ..base() }, "task.name"),
        (TaskSpec { priority: 101, ..base() }, "task.priority"),
        (TaskSpec { priority: -101, ..base() }, "task.priority"),
        (TaskSpec { idempotency_key: "k".repeat(201), ..base() }, "task.idempotency_key"),
        (TaskSpec { run_timeout: seconds(-1), ..base() }, "task.run_timeout"),
        (TaskSpec { run_timeout: seconds(0), ..base() }, "task.run_timeout"),
        (TaskSpec { run_timeout: seconds(7 * 86_400 + 1), ..base() }, "task.run_timeout"),
        (TaskSpec { queue_timeout: seconds(-5), ..base() }, "task.queue_timeout"),
        (TaskSpec { queue_timeout: seconds(0), ..base() }, "task.queue_timeout"),
        (TaskSpec { delay: seconds(-1), ..base() }, "task.delay"),
        (TaskSpec { delay: seconds(366 * 86_400 + 1), ..base() }, "task.delay"),
        (TaskSpec { work: None, ..base() }, "task.work"),
        (handler(""), "task.handler.handler"),
        (handler(&"h".repeat(201)), "task.handler.handler"),
        (process(&[]), "task.process.argv"),
        (process(&[""]), "task.process.argv[0]"),
        (process(&["a", "b\0"]), "task.process.argv[1]"),
        (process(&["x"; 1_025]), "task.process.argv"),
        (env("", "v"), "task.process.env"),
        (env("A=B", "v"), "task.process.env"),
        (env("A", "v\0"), "task.process.env"),
        (labels(33, 1, 1), "task.labels"),
        (labels(1, 64, 1), "task.labels"),
        (labels(1, 1, 256), "task.labels"),
        (retry(RetryPolicy { max_attempts: 1_001, ..RetryPolicy::default() }), "task.retry.max_attempts"),
        (retry(RetryPolicy { max_backoff: seconds(86_401), ..RetryPolicy::default() }), "task.retry.max_backoff"),
        (retry(RetryPolicy { initial_backoff: seconds(61), ..RetryPolicy::default() }), "task.retry.initial_backoff"),
        (retry(RetryPolicy { initial_backoff: seconds(-1), ..RetryPolicy::default() }), "task.retry.initial_backoff"),
        (retry(RetryPolicy { multiplier: 0.5, ..RetryPolicy::default() }), "task.retry.multiplier"),
        (retry(RetryPolicy { multiplier: f64::NAN, ..RetryPolicy::default() }), "task.retry.multiplier"),
        (retry(RetryPolicy { jitter: Some(1.5), ..RetryPolicy::default() }), "task.retry.jitter"),
    ];
    for (spec, field) in cases {
        let error = refusal(spec);
        assert_eq!((error.code(), fields(&error)), (Code::InvalidArgument, vec![field]));
    }
    assert_eq!(fields(&Intake::new(&Settings::default(), 0, "").single(None).unwrap_err()), ["task"]);
}

#[test]
fn a_batch_names_each_wrong_task() {
    let tasks = vec![handler("a"), process(&[]), handler("b"), TaskSpec { priority: 999, ..handler("c") }];
    let error = Intake::new(&Settings::default(), 0, "").batch(tasks).unwrap_err();
    assert_eq!(fields(&error), ["tasks[1].process.argv", "tasks[3].priority"]);
    let many = Intake::new(&Settings::default(), 0, "").batch(vec![process(&[]); 1_000]).unwrap_err();
    assert_eq!(many.violations().len(), 20, "the number of violations is bounded");
    for len in [0, TASKS_PER_BATCH_MAX + 1] {
        assert_eq!(
            fields(&Intake::new(&Settings::default(), 0, "").batch(vec![handler("h"); len]).unwrap_err()),
            ["tasks"]
        );
    }
    assert_eq!(
        Intake::new(&Settings::default(), 0, "").batch(vec![handler("h"); TASKS_PER_BATCH_MAX]).unwrap().len(),
        TASKS_PER_BATCH_MAX
    );
}

#[test]
fn what_is_larger_than_a_message_is_refused() {
    let large = |len: usize| {
        let work = ProcessWork { argv: vec!["cat".to_owned()], stdin: vec![0; len].into(), ..ProcessWork::default() };
        TaskSpec { work: Some(Work::Process(work)), ..TaskSpec::default() }
    };
    assert_eq!(refusal(large(17 << 20)).code(), Code::PayloadTooLarge);
    let batch = vec![large(9 << 20), large(9 << 20)];
    assert_eq!(Intake::new(&Settings::default(), 0, "").batch(batch).unwrap_err().code(), Code::PayloadTooLarge);
    Intake::new(&Settings::default(), 0, "").single(Some(large(15 << 20))).unwrap();
}

#[test]
fn list_requests_are_checked() {
    let request = |states: &[i32], page_size| ListTasksRequest {
        states: states.to_vec(),
        page_size,
        ..ListTasksRequest::default()
    };
    assert_eq!(list(&request(&[], 0)).unwrap().limit, 50);
    assert_eq!(list(&request(&[], 500)).unwrap().limit, 500);
    assert!(list(&request(&[TaskState::Failed.into()], 1)).unwrap().states.has(TaskState::Failed));
    assert!(list(&request(&[0], 1)).unwrap().states.has(TaskState::Running));
    for (bad, field) in
        [(request(&[1, 99], 0), "states[1]"), (request(&[], 501), "page_size"), (request(&[], -1), "page_size")]
    {
        assert_eq!(fields(&list(&bad).unwrap_err()), [field]);
    }
    let token = ListTasksRequest { page_token: "nonsense".to_owned(), ..ListTasksRequest::default() };
    assert_eq!(list(&token).unwrap_err().code(), Code::InvalidPageToken);
    let names =
        ListTasksRequest { namespace: "NO".to_owned(), queue: "no no".to_owned(), ..ListTasksRequest::default() };
    assert_eq!(fields(&list(&names).unwrap_err()), ["namespace", "queue"]);
}

#[test]
fn waits_and_watches_are_bounded() {
    let wait = |timeout| wait_timeout(&WaitTaskRequest { task_id: String::new(), timeout });
    assert_eq!(wait(None).unwrap(), Duration::from_secs(30));
    assert_eq!(wait(seconds(300)).unwrap(), Duration::from_secs(300));
    for bad in [seconds(301), seconds(-1)] {
        assert_eq!(fields(&wait(bad).unwrap_err()), ["timeout"]);
    }
    let ids = |count| WatchTasksRequest {
        task_ids: vec!["018f3b1e-7c1a-7000-8000-0123456789ab".to_owned(); count],
        ..WatchTasksRequest::default()
    };
    assert_eq!(watch(&ids(1_000)).unwrap().tasks.len(), 1);
    assert_eq!(fields(&watch(&ids(1_001)).unwrap_err()), ["task_ids"]);
    let bad = WatchTasksRequest { task_ids: vec!["x".to_owned()], ..WatchTasksRequest::default() };
    assert_eq!(fields(&watch(&bad).unwrap_err()), ["task_ids[0]"]);
}
