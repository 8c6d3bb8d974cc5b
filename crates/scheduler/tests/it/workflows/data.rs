//! What goes into steps and comes out of them.

use mcp_proto::scheduler::v1::StepState;
use serde_json::json;

use super::{Plant, assert_succeeded, echo, output, states, step, with};

#[tokio::test(flavor = "multi_thread")]
async fn expressions_see_the_input_the_steps_before_and_the_workflow_itself() {
    let plant = Plant::start().await;
    let id = plant
        .submit(json!({
            "name": "data",
            "input": {"n": 20, "names": ["Ada", "Bob"], "flag": true},
            "steps": [
                echo("a", json!({"twice": "${input.n * 2}", "text": "n is ${input.n}, $${not this}", "flag": "${input.flag}"}), &[]),
                echo("b", json!("${steps.a.output.twice + 2}"), &["a"]),
                echo("c", json!(["${steps.a.state}", "${workflow.name}", "${workflow.id}", "${input.names[1]}"]), &["b"]),
            ],
            "output": "{'sum': steps.b.output, 'who': steps.c.output[3]}",
        }))
        .await;
    let done = plant.wait(&id).await;
    assert_succeeded(&done);
    let a = output(&step(&done, "a").output);
    assert_eq!(a, json!({"twice": 40, "text": "n is 20, ${not this}", "flag": true}));
    assert_eq!(output(&step(&done, "c").output), json!(["SUCCEEDED", "data", id, "Bob"]));
    assert_eq!(output(&done.output), json!({"sum": 42, "who": "Bob"}));
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_decides_whether_a_step_runs() {
    let plant = Plant::start().await;
    let done = plant
        .run(json!({"input": {"size": 7}, "steps": [
            echo("measure", json!("${input.size}"), &[]),
            with(echo("large", json!("L"), &["measure"]), json!({"condition": "steps.measure.output >= 10"})),
            with(echo("small", json!("S"), &["measure"]), json!({"condition": "steps.measure.output < 10"})),
            echo("after", json!("${steps.small.state} ${steps.large.state}"), &["large", "small"]),
        ]}))
        .await;
    assert_succeeded(&done);
    assert_eq!(states(&done), ["measure succeeded", "large skipped", "small succeeded", "after succeeded"]);
    assert_eq!(output(&done.output), json!({"after": "SUCCEEDED SKIPPED"}));
    assert_eq!((plant.starts("large"), plant.starts("small")), (0, 1));
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_says_whose_step_it_is_and_carries_the_marks_of_its_workflow() {
    let plant = Plant::start().await;
    let mut own = echo("own", json!(1), &[]);
    own["task"]["labels"] = json!({"team": "mine", "own": "1"});
    let spec =
        json!({"namespace": "tenant", "queue": "jobs", "labels": {"team": "theirs", "env": "test"}, "steps": [own]});
    let id = plant.submit(spec).await;
    let done = plant.wait(&id).await;
    assert_succeeded(&done);
    let task = plant.scheduler.get(&step(&done, "own").task_ids[0]).await;
    assert_eq!((task.workflow_id.as_str(), task.step.as_str()), (id.as_str(), "own"));
    let spec = task.spec.unwrap();
    assert_eq!((spec.namespace.as_str(), spec.queue.as_str()), ("tenant", "jobs"));
    let labels: Vec<_> = spec.labels.iter().map(|(key, label)| format!("{key}={label}")).collect();
    assert_eq!(labels, ["env=test", "own=1", "team=mine"]);
    let spec = done.spec.unwrap();
    let shown = spec.steps[0].task.clone().unwrap();
    assert_eq!((shown.queue.as_str(), shown.retry.unwrap().max_attempts), ("jobs", 3), "defaults are filled in");
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_a_step_are_those_of_its_task() {
    let plant = Plant::start().await;
    let mut slow = super::task("slow", "gate", json!(1), &[]);
    slow["task"]["runTimeout"] = json!("0.1s");
    slow["task"]["retry"] = json!({"maxAttempts": 2, "initialBackoff": "0.01s"});
    let done = plant.run(json!({"steps": [slow]})).await;
    assert_eq!((step(&done, "slow").state(), plant.starts("slow")), (StepState::Failed, 2));
    assert_eq!(done.error.unwrap().name, "RUN_TIMEOUT");
    plant.stop().await;
}
