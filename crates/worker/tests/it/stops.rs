//! Programs that are stopped, and what they leave behind.

use std::time::Duration;

use mcp_client::testing::{SOON, assignment, attempt, process};
use mcp_proto::{
    scheduler::v1::{LogStream, TaskSpec},
    worker::v1::{Assignment, attempt_result::Outcome},
};
use tokio::time::{Instant, timeout};

use crate::support::{Bench, KILL_GRACE, failure, gone, is_there, sh};

/// The shell has a child in the background and waits for it; the child's id is the first line.
const WITH_CHILD: &str = "sleep 600 & echo $!; wait";

fn with_run_timeout(script: &str, run_timeout: Duration) -> Assignment {
    let run_timeout = Some(run_timeout.try_into().unwrap());
    assignment(1, TaskSpec { run_timeout, ..process(sh(script)) })
}

#[tokio::test]
async fn the_run_timeout_stops_the_whole_group() {
    let mut bench = Bench::new(KILL_GRACE).await;
    bench.session.assign(vec![with_run_timeout(WITH_CHILD, Duration::from_secs(1))]).await;
    let child = bench.pid().await;
    assert!(is_there(child));
    let result = bench.session.result().await;
    assert_eq!(result.exit_code, Some(-15));
    let error = failure(result);
    assert_eq!((error.name.as_str(), error.retryable), ("RUN_TIMEOUT", true));
    gone(child).await;
    bench.assert_clean();
}

#[tokio::test]
async fn a_cancel_stops_the_whole_group() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let child = bench.start(sh(WITH_CHILD)).await;
    bench.session.cancel(&attempt(1, 1)).await;
    let result = bench.session.result().await;
    assert!(matches!(result.outcome, Some(Outcome::Cancelled(_))), "{result:?}");
    assert_eq!(result.exit_code, Some(-15));
    gone(child).await;
    bench.assert_clean();
}

#[tokio::test]
async fn a_program_may_clean_up_at_sigterm() {
    let mut bench = Bench::new(KILL_GRACE).await;
    bench.start(sh("trap 'echo cleaning; exit 0' TERM; echo $$; while :; do sleep 0.01; done")).await;
    bench.session.cancel(&attempt(1, 1)).await;
    let result = bench.session.result().await;
    assert!(matches!(result.outcome, Some(Outcome::Cancelled(_))), "exit code 0 or not: {result:?}");
    assert_eq!(result.exit_code, Some(0));
    assert_eq!(bench.lines(LogStream::Stdout)[1..], ["cleaning"]);
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_after_the_grace() {
    let mut bench = Bench::new(Duration::from_millis(100)).await;
    let child = bench.start(sh("trap '' TERM; sleep 600 & echo $!; while :; do sleep 0.01; done")).await;
    bench.session.cancel(&attempt(1, 1)).await;
    let result = bench.session.result().await;
    assert!(matches!(result.outcome, Some(Outcome::Cancelled(_))), "{result:?}");
    assert_eq!(result.exit_code, Some(-9));
    gone(child).await;
    bench.assert_clean();
}

#[tokio::test]
async fn what_a_program_leaves_running_is_killed_when_it_ends() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let child = bench.start(sh("sleep 600 & echo $!")).await;
    let start = Instant::now();
    assert_eq!(bench.session.result().await.exit_code, Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "the child's pipes do not hold the attempt up");
    gone(child).await;
}

#[tokio::test]
async fn a_descendant_that_escapes_with_the_pipes_does_not_hold_the_attempt_up() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let escaped = bench.start(sh("setsid sleep 600 & echo $!; sleep 0.2; echo done")).await;
    assert_eq!(bench.session.result().await.exit_code, Some(0));
    assert_eq!(bench.lines(LogStream::Stdout)[1..], ["done"]);
    // `setsid` runs in the place of the background child, so that is its id.
    assert!(is_there(escaped), "a session of its own is beyond reach");
    nix::sys::signal::kill(escaped, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn a_worker_that_ends_hands_its_programs_back() {
    let mut bench = Bench::new(KILL_GRACE).await;
    let child = bench.start(sh(WITH_CHILD)).await;
    bench.stop.cancel();
    assert_eq!(bench.session.handed_back().await, attempt(1, 1));
    gone(child).await;
    bench.session.ended().await;
    assert_eq!(bench.session.unread_results(), 0);
    timeout(SOON, &mut bench.worker).await.unwrap().unwrap();
    bench.assert_clean();
}

#[tokio::test]
async fn a_worker_that_is_dropped_leaves_no_program_behind() {
    let mut bench = Bench::new(Duration::from_millis(50)).await;
    let child = bench.start(sh(WITH_CHILD)).await;
    bench.worker.abort();
    gone(child).await;
}
