//! Attempts: results, errors, logs, progress, timeouts, cancels.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use mcp_client::{
    testing::{FakeScheduler, FakeSession, assignment, attempt, handler, process},
    value::from_value,
    worker::{AttemptContext, HandlerError, OUTPUT_BYTES_MAX, ProcessExecutor, ProcessOutcome},
};
use mcp_proto::{
    common,
    scheduler::v1::{LogStream, ProcessWork, Progress, TaskSpec},
    worker::v1::{AttemptResult, attempt_result::Outcome},
};
use serde_json::{Value, json};

use crate::support::{builder, run};

fn output(result: AttemptResult) -> Option<Value> {
    match result.outcome {
        Some(Outcome::Success(success)) => success.output.map(from_value),
        other => panic!("not a success: {other:?}"),
    }
}

fn failure(result: AttemptResult) -> common::v1::Error {
    match result.outcome {
        Some(Outcome::Failure(error)) => error,
        other => panic!("not a failure: {other:?}"),
    }
}

async fn run_one(session: &mut FakeSession, task: u16, spec: TaskSpec) -> AttemptResult {
    session.assign(vec![assignment(task, spec)]).await;
    let result = session.result().await;
    assert_eq!(result.attempt, Some(attempt(task, 1)));
    result
}

#[tokio::test]
async fn a_handler_gets_its_input_and_gives_its_output() {
    let scheduler = FakeScheduler::start().await;
    let worker = builder(&scheduler).handler("facts", |context: AttemptContext, _: Value| async move {
        Ok(json!({
            "task": context.task_id().to_string(),
            "attempt": context.attempt(),
            "token": context.token().to_string(),
            "queue": context.queue(),
            "namespace": context.namespace(),
            "name": context.name(),
        }))
    });
    let _worker = run(worker);
    let mut session = scheduler.welcomed().await;
    let input = json!({"a": [1, 2.5, "x", null, true]});
    assert_eq!(output(run_one(&mut session, 1, handler("echo", input.clone())).await), Some(input));
    assert_eq!(output(run_one(&mut session, 2, handler("echo", Value::Null)).await), None);
    let facts = json!({
        "task": attempt(3, 1).task_id, "attempt": 1, "token": "5.1", "queue": "default", "namespace": "default",
        "name": "test",
    });
    assert_eq!(output(run_one(&mut session, 3, handler("facts", Value::Null)).await), Some(facts));
}

#[tokio::test]
async fn errors_of_handlers_are_reported_and_the_worker_goes_on() {
    let scheduler = FakeScheduler::start().await;
    let worker = builder(&scheduler)
        .handler("fail", |_: AttemptContext, _: Value| async {
            Err(HandlerError::new("no luck").with_retry_after(Duration::from_secs(7)))
        })
        .handler("refuse", |_: AttemptContext, _: Value| async { Err(HandlerError::permanent("never")) })
        .handler("convert", |_: AttemptContext, _: Value| async { Ok(json!("x".parse::<u32>()?)) })
        .handler("panic", |_: AttemptContext, input: Value| async move { panic!("boom {input}") })
        .handler("panic early", |_: AttemptContext, _: Value| {
            assert!(std::hint::black_box(false), "too early");
            std::future::ready(Ok(Value::Null))
        })
        .handler("large", |_: AttemptContext, _: Value| async { Ok(json!("x".repeat(OUTPUT_BYTES_MAX))) });
    let _worker = run(worker);
    let mut session = scheduler.welcomed().await;
    let mut task = 0;
    for (name, error, message, retryable) in [
        ("fail", "HANDLER_FAILED", "no luck", true),
        ("refuse", "HANDLER_FAILED", "never", false),
        ("convert", "HANDLER_FAILED", "invalid digit found in string", true),
        ("panic", "HANDLER_FAILED", "panicked: boom 1", true),
        ("panic early", "HANDLER_FAILED", "panicked: too early", true),
        ("large", "OUTPUT_INVALID", "the output is larger than 1048576 bytes", false),
        ("unheard-of", "HANDLER_UNKNOWN", "the worker has no handler `unheard-of`", true),
    ] {
        task += 1;
        let failure = failure(run_one(&mut session, task, handler(name, json!(1))).await);
        let seen = (failure.name.as_str(), failure.message.as_str(), failure.retryable);
        assert_eq!(seen, (error, message, retryable), "{name}");
        assert_eq!(failure.retry_after.is_some(), name == "fail");
    }
    let work = process(ProcessWork::default());
    assert_eq!(failure(run_one(&mut session, 20, work).await).name, "UNIMPLEMENTED");
    assert_eq!(output(run_one(&mut session, 21, handler("echo", json!(1))).await), Some(json!(1)));
}

#[tokio::test]
async fn lines_and_progress_arrive_before_the_result() {
    let scheduler = FakeScheduler::start().await;
    let worker = builder(&scheduler).handler("speak", |context: AttemptContext, _: Value| async move {
        context.log("one\ntwo").await;
        context.log_to(LogStream::Stderr, "").await;
        context.log("ä".repeat(10_000)).await;
        context.progress(0.1, "begun");
        context.progress(7.0, "x".repeat(300));
        Ok(Value::Null)
    });
    let _worker = run(worker);
    let mut session = scheduler.welcomed().await;
    session.assign(vec![assignment(1, handler("speak", Value::Null))]).await;
    let mut progress = None;
    let message = loop {
        let message = session.next().await.unwrap();
        progress = message.progress.last().and_then(|progress| progress.progress.clone()).or(progress);
        if !message.results.is_empty() {
            break message;
        }
    };
    assert_eq!(message.results[0].attempt, Some(attempt(1, 1)));
    let lines: Vec<_> = session.lines.iter().map(|(_, line)| (line.stream(), line.text.len())).collect();
    let stdout = LogStream::Stdout;
    assert_eq!(lines, [(stdout, 3), (stdout, 3), (LogStream::Stderr, 0), (stdout, 16_384), (stdout, 3_616)]);
    assert_eq!(progress, Some(Progress { fraction: 1.0, message: "x".repeat(200) }));
}

#[tokio::test]
async fn a_writer_waits_when_nobody_takes_its_lines() {
    const LINES: usize = 20_000;
    let scheduler = FakeScheduler::start().await;
    let worker = builder(&scheduler).handler("flood", |context: AttemptContext, _: Value| async move {
        for number in 0..LINES {
            context.log(format!("{number:0200}")).await;
        }
        Ok(Value::Null)
    });
    let _worker = run(worker);
    let mut session = scheduler.welcomed().await;
    session.assign(vec![assignment(1, handler("flood", Value::Null))]).await;
    let texts = session.texts(LINES).await;
    assert_eq!(texts.len(), LINES);
    assert!(texts.iter().enumerate().all(|(number, text)| *text == format!("{number:0200}")), "in order, none lost");
    session.result().await;
}

#[tokio::test]
async fn a_cancel_ends_a_handler() {
    let scheduler = FakeScheduler::start().await;
    let _worker = run(builder(&scheduler));
    let mut session = scheduler.welcomed().await;
    session.assign(vec![assignment(1, handler("wait", Value::Null))]).await;
    session.cancel(&attempt(1, 1)).await;
    session.cancel(&attempt(9, 1)).await;
    assert!(matches!(session.result().await.outcome, Some(Outcome::Cancelled(_))));
}

#[tokio::test]
async fn an_attempt_ends_at_its_run_timeout() {
    let scheduler = FakeScheduler::start().await;
    let _worker = run(builder(&scheduler));
    let mut session = scheduler.welcomed().await;
    let run_timeout = Some(Duration::from_millis(20).try_into().unwrap());
    let failure = failure(run_one(&mut session, 1, TaskSpec { run_timeout, ..handler("wait", Value::Null) }).await);
    assert_eq!((failure.name.as_str(), failure.retryable), ("RUN_TIMEOUT", true));
    assert_eq!(failure.message, "the attempt ran longer than 20ms");
}

/// Ends when it is told to, as a program does that catches SIGTERM.
#[derive(Debug)]
struct Polite;

#[async_trait]
impl ProcessExecutor for Polite {
    async fn execute(&self, context: &AttemptContext, work: ProcessWork) -> ProcessOutcome {
        context.log(format!("runs {}", work.argv.join(" "))).await;
        if work.argv == ["panic"] {
            panic!("executor");
        }
        context.cancelled().await;
        ProcessOutcome { exit_code: Some(0), result: Ok(None) }
    }
}

#[tokio::test]
async fn the_reason_of_the_stop_counts_for_a_program_that_exits_0() {
    let scheduler = FakeScheduler::start().await;
    let _worker = run(builder(&scheduler).processes(Arc::new(Polite)));
    let mut session = scheduler.welcomed().await;
    assert!(session.hello.runs_processes);
    let program = |name: &str| process(ProcessWork { argv: vec![name.to_owned()], ..ProcessWork::default() });
    let run_timeout = Some(Duration::from_millis(20).try_into().unwrap());
    let timed_out = run_one(&mut session, 1, TaskSpec { run_timeout, ..program("sleep") }).await;
    assert_eq!(timed_out.exit_code, Some(0));
    assert_eq!(failure(timed_out).name, "RUN_TIMEOUT");

    session.assign(vec![assignment(2, program("sleep"))]).await;
    session.cancel(&attempt(2, 1)).await;
    assert!(matches!(session.result().await.outcome, Some(Outcome::Cancelled(_))));
    assert_eq!(failure(run_one(&mut session, 3, program("panic")).await).message, "panicked: executor");
}
