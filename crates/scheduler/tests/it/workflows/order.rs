//! What runs after what.

use std::sync::atomic::Ordering;

use mcp_proto::scheduler::v1::StepState;
use serde_json::json;

use super::{Plant, assert_succeeded, echo, output, states, step, task, with};

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_after_those_they_depend_on_and_side_by_side_otherwise() {
    let plant = Plant::start().await;
    let spec = json!({"name": "diamond", "steps": [
        task("last", "echo", json!(4), &["left", "right"]),
        task("left", "gate", json!(2), &["first"]),
        task("right", "gate", json!(3), &["first"]),
        task("first", "echo", json!(1), &[]),
    ]});
    let id = plant.submit(spec).await;
    plant.begun(3).await;
    let middle = plant.get(&id).await;
    assert_eq!(states(&middle), ["last blocked", "left active", "right active", "first succeeded"]);
    assert_eq!(step(&middle, "last").waits_for, ["left", "right"]);
    assert_eq!((middle.step_count, middle.steps_ended), (4, 1));
    plant.open_gate(2);
    let done = plant.wait(&id).await;
    assert_succeeded(&done);
    assert_eq!((done.step_count, done.steps_ended), (4, 4));
    for (before, after) in [("end first", "start left"), ("end first", "start right"), ("end left", "start last")] {
        assert!(plant.at(before) < plant.at(after), "{:?}", plant.journal());
    }
    assert!(plant.at("end right") < plant.at("start last"));
    assert_eq!(output(&done.output), json!({"last": 4}));
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_runs_for_each_item_of_a_list_that_is_known_only_then() {
    let plant = Plant::start().await;
    let done = plant
        .run(json!({"input": {"count": 5}, "steps": [
            echo("list", json!(["a", "b", "c", "d"]), &[]),
            with(echo("each", json!({"at": "${index}", "of": "${item}${item}"}), &["list"]),
                 json!({"forEach": "steps.list.output.filter(x, x != 'c')"})),
            echo("all", json!({"got": "${steps.each.output.map(x, x.of)}", "n": "${size(steps.each.output)}"}), &["each"]),
        ]}))
        .await;
    assert_succeeded(&done);
    assert_eq!(output(&done.output), json!({"all": {"got": ["aa", "bb", "dd"], "n": 3}}));
    let each = step(&done, "each");
    assert_eq!((each.item_count, each.items_ended, each.task_ids.len()), (3, 3, 3));
    assert_eq!(output(&each.output)[2], json!({"at": 2, "of": "dd"}));
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_items_run_at_a_time_than_the_step_allows() {
    let plant = Plant::start().await;
    let items: Vec<u32> = (0..12).collect();
    let spec = json!({"input": items, "steps": [
        with(task("each", "gate", json!("${item}"), &[]), json!({"forEach": "input", "parallelMax": 3})),
    ]});
    let id = plant.submit(spec).await;
    for passed in 0..4 {
        plant.begun(3 * (passed + 1)).await;
        plant.open_gate(3);
    }
    let done = plant.wait(&id).await;
    assert_succeeded(&done);
    assert_eq!(plant.state.running_max.load(Ordering::SeqCst), 3);
    assert_eq!(output(&done.output), json!({"each": items}));
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_is_done_at_once() {
    let plant = Plant::start().await;
    let done = plant
        .run(json!({"steps": [
            with(echo("none", json!("${item}"), &[]), json!({"forEach": "[]"})),
            echo("after", json!("${steps.none.output}"), &["none"]),
        ]}))
        .await;
    assert_succeeded(&done);
    assert_eq!((output(&done.output), step(&done, "none").state()), (json!({"after": []}), StepState::Succeeded));
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_of_other_queues_belong_to_the_workflow_too() {
    let plant = Plant::start().await;
    let queues = ["q1", "q2", "q3", "q4", "q5", "q6", "q7"];
    let mut steps: Vec<_> = queues
        .iter()
        .map(|queue| {
            let task = json!({"name": queue, "queue": queue, "handler": {"handler": "echo", "input": queue}});
            json!({"name": queue, "task": task})
        })
        .collect();
    steps.push(echo("sum", json!("${steps.q1.output + steps.q7.output}"), &queues));
    let done = plant.run(json!({"queue": "home", "steps": steps})).await;
    assert_succeeded(&done);
    assert_eq!(output(&done.output), json!({"sum": "q1q7"}));
    for (name, queue) in [("q3", "q3"), ("sum", "home")] {
        let task = plant.scheduler.get(&step(&done, name).task_ids[0]).await;
        assert_eq!(task.spec.unwrap().queue, queue);
    }
    plant.stop().await;
}
