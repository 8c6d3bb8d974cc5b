//! What a check refuses, and in which words.

use std::time::Instant;

use serde_json::json;

use super::*;

fn task() -> Json {
    json!({"handler": {"handler": "work", "input": null}}).into()
}

fn with_input(input: &str) -> Json {
    json!({"handler": {"handler": "work", "input": input}}).into()
}

fn step(name: &str, depends_on: &[&str]) -> RawStep {
    let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
    RawStep { name: name.to_owned(), task: task(), depends_on, ..RawStep::default() }
}

fn of(steps: Vec<RawStep>) -> RawDefinition {
    RawDefinition { steps, ..RawDefinition::default() }
}

fn faults(raw: RawDefinition) -> Vec<String> {
    let faults = Definition::check(raw).expect_err("it is wrong");
    faults.into_iter().map(|fault| format!("{}: {}", fault.field, fault.description)).collect()
}

#[test]
fn a_right_workflow_passes() {
    let raw = RawDefinition {
        name: "report".to_owned(),
        steps: vec![
            RawStep {
                task: with_input("${steps.fetch.output} ${steps.list.state} ${item}"),
                for_each: "steps.list.output".to_owned(),
                ..step("parse", &["fetch"])
            },
            RawStep { condition: "steps.list.output.size() > 0".to_owned(), ..step("fetch", &["list"]) },
            step("list", &[]),
        ],
        on_failure: Some(RawStep { task: with_input("${steps.parse.error.message}"), ..step("tell", &[]) }),
        output: "steps.parse.output".to_owned(),
        timeout: Some(1),
    };
    let definition = Definition::check(raw).unwrap();
    assert_eq!(definition.step_count(), 3);
    assert_eq!(definition.on_failure(), Some(3));
    assert_eq!(definition.steps[2].dependents, [1]);
}

/// Each workflow has one fault, which starts with the text beside it.
fn assert_faults<const N: usize>(table: [(RawDefinition, &str); N]) {
    for (raw, expected) in table {
        let faults = faults(raw);
        assert!(faults[0].starts_with(expected), "{faults:#?}\n{expected}");
        assert_eq!(faults.len(), 1, "{faults:#?}");
    }
}

#[test]
fn each_fault_of_the_graph_is_named_with_its_field() {
    let a = || step("a", &[]);
    assert_faults([
        (of(vec![]), "workflow.steps: there are 0 steps; 1 to 10000 are allowed"),
        (
            RawDefinition { name: "x".repeat(201), ..of(vec![a()]) },
            "workflow.name: has 201 bytes; at most 200 are allowed",
        ),
        (
            RawDefinition { timeout: Some(0), ..of(vec![a()]) },
            "workflow.timeout: must be more than 0 and at most 366 days",
        ),
        (
            of(vec![step("", &[])]),
            "workflow.steps[0].name: `` must be a letter or `_`, then at most 62 of `a-zA-Z0-9_`",
        ),
        (
            of(vec![step("1a", &[])]),
            "workflow.steps[0].name: `1a` must be a letter or `_`, then at most 62 of `a-zA-Z0-9_`",
        ),
        (
            of(vec![step("a-b", &[])]),
            "workflow.steps[0].name: `a-b` must be a letter or `_`, then at most 62 of `a-zA-Z0-9_`",
        ),
        (of(vec![a(), a()]), "workflow.steps[1].name: `a` is already the name of steps[0]"),
        (
            of(vec![step("fetch", &[]), step("b", &["fecth"])]),
            "workflow.steps[1].depends_on[0]: there is no step `fecth`; did you mean `fetch`?",
        ),
        (of(vec![a(), step("b", &["zzzz"])]), "workflow.steps[1].depends_on[0]: there is no step `zzzz`"),
        (of(vec![a(), step("b", &["a", "a"])]), "workflow.steps[1].depends_on[1]: `a` is there twice"),
        (of(vec![step("a", &["a"])]), "workflow.steps[0].depends_on: steps wait for each other: a -> a"),
        (
            of(vec![step("a", &["b"]), step("b", &["a"])]),
            "workflow.steps[0].depends_on: steps wait for each other: a -> b -> a",
        ),
    ]);
}

#[test]
fn each_fault_of_an_expression_or_a_task_is_named_with_its_field() {
    let a = || step("a", &[]);
    let condition = |text: &str| RawStep { condition: text.to_owned(), ..step("b", &["a"]) };
    assert_faults([
        (of(vec![a(), condition("1 +")]), "workflow.steps[1].condition: mismatched input '<EOF>'"),
        (of(vec![a(), condition("steps.z.state == ''")]), "workflow.steps[1].condition: there is no step `z`"),
        (
            of(vec![a(), condition("steps.b.state == ''")]),
            "workflow.steps[1].condition: refers to step `b`, which `b` does not depend on",
        ),
        (
            of(vec![a(), condition("item == 1")]),
            "workflow.steps[1].condition: `item` is there only in the task of a step with `for_each`",
        ),
        (of(vec![RawStep { for_each: "item".to_owned(), ..a() }]), "workflow.steps[0].for_each: `item` is there only"),
        (
            of(vec![RawStep { task: with_input("${item}"), ..a() }]),
            "workflow.steps[0].task.handler.input: in `${item}`: `item` is there only",
        ),
        (
            of(vec![RawStep { task: with_input("${steps.b.output}"), ..a() }, step("b", &[])]),
            "workflow.steps[0].task: refers to step `b`, which `a` does not depend on",
        ),
        (
            of(vec![RawStep { for_each: "steps.b.output".to_owned(), ..a() }, step("b", &["a"])]),
            "workflow.steps[0].for_each: refers to step `b`, which `a` does not depend on",
        ),
        (
            of(vec![RawStep { task: with_input("${1"), ..a() }]),
            "workflow.steps[0].task.handler.input: `${` is not closed by `}`",
        ),
        (
            of(vec![RawStep { task: Json::default(), ..a() }]),
            "workflow.steps[0].task: must be set: it says what to run",
        ),
        (
            of(vec![RawStep { task: json!({"uniqueKey": "k"}).into(), ..a() }]),
            "workflow.steps[0].task.uniqueKey: must be empty in a step",
        ),
        (
            RawDefinition { output: "steps.z.output".to_owned(), ..of(vec![a()]) },
            "workflow.output: there is no step `z`",
        ),
        (
            RawDefinition { on_failure: Some(a()), ..of(vec![a()]) },
            "workflow.on_failure.name: `a` is already the name of steps[0]",
        ),
        (
            RawDefinition { on_failure: Some(step("f", &["a"])), ..of(vec![a()]) },
            "workflow.on_failure.depends_on: must be empty: it runs after every other step",
        ),
        (
            RawDefinition {
                on_failure: Some(RawStep { task: with_input("${steps.f.state}"), ..step("f", &[]) }),
                ..of(vec![a()])
            },
            "workflow.on_failure.task.handler.input: in `${steps.f.state}`: there is no step `f`",
        ),
    ]);
}

#[test]
fn several_faults_come_together_but_not_too_many() {
    let raw = of((0..100).map(|number| step(&format!("s{number}"), &["nobody"])).collect());
    assert_eq!(faults(raw).len(), FAULTS_MAX);
    let raw = of(vec![step("a", &["x"]), RawStep { condition: "1 +".to_owned(), ..step("b", &["b"]) }]);
    assert_eq!(faults(raw).len(), 3);
}

#[test]
fn a_long_circle_is_shortened() {
    let steps = (0..100).map(|number| step(&format!("s{number}"), &[&format!("s{}", (number + 1) % 100)]));
    let faults = faults(of(steps.collect()));
    assert_eq!(
        faults,
        [
            "workflow.steps[0].depends_on: 100 steps wait for each other: s0 -> s1 -> s2 -> s3 -> s4 -> s5 -> ... -> s95 -> s96 -> s97 -> s98 -> s99 -> s0"
        ]
    );
}

#[test]
fn there_are_bounds_on_steps_dependencies_and_patterns() {
    let many = |count| of((0..count).map(|number| step(&format!("s{number}"), &[])).collect());
    assert!(Definition::check(many(STEPS_MAX)).is_ok());
    assert_eq!(faults(many(STEPS_MAX + 1)), ["workflow.steps: there are 10001 steps; 1 to 10000 are allowed"]);
    let names: Vec<_> = (0..450).map(|number| format!("s{number}")).collect();
    let dense = (0..450).map(|number| {
        let before: Vec<_> = names[..number].iter().map(String::as_str).collect();
        step(&names[number], &before)
    });
    assert_eq!(
        faults(of(dense.collect())),
        ["workflow.steps: there are 101025 dependencies; at most 100000 are allowed"]
    );
    let patterns = (0..101)
        .map(|number| RawStep { condition: format!("'a'.matches('{number}')"), ..step(&format!("s{number}"), &[]) });
    assert_eq!(faults(of(patterns.collect())), ["workflow.steps[100].condition: there are more than 100 patterns"]);
}

#[test]
fn expressions_with_the_same_text_are_compiled_once() {
    let same = |name| RawStep { condition: "input.size() > 0".to_owned(), ..step(name, &[]) };
    let definition = Definition::check(of(vec![same("a"), same("b")])).unwrap();
    let [a, b] = [0, 1].map(|step: usize| definition.steps[step].condition.clone().unwrap());
    assert!(Arc::ptr_eq(&a, &b));
}

/// A chain in which each step looks at the first and at the one before.
fn chain(length: usize) -> RawDefinition {
    let steps = (0..length).map(|number| {
        let name = format!("s{number}");
        let Some(before) = number.checked_sub(1) else { return step(&name, &[]) };
        RawStep {
            task: with_input(&format!("${{steps.s0.output}} ${{steps.s{before}.output}}")),
            condition: format!("steps.s{before}.state != 'FAILED'"),
            ..step(&name, &[&format!("s{before}")])
        }
    });
    of(steps.collect())
}

#[test]
fn ten_thousand_steps_are_checked_fast() {
    let raw = chain(STEPS_MAX);
    let took = (0..3).map(|_| {
        let raw = raw.clone();
        let start = Instant::now();
        assert!(Definition::check(raw).is_ok());
        start.elapsed()
    });
    let took = took.min().unwrap();
    println!("10,000 steps checked in {took:?}");
    // Far above what it takes, and far below what anything quadratic would.
    assert!(took.as_secs() < 5, "{took:?}");
}
