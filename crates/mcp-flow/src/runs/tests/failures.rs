//! What failures of tasks and expressions lead to.

use super::*;
use crate::runs::StepState::{Active, Blocked, Cancelled, Failed, Skipped, Succeeded};

#[test]
fn a_failure_ends_the_workflow_and_what_runs_is_waited_for() {
    let mut desk = Desk::running(of(vec![step("a", &[]), step("b", &[]), step("c", &["b"])]), json!(null));
    desk.fail(0);
    assert_eq!((desk.state(), desk.states()), (RunState::Ending, vec![Failed, Active, Skipped]));
    assert!(desk.cancelled.is_empty());
    desk.succeed(1, json!(1));
    assert_eq!((desk.state(), desk.states()), (RunState::Failed, vec![Failed, Succeeded, Skipped]));
    let error = desk.error();
    assert_eq!(
        error,
        json!({"code": 3005, "name": "HANDLER_FAILED", "message": "it broke", "metadata": {"step": "a"}})
    );
}

#[test]
fn a_failure_that_is_put_up_with_skips_what_depends_on_it() {
    let mut desk = Desk::running(
        of(vec![
            optional(step("a", &[])),
            step("b", &["a"]),
            step("c", &["b"]),
            when("steps.a.state == 'FAILED'", with_input("${steps.a.error.message}", step("d", &["a"]))),
            step("e", &["d"]),
        ]),
        json!(null),
    );
    desk.fail(0);
    assert_eq!((desk.state(), desk.states()), (RunState::Running, vec![Failed, Skipped, Skipped, Active, Blocked]));
    let reason = desk.view().steps[1].error.clone().unwrap();
    assert_eq!((&reason["name"], &reason["metadata"]["step"]), (&json!("STEP_FAILED"), &json!("a")));
    desk.succeed(3, json!(null));
    desk.succeed(4, json!("done"));
    assert_eq!((desk.state(), desk.output()), (RunState::Succeeded, json!({"c": null, "e": "done"})));
}

#[test]
fn a_failed_item_stops_the_other_items_that_have_not_started() {
    let fan = RawStep { parallel_max: 2, ..each("input", step("a", &[])) };
    let mut desk = Desk::running(of(vec![fan]), json!([1, 2, 3]));
    desk.fail(0);
    assert_eq!((desk.state(), desk.states()), (RunState::Ending, vec![Active]));
    desk.end(item(0, 1), ItemEnd::Succeeded { output: None });
    assert_eq!((desk.state(), desk.states()), (RunState::Failed, vec![Failed]));
    assert_eq!(desk.started(), ["0/0", "0/1"]);
}

#[test]
fn all_items_run_when_a_failure_is_put_up_with() {
    let fan = RawStep { parallel_max: 1, ..optional(each("input", step("a", &[]))) };
    let mut desk = Desk::running(
        of(vec![fan, when("true", with_input("${steps.a.output}", step("b", &["a"])))]),
        json!([1, 2, 3]),
    );
    desk.succeed(0, json!("x"));
    desk.end(item(0, 1), ItemEnd::Failed { error: broken() });
    desk.end(item(0, 2), ItemEnd::Succeeded { output: Some(json!("z").into()) });
    assert_eq!(desk.states(), [Failed, Active]);
    assert_eq!(desk.view().steps[0].output, Some(json!(["x", null, "z"]).into()));
    desk.restart();
    assert_eq!(desk.view().steps[0].output, Some(json!(["x", null, "z"]).into()));
}

#[test]
fn the_step_for_failures_runs_last_and_changes_nothing() {
    for succeeds in [true, false] {
        let tell = with_input("${steps.a.error.message}: ${steps.b.state}", step("tell", &[]));
        let raw = RawDefinition { on_failure: Some(tell), ..of(vec![step("a", &[]), step("b", &[])]) };
        let mut desk = Desk::running(raw, json!(null));
        desk.fail(0);
        assert_eq!(desk.started(), ["0/0", "1/0"], "not before all others have ended");
        assert_eq!(desk.runs.blocked(RUN, 2), Some(crate::Blocked::ByFailure));
        desk.succeed(1, json!(null));
        assert_eq!(desk.started(), ["0/0", "1/0", "2/0"]);
        if succeeds {
            desk.succeed(2, json!("told"))
        } else {
            desk.fail(2)
        }
        assert_eq!(desk.state(), RunState::Failed);
        assert_eq!(desk.error()["metadata"]["step"], "a");
        assert_eq!(desk.states()[2], if succeeds { Succeeded } else { Failed });
    }
}

#[test]
fn the_step_for_failures_does_not_run_without_one() {
    let raw = RawDefinition { on_failure: Some(step("tell", &[])), ..of(vec![step("a", &[])]) };
    let mut desk = Desk::running(raw, json!(null));
    desk.succeed(0, json!(null));
    assert_eq!((desk.state(), desk.states()), (RunState::Succeeded, vec![Succeeded, Skipped]));
}

#[test]
fn a_failed_expression_fails_its_step_and_says_why() {
    for (failing, expected) in [
        (
            when("input.zzz", step("a", &[])),
            "condition of step `a`: expression `input.zzz` failed: `input.zzz`: there is no `zzz`",
        ),
        (when("input.n", step("a", &[])), "condition of step `a`: it gave `1`, not a bool"),
        (
            each("input.zzz", step("a", &[])),
            "for_each of step `a`: expression `input.zzz` failed: `input.zzz`: there is no `zzz`",
        ),
        (each("input.n", step("a", &[])), "for_each of step `a`: it gave `1`, not a list"),
        (
            with_input("${input.zzz}", step("a", &[])),
            "task of step `a`: expression `input.zzz` failed: `input.zzz`: there is no `zzz`",
        ),
        (with_input("${item.zzz}", each("[{}]", step("a", &[]))), "for_each"),
    ] {
        let failing = if expected == "for_each" {
            RawStep { task: json!({"handler": {"input": "${item.zzz}"}}).into(), ..failing }
        } else {
            failing
        };
        let desk = Desk::running(of(vec![failing]), json!({"n": 1}));
        assert_eq!((desk.state(), desk.states()), (RunState::Failed, vec![Failed]));
        let expected = if expected == "for_each" {
            "task of step `a`: expression `item.zzz` failed: `item.zzz`: there is no `zzz`"
        } else {
            expected
        };
        assert_eq!(desk.error()["message"], expected);
        assert_eq!(desk.error()["name"], "EXPRESSION_FAILED");
    }
}

#[test]
fn a_task_that_somebody_cancels_fails_its_step() {
    let mut desk = Desk::running(of(vec![step("a", &[])]), json!(null));
    desk.end(item(0, 0), ItemEnd::Cancelled);
    assert_eq!((desk.state(), desk.states()), (RunState::Failed, vec![Failed]));
    assert_eq!(desk.error()["name"], "TASK_CANCELLED");
}

#[test]
fn a_task_that_is_never_taken_fails_its_step() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[])]), json!(null));
    desk.tick_only();
    desk.call(|runs, out| runs.refused(1_000, item(0, 0), Refusal::Invalid { error: broken() }, out));
    desk.tick_only();
    assert_eq!((desk.state(), desk.states()), (RunState::Failed, vec![Failed]));
}

#[test]
fn outputs_have_a_bound_together() {
    let mut desk = Desk::new(Limits { output_bytes_max: 100, ..Limits::default() });
    desk.submit(of(vec![optional(step("a", &[])), step("b", &[])]), json!(null));
    desk.tick();
    desk.succeed(1, json!("x".repeat(60)));
    desk.succeed(0, json!("x".repeat(60)));
    assert_eq!((desk.state(), desk.states()), (RunState::Succeeded, vec![Failed, Succeeded]));
    let error = desk.view().steps[0].error.clone().unwrap();
    assert_eq!(
        error["message"],
        "with the output of step `a` the workflow's outputs have more than 100 bytes together"
    );
}

#[test]
fn a_failure_ends_a_pause() {
    let raw = RawDefinition { on_failure: Some(step("tell", &[])), ..of(vec![step("a", &[])]) };
    let mut desk = Desk::running(raw, json!(null));
    desk.call(|runs, out| runs.pause(1_000, RUN, out)).unwrap();
    desk.fail(0);
    assert_eq!((desk.state(), desk.states()), (RunState::Ending, vec![Failed, Active]));
    assert_eq!(desk.call(|runs, out| runs.resume(1_000, RUN, out)), Err(Refused::Ending));
}

#[test]
fn steps_of_a_timed_out_workflow_are_cancelled() {
    let raw = RawDefinition {
        timeout: Some(500),
        on_failure: Some(step("tell", &[])),
        ..of(vec![step("a", &[]), step("b", &["a"])])
    };
    let mut desk = Desk::running(raw, json!(null));
    assert_eq!(desk.runs.next_timer(), Some(1_500));
    desk.now = 1_499;
    desk.tick_only();
    assert_eq!(desk.state(), RunState::Running);
    desk.now = 1_500;
    desk.tick_only();
    assert_eq!((desk.state(), desk.states()), (RunState::Ending, vec![Active, Cancelled, Blocked]));
    assert_eq!(desk.cancelled, [item(0, 0)]);
    desk.end(item(0, 0), ItemEnd::Cancelled);
    assert_eq!(desk.states(), [Cancelled, Cancelled, Active], "the step for failures still runs");
    desk.succeed(2, json!(null));
    assert_eq!(desk.state(), RunState::Failed);
    assert_eq!(desk.error()["name"], "WORKFLOW_TIMEOUT");
    assert_eq!(desk.runs.next_timer(), None);
}
