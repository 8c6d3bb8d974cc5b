use mcp_client::value::from_value;
use mcp_proto::scheduler::v1::{
    FailureMode, OverlapPolicy, PlacementStrategy, TaskSpec, WorkflowSpec, schedule::Target, task_spec::Work,
};
use serde_json::{Value, json};

use super::{Resource, resources, schedule, value, workflow};
use crate::output::json::to_json;

/// The page that shows the format to people: what it says has to be right.
const PAGE: &str = include_str!("../../../../docs/workflows.md");

fn spec(text: &str) -> WorkflowSpec {
    workflow(text).unwrap_or_else(|fault| panic!("{fault:?}")).message
}

/// The only step's task.
fn task(step: &str) -> TaskSpec {
    spec(&format!("steps:\n  - {{name: a, {step}}}")).steps[0].task.clone().unwrap()
}

fn argv(task: &TaskSpec) -> Vec<&str> {
    match &task.work {
        Some(Work::Process(process)) => process.argv.iter().map(String::as_str).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_shape_is_that_of_the_http_api() {
    let text = r#"{"name": "n", "steps": [{"name": "a", "task": {"process": {"argv": ["ls"]}, "runTimeout": "5s"},
        "dependsOn": [], "forEach": "[1]", "parallelMax": 2, "failureMode": "FAILURE_MODE_CONTINUE"}]}"#;
    let spec = spec(text);
    let step = &spec.steps[0];
    assert_eq!((&*step.for_each, step.parallel_max, step.failure_mode()), ("[1]", 2, FailureMode::Continue));
    let again = workflow(&to_json(&spec).to_string()).unwrap().message;
    assert_eq!(again, spec, "what `-o json` prints can be submitted again");
}

#[test]
fn names_may_have_either_form() {
    let spec = spec(
        "steps:\n  - {name: a, argv: [ls], depends_on: [b], for_each: x}\n  - {name: b, argv: [ls], dependsOn: []}",
    );
    assert_eq!((&spec.steps[0].depends_on[..], &*spec.steps[0].for_each), (&["b".to_owned()][..], "x"));
}

#[test]
fn short_forms_of_a_step_are_written_out() {
    assert_eq!(argv(&task("run: 'echo a | wc'")), ["sh", "-c", "echo a | wc"]);
    assert_eq!(argv(&task("argv: [sleep, 1.50, true, 0x10]")), ["sleep", "1.50", "true", "0x10"]);
    assert_eq!(argv(&task("argv: ls")), ["ls"]);
    let all =
        task("argv: [x], env: {N: 1}, cwd: /tmp, stdin: hi, queue: q, run_timeout: 1h 30m, retry: {max_attempts: 5}");
    let Some(Work::Process(process)) = &all.work else { panic!("{all:?}") };
    assert_eq!((&*process.env["N"], &*process.cwd, &process.stdin[..]), ("1", "/tmp", &b"hi"[..]));
    assert_eq!((&*all.queue, all.run_timeout.unwrap().seconds, all.retry.unwrap().max_attempts), ("q", 5_400, 5));
    let call = task("handler: resize, input: {width: 300}");
    let Some(Work::Handler(handler)) = call.work else { panic!("not a handler") };
    assert_eq!((&*handler.handler, from_value(handler.input.unwrap())), ("resize", json!({"width": 300})));
}

#[test]
fn short_forms_go_with_long_ones() {
    let mixed = task("queue: q, task: {priority: 3, argv: [x]}");
    assert_eq!((&*mixed.queue, mixed.priority, argv(&mixed)), ("q", 3, vec!["x"]));
    let long = task("task: {handler: {handler: resize, input: 3}}");
    assert!(matches!(long.work, Some(Work::Handler(handler)) if handler.handler == "resize"));
    let spec = spec("steps: []\non_failure: {name: tell, run: 'echo failed'}");
    assert_eq!(argv(&spec.on_failure.unwrap().task.unwrap()), ["sh", "-c", "echo failed"]);
}

#[test]
fn values_may_be_written_as_people_do() {
    let task = task(
        "argv: [x], run_timeout: 500ms, queue_timeout: 1.5s, placement: {strategy: bin-pack, rules: \
        [{key: cores, operator: gt, values: 4}], memory_bytes: 1024}, labels: {year: 2026, on: yes}",
    );
    let nanos = |time: Option<prost_types::Duration>| time.map(|time| (time.seconds, time.nanos)).unwrap();
    assert_eq!((nanos(task.run_timeout), nanos(task.queue_timeout)), ((0, 500_000_000), (1, 500_000_000)));
    let placement = task.placement.unwrap();
    assert_eq!((placement.strategy(), placement.memory_bytes), (PlacementStrategy::BinPack, 1_024));
    assert_eq!(placement.rules[0].values, ["4"]);
    assert_eq!((&*task.labels["year"], &*task.labels["on"]), ("2026", "yes"));
    assert_eq!(
        spec("input: {n: 5, t: '5', l: [1]}\nsteps: []").input.map(from_value),
        Some(json!({"n": 5, "t": "5", "l": [1]}))
    );
}

#[test]
fn faults_have_a_path_and_a_line() {
    for (text, line, why) in [
        ("name: n\nstep: []", 2, "no field `step`"),
        ("steps:\n  - name: a\n    argv: [x]\n    dependson: [b]", 4, "no field `steps[0].dependson`"),
        ("steps:\n  - name: a\n    task:\n      argv: [x]\n      prio: 3", 5, "no field `steps[0].task.prio`"),
        ("steps:\n  - name: a\n    priority: high\n    argv: [x]", 3, "`steps[0].task.priority`"),
        ("steps:\n  - name: a\n    run_timeout: soon\n    argv: [x]", 3, "`steps[0].task.run_timeout`"),
        ("steps:\n  - name: a\n    failure_mode: maybe\n    argv: [x]", 3, "`steps[0].failure_mode`"),
        ("steps:\n  - name: a\n    run: x\n    argv: [x]", 4, "exclude each other"),
        ("steps:\n  - name: a\n    argv: [x]\n    task:\n      process: {argv: [y]}", 3, "`process` is there too"),
        ("steps:\n  - name: a\n    queue: q\n    task: {queue: r}", 3, "stands in the step and in its task"),
        ("steps:\n  - name: a\n    run: [x]", 3, "`run` must be text"),
        ("steps:\n  - name: a\n    queue: q\n    task: 3", 2, "`task` must have fields"),
        ("- a", 1, "must have fields"),
        ("steps: 3", 1, "`steps[0]`"),
        ("name: [a]", 1, "`name`"),
        ("name: n\n steps: []", 2, "not YAML"),
    ] {
        let fault = workflow(text).unwrap_err();
        assert!(fault.why.contains(why), "{text}\n{fault:?}");
        assert_eq!(fault.line, Some(line), "{text}\n{fault:?}");
    }
}

#[test]
fn paths_of_the_server_lead_to_lines() {
    let document = workflow("name: n\nsteps:\n  - name: a\n    argv:\n      - x\n      - '${ nothing }'\n").unwrap();
    assert_eq!(document.line_of("steps[0].task.process.argv[1]"), 6);
    assert_eq!(document.line_of("steps[0].condition"), 3);
}

#[test]
fn a_schedule_starts_a_task_or_a_workflow() {
    let text = "name: report\ncron: '0 7 * * 1-5'\ntime_zone: Europe/Berlin\noverlap: buffer-one\ncatch_up: 1h\n\
                task: {argv: [make-report], queue: nightly}\n";
    let daily = schedule(text).unwrap().message;
    assert_eq!((&daily.cron[..], daily.overlap()), (&["0 7 * * 1-5".to_owned()][..], OverlapPolicy::BufferOne));
    assert_eq!(daily.catch_up.unwrap().seconds, 3_600);
    let Some(Target::Task(task)) = &daily.target else { panic!("no task") };
    assert_eq!((argv(task), &*task.queue), (vec!["make-report"], "nightly"));
    let text = "name: w\nevery: 10m\nworkflow:\n  steps:\n    - {name: a, run: 'true'}\n";
    let Some(Target::Workflow(spec)) = schedule(text).unwrap().message.target else { panic!("no workflow") };
    assert_eq!(argv(spec.steps[0].task.as_ref().unwrap()), ["sh", "-c", "true"]);
    let again = schedule(&to_json(&daily).to_string()).unwrap().message;
    assert_eq!(again, daily, "what `-o json` prints can be put again");
}

#[test]
fn any_value_can_be_an_input() {
    assert_eq!(value("[1, {a: b}]"), Ok(json!([1, {"a": "b"}])));
    assert_eq!(value("{\"a\": \"\\u00e4\\/\"}"), Ok(json!({"a": "ä/"})));
    assert_eq!(value("~"), Ok(Value::Null));
}

#[test]
fn ten_thousand_steps_are_read() {
    let steps: String = (0..10_000).map(|n| format!("  - {{name: s{n}, argv: [echo, {n}]}}\n")).collect();
    assert_eq!(spec(&format!("steps:\n{steps}")).steps.len(), 10_000);
}

#[test]
fn the_examples_of_the_page_are_right() {
    let blocks = PAGE.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let workflows: Vec<WorkflowSpec> = blocks.map(spec).collect();
    let first = workflows.first().expect("the page has an example");
    assert_eq!(first.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["list", "count", "merge"]);
    assert_eq!(
        (&*first.steps[1].for_each, &first.steps[1].depends_on[..]),
        ("steps.list.output", &["list".to_owned()][..])
    );
}

#[test]
fn a_file_holds_any_number_of_routes_and_policies() {
    let text = "id: a\nmatch: {methods: GET, headers: [{name: x, exact: 1}]}\n---\nkind: policy\nid: p\nsettings: {timeout: 1h 30m, json: {unknown_fields: ignore}}\n---\n- id: b\n- {kind: route, id: c}\n";
    let names: Vec<String> = resources(text)
        .unwrap_or_else(|fault| panic!("{fault:?}"))
        .iter()
        .map(|resource| match resource {
            Resource::Route(route) => format!("route {}", route.message.id),
            Resource::Policy(policy) => {
                let settings = policy.message.settings.clone().unwrap();
                assert_eq!((settings.timeout.unwrap().seconds, settings.json.unwrap().unknown_fields), (5_400, 2));
                format!("policy {}", policy.message.id)
            }
        })
        .collect();
    assert_eq!(names, ["route a", "policy p", "route b", "route c"]);
    for (text, line, why) in [
        ("id: a\n---\nkind: x", 3, "`kind`"),
        ("id: a\n---\nmath: {}", 3, "no field `math`"),
        ("- id: a\n- 1", 2, "must have fields"),
    ] {
        let fault = resources(text).unwrap_err();
        assert!(fault.line == Some(line) && fault.why.contains(why), "{text}: {fault:?}");
    }
}
