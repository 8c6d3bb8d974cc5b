//! Pause, resume, cancel, and what they meet on the way.

use super::*;
use crate::runs::StepState::{Active, Blocked, Cancelled, Failed, Skipped, Succeeded};

impl Desk {
    fn pause(&mut self) {
        let now = self.now;
        self.call(|runs, out| runs.pause(now, RUN, out)).unwrap();
        self.tick();
    }

    fn resume(&mut self) {
        let now = self.now;
        self.call(|runs, out| runs.resume(now, RUN, out)).unwrap();
        self.tick();
    }

    fn cancel(&mut self) {
        let now = self.now;
        self.call(|runs, out| runs.cancel(now, RUN, out)).unwrap();
        self.tick();
    }
}

#[test]
fn a_paused_workflow_starts_nothing_until_it_is_resumed() {
    let fan = RawStep { parallel_max: 1, ..each("[1, 2]", step("b", &[])) };
    let mut desk = Desk::running(of(vec![step("a", &[]), fan, step("c", &["a"])]), json!(null));
    desk.pause();
    desk.succeed(0, json!(null));
    desk.succeed(1, json!(null));
    assert_eq!((desk.state(), desk.started()), (RunState::Paused, vec!["0/0".to_owned(), "1/0".to_owned()]));
    assert_eq!(desk.runs.blocked(RUN, 2), Some(crate::Blocked::ByPause));
    desk.restart();
    assert_eq!((desk.state(), desk.started().len()), (RunState::Paused, 2), "a restart does not resume it");
    desk.resume();
    assert_eq!(desk.started(), ["0/0", "1/0", "1/1", "2/0"]);
}

#[test]
fn pausing_and_resuming_again_changes_nothing() {
    let mut desk = Desk::running(of(vec![step("a", &[])]), json!(null));
    desk.pause();
    desk.pause();
    desk.resume();
    desk.resume();
    assert_eq!(desk.state(), RunState::Running);
    assert_eq!(desk.call(|runs, out| runs.pause(0, RunId(99), out)), Err(Refused::Unknown));
}

#[test]
fn a_workflow_may_end_while_it_is_paused() {
    let mut desk = Desk::running(of(vec![step("a", &[])]), json!(null));
    desk.pause();
    desk.succeed(0, json!(1));
    assert_eq!(desk.state(), RunState::Succeeded);
}

#[test]
fn a_cancel_stops_what_runs_and_starts_nothing() {
    let raw = RawDefinition { on_failure: Some(step("tell", &[])), ..of(vec![step("a", &[]), step("b", &["a"])]) };
    let mut desk = Desk::running(raw, json!(null));
    desk.cancel();
    assert_eq!((desk.state(), desk.states()), (RunState::Ending, vec![Active, Cancelled, Cancelled]));
    assert_eq!(desk.cancelled, [item(0, 0)]);
    desk.restart();
    assert_eq!(desk.cancelled, [item(0, 0), item(0, 0)], "the order may have been lost with the crash");
    desk.end(item(0, 0), ItemEnd::Cancelled);
    assert_eq!((desk.state(), desk.states()), (RunState::Cancelled, vec![Cancelled, Cancelled, Cancelled]));
    assert!(desk.view().run.error.is_none());
}

#[test]
fn a_task_that_ends_before_its_cancel_arrives_keeps_its_outcome() {
    let mut desk = Desk::running(of(vec![step("a", &[]), step("b", &["a"])]), json!(null));
    desk.cancel();
    desk.succeed(0, json!(5));
    assert_eq!((desk.state(), desk.states()), (RunState::Cancelled, vec![Succeeded, Cancelled]));
    assert_eq!(desk.view().steps[0].output, Some(json!(5).into()));
}

#[test]
fn a_cancel_before_the_first_step_ends_at_once() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[])]), json!(null));
    desk.cancel();
    assert_eq!((desk.state(), desk.states()), (RunState::Cancelled, vec![Cancelled]));
    assert!(desk.started().is_empty());
}

#[test]
fn a_task_that_is_being_submitted_when_the_cancel_comes_is_cancelled_too() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[])]), json!(null));
    desk.tick_only();
    desk.call(|runs, out| runs.cancel(1_000, RUN, out)).unwrap();
    desk.tick_only();
    assert_eq!(desk.state(), RunState::Ending, "the answer is owed");
    desk.offers.clear();
    desk.accept(item(0, 0));
    desk.tick();
    assert_eq!(desk.cancelled, [item(0, 0)]);
    desk.end(item(0, 0), ItemEnd::Cancelled);
    assert_eq!(desk.state(), RunState::Cancelled);
}

#[test]
fn a_task_that_is_refused_after_the_cancel_is_not_offered_again() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[])]), json!(null));
    desk.tick_only();
    desk.call(|runs, out| runs.cancel(1_000, RUN, out)).unwrap();
    desk.call(|runs, out| runs.refused(1_000, item(0, 0), Refusal::Until(2_000), out));
    desk.tick_only();
    assert_eq!((desk.state(), desk.states()), (RunState::Cancelled, vec![Cancelled]));
    assert_eq!(desk.runs.next_timer(), None);
}

#[test]
fn the_first_cause_counts_but_a_cancel_stops_more() {
    let raw = RawDefinition { on_failure: Some(step("tell", &[])), ..of(vec![step("a", &[]), step("b", &[])]) };
    let mut desk = Desk::running(raw, json!(null));
    desk.fail(0);
    desk.cancel();
    desk.cancel();
    assert_eq!(desk.cancelled, [item(1, 0)]);
    desk.restart();
    desk.end(item(1, 0), ItemEnd::Cancelled);
    assert_eq!((desk.state(), desk.states()), (RunState::Failed, vec![Failed, Cancelled, Skipped]));
}

#[test]
fn a_cancel_stops_the_step_for_failures() {
    let raw = RawDefinition { on_failure: Some(step("tell", &[])), ..of(vec![step("a", &[])]) };
    let mut desk = Desk::running(raw, json!(null));
    desk.fail(0);
    assert_eq!(desk.states(), [Failed, Active]);
    desk.cancel();
    assert_eq!(desk.cancelled, [item(1, 0)]);
    desk.end(item(1, 0), ItemEnd::Cancelled);
    assert_eq!((desk.state(), desk.states()), (RunState::Failed, vec![Failed, Cancelled]));
}

#[test]
fn the_time_runs_on_while_a_workflow_is_paused_and_goes_with_it() {
    let raw = RawDefinition { timeout: Some(100), ..of(vec![step("a", &[]), step("b", &["a"])]) };
    let mut desk = Desk::running(raw.clone(), json!(null));
    desk.pause();
    desk.now = 1_100;
    desk.tick_only();
    assert_eq!((desk.state(), desk.states()), (RunState::Ending, vec![Active, Cancelled]));

    let mut desk = Desk::running(raw, json!(null));
    desk.restart();
    assert_eq!(desk.runs.next_timer(), Some(1_100), "a restart does not forget it");
    desk.succeed(0, json!(null));
    desk.succeed(1, json!(null));
    assert_eq!((desk.state(), desk.runs.next_timer()), (RunState::Succeeded, None));
}

#[test]
fn what_waits_is_explained() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[]), step("b", &["a"])]), json!(null));
    assert_eq!(desk.states(), [Blocked, Blocked]);
    assert_eq!(desk.runs.blocked(RUN, 0), Some(crate::Blocked::ByTurn));
    desk.tick();
    assert_eq!(desk.runs.blocked(RUN, 0), None);
    assert_eq!(desk.runs.blocked(RUN, 1), Some(crate::Blocked::ByDependencies(vec!["a".into()])));
    assert_eq!(desk.runs.blocked(RUN, 7), None);
}
