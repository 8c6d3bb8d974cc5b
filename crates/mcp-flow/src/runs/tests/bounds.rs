//! Many steps, many items, many runs: what one call does stays bounded, and the whole stays fast.

use std::time::{Duration, Instant};

use super::*;
use crate::STEPS_MAX;

fn took<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let done = act();
    let took = start.elapsed();
    println!("{what}: {took:?}");
    assert!(took < Duration::from_secs(10), "{what} took {took:?}");
    done
}

fn chain() -> RawDefinition {
    let steps = (0..STEPS_MAX).map(|number| match number.checked_sub(1) {
        None => step("s0", &[]),
        Some(before) => with_input(
            &format!("${{steps.s{before}.output + 1}}"),
            step(&format!("s{number}"), &[&format!("s{before}")]),
        ),
    });
    of(steps.collect())
}

fn wide() -> RawDefinition {
    let mut steps: Vec<_> = (0..STEPS_MAX - 1).map(|number| step(&format!("s{number}"), &[])).collect();
    let names: Vec<_> = steps.iter().map(|step| step.name.clone()).collect();
    steps.push(RawStep { depends_on: names, ..step("last", &[]) });
    of(steps)
}

#[test]
fn a_chain_of_ten_thousand_steps_runs_through() {
    let mut desk = Desk::running(chain(), json!(null));
    took("a chain of 10,000 steps", || {
        for number in 0..u32::try_from(STEPS_MAX).unwrap() {
            desk.succeed(number, json!(number));
        }
    });
    assert_eq!(desk.output(), json!({"s9999": 9999}));
}

#[test]
fn ten_thousand_steps_side_by_side_run_through_and_restart_fast() {
    let mut desk = Desk::running(wide(), json!(null));
    assert_eq!(desk.tasks.len(), STEPS_MAX - 1);
    took("9,000 ends", || {
        for number in 0..9_000 {
            desk.succeed(number, json!({"n": number}));
        }
    });
    took("a restart in the middle", || desk.restart());
    took("999 ends and the join", || {
        for number in 9_000..10_000 {
            desk.succeed(number, json!(null));
        }
    });
    assert_eq!(desk.state(), RunState::Succeeded);
}

#[test]
fn ten_thousand_items_run_through_and_join() {
    let items: Vec<u32> = (0..10_000).collect();
    let steps = vec![
        each("input", step("a", &[])),
        with_input("${size(steps.a.output)} ${steps.a.output[9999]}", step("b", &["a"])),
    ];
    let mut desk = took("10,000 items start", || Desk::running(of(steps), json!(items)));
    assert_eq!(desk.tasks.len(), 10_000);
    took("5,000 ends", || {
        for number in 0..5_000 {
            assert!(desk.end(item(0, number), ItemEnd::Succeeded { output: Some(json!(number).into()) }));
        }
    });
    took("a restart in the middle", || desk.restart());
    took("5,000 more", || {
        for number in (5_000..10_000).rev() {
            assert!(desk.end(item(0, number), ItemEnd::Succeeded { output: Some(json!(number).into()) }));
        }
    });
    assert_eq!(desk.view().steps[0].output.as_ref().unwrap()[9_999], 9_999);
    assert!(desk.started().contains(&"1/0".to_owned()));
}

#[test]
fn the_end_of_an_item_writes_little_however_many_there_are() {
    let items: Vec<u32> = (0..10_000).collect();
    let mut desk = Desk::running(of(vec![each("input", step("a", &[]))]), json!(items));
    let mut out = Vec::new();
    let task = desk.tasks[&item(0, 77)];
    desk.runs.ended(1_000, item(0, 77), task, ItemEnd::Succeeded { output: None }, &mut out);
    desk.runs.tick(1_000, &mut out);
    let [Effect::SaveStep(record)] = out.as_slice() else { panic!("{out:?}") };
    assert!(serde_json::to_vec(record).unwrap().len() < 300);
}

#[test]
fn more_items_than_are_allowed_fail_the_step() {
    let items: Vec<u32> = (0..10_001).collect();
    let desk = Desk::running(of(vec![each("input", step("a", &[]))]), json!(items));
    assert_eq!(desk.error()["message"], "for_each of step `a`: it gave 10001 items; at most 10000 are allowed");
}

#[test]
fn a_tick_starts_a_bounded_number_of_things() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(wide(), json!(null));
    let mut started = 0;
    for _ in 0..20 {
        let mut out = Vec::new();
        desk.runs.tick(1_000, &mut out);
        let submits = out.iter().filter(|effect| matches!(effect, Effect::Submit { .. })).count();
        assert!(submits <= 1_000, "{submits}");
        started += submits;
    }
    assert_eq!(started, STEPS_MAX - 1);
    assert_eq!(desk.runs.next_timer(), None);
}

#[test]
fn a_cascade_of_skipped_steps_is_bounded_too() {
    let mut raw = chain();
    raw.steps.iter_mut().for_each(|step| step.condition = "false".to_owned());
    let mut desk = Desk::new(Limits::default());
    desk.submit(raw, json!(null));
    let mut ticks = 0;
    while desk.runs.next_timer() == Some(0) {
        let before = desk.steps.len();
        desk.tick_only();
        ticks += 1;
        assert!(desk.steps.len() <= before + 1_000);
    }
    assert!(ticks >= 10);
    assert_eq!(desk.state(), RunState::Succeeded);
}

#[test]
fn a_tick_does_a_bounded_amount_of_work() {
    let numbers: Vec<u32> = (0..3_000).collect();
    let heavy = with_input("${input.map(x, x * 2).filter(x, x > 5).size()}", each("input", step("a", &[])));
    let heavy = RawStep { for_each: "input".to_owned(), ..heavy };
    let mut desk = Desk::new(Limits { effort_per_tick: 100_000, ..Limits::default() });
    desk.submit(of(vec![heavy]), json!(numbers));
    for tick in 1..=10 {
        desk.tick_only();
        let offered = desk.offers.len();
        assert!(offered + 1 >= tick && offered < tick * 10, "{offered} after {tick} ticks");
        assert_eq!(desk.runs.next_timer(), Some(0));
    }
}

#[test]
fn one_large_run_does_not_hold_up_another() {
    let mut desk = Desk::new(Limits::default());
    desk.submit(wide(), json!(null));
    let definition = desk.runs.definition(&Arc::new(of(vec![step("a", &[])]))).unwrap();
    let (input, extra) = (Json::default(), Json::default());
    let small = Submission { id: RunId(9), partition: 0, definition, input, extra, trace: String::new() };
    desk.call(|runs, out| runs.submit(1_000, small, out)).unwrap();
    desk.tick_only();
    assert!(desk.offers.iter().any(|(item, _)| item.run == RunId(9)));
}

#[test]
fn there_are_only_so_many_runs() {
    let mut runs = Runs::new(Limits { runs_max: 2, ..Limits::default() });
    let definition = runs.definition(&Arc::new(of(vec![step("a", &[])]))).unwrap();
    let mut submit = |id| {
        let (input, extra) = (Json::default(), Json::default());
        let submission = Submission {
            id: RunId(id),
            partition: 0,
            definition: definition.clone(),
            input,
            extra,
            trace: String::new(),
        };
        runs.submit(0, submission, &mut Vec::new())
    };
    assert_eq!(
        [submit(1), submit(1), submit(2), submit(3)],
        [Ok(()), Err(Refused::Exists), Ok(()), Err(Refused::Full(2))]
    );
}

#[test]
fn a_step_keeps_only_the_first_ids_of_its_tasks() {
    let items: Vec<u32> = (0..200).collect();
    let mut desk = Desk::running(of(vec![each("input", step("a", &[]))]), json!(items));
    assert_eq!(desk.view().steps[0].tasks.len(), TASK_IDS_MAX);
    desk.restart();
    assert_eq!(desk.view().steps[0].tasks.len(), TASK_IDS_MAX);
}
