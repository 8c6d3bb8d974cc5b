//! Order, data and fan-out.

use super::*;
use crate::runs::StepState::{Active, Blocked, Skipped, Succeeded};

#[test]
fn a_diamond_runs_in_order_and_joins() {
    let mut desk = Desk::running(
        of(vec![
            step("a", &[]),
            step("b", &["a"]),
            step("c", &["a"]),
            with_input("${steps.b.output + steps.c.output}", step("d", &["b", "c"])),
        ]),
        json!(null),
    );
    assert_eq!(desk.started(), ["0/0"]);
    desk.succeed(0, json!(1));
    assert_eq!(desk.started(), ["0/0", "1/0", "2/0"]);
    desk.succeed(2, json!(20));
    assert_eq!(desk.states(), [Succeeded, Active, Succeeded, Blocked]);
    assert_eq!(desk.runs.blocked(RUN, 3), Some(crate::Blocked::ByDependencies(vec!["b".into()])));
    let (now, task) = (desk.now, desk.tasks[&item(1, 0)]);
    desk.call(|runs, out| runs.ended(now, item(1, 0), task, ItemEnd::Succeeded { output: Some(json!(3).into()) }, out));
    desk.tick_only();
    assert_eq!(desk.offers, [(item(3, 0), json!({"handler": {"handler": "d", "input": 23}}))]);
    let (offer, _) = desk.offers.pop_front().unwrap();
    desk.accept(offer);
    desk.succeed(3, json!("end"));
    assert_eq!(desk.state(), RunState::Succeeded);
    assert_eq!(desk.output(), json!({"d": "end"}));
    assert!(desk.runs.is_empty() && desk.records.is_empty() && desk.steps.is_empty());
    assert_eq!(desk.view().steps[3].tasks.len(), 1);
    assert_eq!(desk.view().steps_ended(), 4);
}

#[test]
fn the_output_is_that_of_the_leaves_or_what_the_expression_says() {
    for (output, expected) in [
        ("", json!({"b": {"n": 2}, "c": null})),
        ("steps.b.output.n + input.more", json!(5)),
        ("[steps.a.state, steps.c.state, workflow.name]", json!(["SUCCEEDED", "SKIPPED", "test"])),
    ] {
        let steps = vec![step("a", &[]), step("b", &["a"]), when("false", step("c", &["a"]))];
        let mut desk = Desk::running(RawDefinition { output: output.to_owned(), ..of(steps) }, json!({"more": 3}));
        desk.succeed(0, json!(null));
        desk.succeed(1, json!({"n": 2}));
        assert_eq!((desk.state(), desk.output()), (RunState::Succeeded, expected), "{output}");
    }
}

#[test]
fn a_condition_decides_whether_a_step_runs() {
    for (condition, expected) in [
        ("steps.a.output.go", Active),
        ("!steps.a.output.go", Skipped),
        ("has(steps.a.output.zzz) || input == 7", Active),
    ] {
        let mut desk = Desk::running(of(vec![step("a", &[]), when(condition, step("b", &["a"]))]), json!(7));
        desk.succeed(0, json!({"go": true}));
        assert_eq!(desk.states()[1], expected, "{condition}");
    }
}

#[test]
fn what_was_skipped_by_its_condition_holds_nothing_up() {
    let mut desk = Desk::running(
        of(vec![when("false", step("a", &[])), with_input("${steps.a.output} ${steps.a.state}", step("b", &["a"]))]),
        json!(null),
    );
    assert_eq!(desk.states(), [Skipped, Active]);
    desk.succeed(1, json!(1));
    assert_eq!(desk.state(), RunState::Succeeded);
}

#[test]
fn a_step_runs_for_each_item_of_a_list_made_at_run_time() {
    let mut desk = Desk::running(
        of(vec![
            step("a", &[]),
            each("steps.a.output", step("b", &["a"])),
            with_input("${steps.b.output}", step("c", &["b"])),
        ]),
        json!(null),
    );
    desk.succeed(0, json!(["x", "y", "z"]));
    assert_eq!(desk.started(), ["0/0", "1/0", "1/1", "1/2"]);
    // Ends come in any order; outputs keep the order of the items.
    for number in [2, 0, 1] {
        assert_eq!(desk.view().steps[1].state, Active);
        desk.end(item(1, number), ItemEnd::Succeeded { output: Some(json!(number * 10).into()) });
    }
    assert_eq!(desk.view().steps[1].output, Some(json!([0, 10, 20]).into()));
    assert_eq!((desk.view().steps[1].item_count, desk.view().steps[1].items_ended), (3, 3));
    assert!(desk.started().contains(&"2/0".to_owned()));
}

#[test]
fn an_empty_list_succeeds_at_once() {
    let mut desk = Desk::running(of(vec![each("input", step("a", &[])), step("b", &["a"])]), json!([]));
    assert_eq!(desk.states(), [Succeeded, Active]);
    assert_eq!(desk.view().steps[0].output, Some(json!([]).into()));
    desk.restart();
    assert_eq!(desk.view().steps[0].output, Some(json!([]).into()));
    desk.succeed(1, json!(null));
    assert_eq!(desk.state(), RunState::Succeeded);
}

#[test]
fn only_so_many_items_run_at_a_time() {
    let fan = RawStep { parallel_max: 2, ..each("input", step("a", &[])) };
    let mut desk = Desk::running(of(vec![fan]), json!([1, 2, 3, 4, 5]));
    assert_eq!(desk.started(), ["0/0", "0/1"]);
    desk.end(item(0, 1), ItemEnd::Succeeded { output: None });
    assert_eq!(desk.started(), ["0/0", "0/1", "0/2"]);
    desk.restart();
    assert_eq!(desk.started().len(), 3, "a restart does not change that");
    for number in [0, 2, 3, 4] {
        desk.end(item(0, number), ItemEnd::Succeeded { output: None });
    }
    assert_eq!(desk.state(), RunState::Succeeded);
    assert_eq!(desk.output(), json!({"a": [null, null, null, null, null]}));
}

#[test]
fn a_step_without_expressions_shares_its_task_with_the_definition() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[])]), json!(null));
    desk.tick_only();
    assert_eq!(desk.offers, [(item(0, 0), json!({"handler": {"handler": "a"}}))]);
}

#[test]
fn an_output_that_cannot_be_made_fails_the_workflow() {
    let raw = RawDefinition { output: "steps.a.output.zzz".to_owned(), ..of(vec![step("a", &[])]) };
    let raw = RawDefinition { on_failure: Some(step("tell", &[])), ..raw };
    let mut desk = Desk::running(raw, json!(null));
    desk.succeed(0, json!({}));
    assert_eq!(desk.state(), RunState::Ending);
    desk.succeed(1, json!(null));
    assert_eq!(desk.state(), RunState::Failed);
    assert_eq!(
        desk.error()["message"],
        "output of the workflow: expression `steps.a.output.zzz` failed: `steps.a.output.zzz`: there is no `zzz`"
    );
}
