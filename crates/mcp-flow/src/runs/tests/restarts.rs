//! Crashes, late and repeated news, hand-overs.

use super::*;
use crate::runs::StepState::{Active, Failed, Skipped, Succeeded};

#[test]
fn a_restart_starts_nothing_again_and_forgets_nothing() {
    let mut desk = Desk::running(
        of(vec![
            step("a", &[]),
            each("input", step("b", &["a"])),
            with_input("${steps.b.output} ${steps.a.output}", step("c", &["b"])),
        ]),
        json!([1, 2, 3]),
    );
    desk.restart();
    desk.succeed(0, json!("a"));
    desk.restart();
    for number in [1, 0, 2] {
        desk.end(item(1, number), ItemEnd::Succeeded { output: Some(json!(number).into()) });
        desk.restart();
    }
    assert_eq!(desk.started(), ["0/0", "1/0", "1/1", "1/2", "2/0"]);
    assert_eq!(desk.view().steps[1].output, Some(json!([0, 1, 2]).into()));
    assert_eq!(desk.view().steps[1].tasks.len(), 3);
    desk.succeed(2, json!("c"));
    assert_eq!(desk.output(), json!({"c": "c"}));
}

#[test]
fn an_offer_that_was_not_answered_is_made_again_after_a_restart() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[])]), json!(null));
    desk.tick_only();
    assert_eq!(desk.offers.len(), 1);
    desk.restart();
    assert_eq!(desk.started(), ["0/0"]);
}

#[test]
fn the_list_of_a_step_stays_the_same_over_a_restart() {
    let fan = RawStep { parallel_max: 1, ..each("input.map(key, key)", step("a", &[])) };
    let mut desk = Desk::new(Limits::default());
    let input: serde_json::Map<String, Value> = (0..50).map(|number| (format!("k{number}"), json!(1))).collect();
    desk.submit(of(vec![fan]), Value::Object(input));
    let mut seen = Vec::new();
    for number in 0..50 {
        desk.tick_only();
        let (offered, task) = desk.offers.pop_front().unwrap();
        seen.push(task["handler"]["input"].as_str().unwrap().to_owned());
        desk.accept(offered);
        let task = desk.tasks[&offered];
        desk.call(|runs, out| runs.ended(1_000, item(0, number), task, ItemEnd::Succeeded { output: None }, out));
        if number < 49 {
            desk.runs = Runs::new(Limits::default());
            let record = desk.records[&RUN].clone();
            desk.runs.restore(1_000, record, desk.steps.values().cloned()).unwrap();
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 50, "each key once");
}

#[test]
fn repeated_and_outdated_news_change_nothing() {
    let mut desk = Desk::running(of(vec![step("a", &[]), step("b", &["a"])]), json!(null));
    let done = || ItemEnd::Succeeded { output: Some(json!(1).into()) };
    let other = TaskId(77);
    assert!(!desk.call(|runs, out| runs.ended(1_000, item(0, 0), other, done(), out)), "another task");
    assert!(!desk.call(|runs, out| runs.ended(1_000, item(1, 0), other, done(), out)), "not started");
    assert!(!desk.call(|runs, out| runs.ended(1_000, item(0, 9), other, done(), out)), "no such item");
    assert!(!desk.call(|runs, out| runs.ended(1_000, item(9, 0), other, done(), out)), "no such step");
    assert!(desk.end(item(0, 0), done()));
    assert!(!desk.end(item(0, 0), ItemEnd::Failed { error: broken() }), "it has ended");
    assert_eq!(desk.states(), [Succeeded, Active]);
    desk.call(|runs, out| runs.submitted(1_000, item(0, 0), other, out));
    desk.call(|runs, out| runs.refused(1_000, item(0, 0), Refusal::Until(0), out));
    desk.tick();
    assert_eq!(desk.states(), [Succeeded, Active]);
    assert!(desk.end(item(1, 0), done()));
    assert!(!desk.end(item(1, 0), done()), "the run is final");
}

#[test]
fn an_end_that_overtakes_the_answer_counts() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[])]), json!(null));
    desk.tick_only();
    let task = TaskId(5);
    assert!(desk.call(|runs, out| runs.ended(1_000, item(0, 0), task, ItemEnd::Succeeded { output: None }, out)));
    desk.call(|runs, out| runs.submitted(1_000, item(0, 0), task, out));
    desk.tick_only();
    assert_eq!(desk.state(), RunState::Succeeded);
    assert_eq!(desk.view().steps[0].tasks, [task]);
}

#[test]
fn a_refused_task_is_offered_again_when_told() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(of(vec![step("a", &[])]), json!(null));
    desk.tick_only();
    desk.offers.clear();
    desk.call(|runs, out| runs.refused(1_000, item(0, 0), Refusal::Until(1_700), out));
    desk.tick_only();
    assert_eq!((desk.offers.len(), desk.runs.next_timer()), (0, Some(1_700)));
    desk.now = 1_700;
    desk.tick_only();
    assert_eq!(desk.offers.len(), 1);
}

#[test]
fn a_closed_partition_takes_its_runs_along() {
    let mut desk = Desk::running(RawDefinition { timeout: Some(9), ..of(vec![step("a", &[])]) }, json!(null));
    assert_eq!(desk.runs.close(2), 0);
    assert_eq!(desk.runs.close(3), 1);
    assert!(desk.runs.is_empty());
    assert_eq!((desk.runs.next_timer(), desk.runs.view(RUN)), (None, None));
    desk.restart();
    assert_eq!(desk.states(), [Active]);
}

#[test]
fn a_restart_of_an_ending_run_keeps_what_was_decided() {
    let raw = RawDefinition {
        on_failure: Some(step("tell", &[])),
        ..of(vec![step("a", &[]), step("b", &[]), step("c", &["b"])])
    };
    let mut desk = Desk::running(raw, json!(null));
    desk.fail(0);
    desk.restart();
    assert_eq!((desk.state(), &desk.states()[..3]), (RunState::Ending, [Failed, Active, Skipped].as_slice()));
    desk.succeed(1, json!(null));
    desk.restart();
    assert_eq!(desk.started(), ["0/0", "1/0", "3/0"]);
    desk.succeed(3, json!(null));
    assert_eq!(desk.state(), RunState::Failed);
}

#[test]
fn records_that_do_not_fit_are_refused_and_leave_nothing_behind() {
    let desk = Desk::running(of(vec![step("a", &[]), each("[1]", step("b", &[]))]), json!(null));
    let (record, steps) = (desk.records[&RUN].clone(), desk.steps.values().cloned().collect::<Vec<_>>());
    let restore = |record: &RunRecord, steps: Vec<StepRecord>| {
        let mut runs = Runs::new(Limits::default());
        let result = runs.restore(0, record.clone(), steps);
        assert_eq!(runs.len(), usize::from(result.is_ok()));
        result
    };
    assert_eq!(restore(&record, steps.clone()), Ok(()));
    let of_step = |step| StepRecord { step, ..steps[0].clone() };
    assert_eq!(restore(&record, vec![of_step(2)]), Err(RestoreError::Misfit { step: 2, item: None }));
    let lonely = steps.iter().find(|record| record.item.is_some()).unwrap().clone();
    assert_eq!(restore(&record, vec![lonely]), Err(RestoreError::Misfit { step: 1, item: Some(0) }));
    let huge = Progress { item_count: u32::MAX, ..Progress::default() };
    let huge = StepRecord { progress: huge, ..steps[0].clone() };
    assert_eq!(restore(&record, vec![huge]), Err(RestoreError::Misfit { step: 0, item: None }));
    let last = StepRecord { item: Some(u32::MAX), ..steps[0].clone() };
    assert_eq!(
        restore(&record, vec![steps[0].clone(), last]),
        Err(RestoreError::Misfit { step: 0, item: Some(u32::MAX) })
    );
    let finished = RunRecord { state: RunState::Failed, ..record.clone() };
    assert_eq!(restore(&finished, vec![]), Err(RestoreError::Final));
    let empty = RunRecord { definition: Arc::new(RawDefinition::default()), ..record };
    assert!(matches!(restore(&empty, vec![]), Err(RestoreError::Definition(_))));
}
