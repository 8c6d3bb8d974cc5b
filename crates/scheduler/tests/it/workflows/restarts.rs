//! Workflows outlive the scheduler.

use mcp_proto::scheduler::v1::{StepState, WorkflowState};
use serde_json::json;

use super::{Plant, assert_succeeded, echo, output, states, step, task, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_goes_on_where_it_was_and_no_step_runs_twice() {
    let mut plant = Plant::start().await;
    let items: Vec<u32> = (0..6).collect();
    let spec = json!({"input": {"items": items, "by": 10}, "steps": [
        echo("first", json!("${input.by}"), &[]),
        with(task("each", "gate", json!("${item * steps.first.output}"), &["first"]),
             json!({"forEach": "input.items", "parallelMax": 2})),
        echo("sum", json!("${steps.each.output}"), &["each"]),
        task("other", "gate", json!("o"), &["first"]),
    ]});
    let id = plant.submit(spec).await;
    plant.begun(4).await; // first, two items, other
    plant.scheduler.restart().await;
    let restored = plant.get(&id).await;
    assert_eq!(states(&restored), ["first succeeded", "each active", "sum blocked", "other active"]);
    plant.open_gate(3);
    plant.begun(6).await;
    plant.scheduler.restart().await;
    plant.open_gate(4);
    let done = plant.wait(&id).await;
    assert_succeeded(&done);
    assert_eq!(output(&done.output), json!({"sum": [0, 10, 20, 30, 40, 50], "other": "o"}));
    assert_eq!((plant.starts("first"), plant.starts("each"), plant.starts("other"), plant.starts("sum")), (1, 6, 1, 1));
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pause_cancel_and_failure_are_remembered() {
    let mut plant = Plant::start().await;
    let spec = || json!({"steps": [task("a", "gate", json!(1), &[]), echo("b", json!(1), &["a"])]});
    let (paused, cancelled) = (plant.submit(spec()).await, plant.submit(spec()).await);
    plant.begun(2).await;
    plant.pause(&paused).await.unwrap();
    plant.cancel(&cancelled, "enough").await.unwrap();
    plant.scheduler.restart().await;
    let ended = plant.wait(&cancelled).await;
    assert_eq!(ended.state(), WorkflowState::Cancelled);
    assert!(ended.error.unwrap().message.contains("enough"));
    plant.open_gate(2);
    let waiting = plant.reaches(&paused, "a", StepState::Succeeded).await;
    assert_eq!((waiting.state(), states(&waiting)[1].as_str()), (WorkflowState::Paused, "b blocked"));
    plant.resume(&paused).await.unwrap();
    assert_succeeded(&plant.wait(&paused).await);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_workflow_is_shown_as_it_ended_and_can_be_run_again() {
    let mut plant = Plant::start().await;
    plant.set_broken(true);
    let spec = json!({"name": "kept", "steps": [
        with(echo("each", json!("${item}"), &[]), json!({"forEach": "[7, 8]"})),
        task("bad", "flaky", json!("${steps.each.output[1]}"), &["each"]),
    ]});
    let failed = plant.run(spec).await;
    plant.scheduler.restart().await;
    let read = plant.get(&failed.id).await;
    assert_eq!(read, failed);
    assert_eq!(output(&step(&read, "each").output), json!([7, 8]));
    plant.set_broken(false);
    let id = plant.rerun(&failed.id, "", None).await.unwrap();
    plant.scheduler.restart().await;
    let done = plant.wait(&id).await;
    assert_succeeded(&done);
    assert_eq!(
        (states(&done), output(&done.output)),
        (vec!["each reused".into(), "bad succeeded".into()], json!({"bad": 8}))
    );
    plant.stop().await;
}
