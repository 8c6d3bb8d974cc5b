//! Cancel, pause, resume, keys.

use mcp_proto::{
    Code,
    scheduler::v1::{StepState, TaskState, WorkflowState},
};
use serde_json::json;

use super::{Plant, assert_succeeded, echo, states, step, task, with};
use crate::support::code;

const NOBODY: &str = "018f3b1e-7c1a-7000-8000-0123456789ab";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_stops_what_runs_and_starts_nothing_further() {
    let plant = Plant::start().await;
    let spec = json!({
        "steps": [
            with(task("each", "gate", json!("${item}"), &[]), json!({"forEach": "[1, 2, 3, 4]", "parallelMax": 2})),
            echo("after", json!(1), &["each"]),
        ],
        "onFailure": echo("tell", json!(1), &[]),
    });
    let id = plant.submit(spec).await;
    plant.begun(2).await;
    let answered = plant.cancel(&id, "not needed any more").await.unwrap();
    assert!(matches!(answered.state(), WorkflowState::Ending | WorkflowState::Cancelled), "{:?}", answered.state());
    let done = plant.wait(&id).await;
    assert_eq!(done.state(), WorkflowState::Cancelled);
    assert_eq!(states(&done), ["each cancelled", "after cancelled", "tell cancelled"]);
    assert!(done.error.clone().unwrap().message.contains("not needed any more"), "{:?}", done.error);
    for id in &step(&done, "each").task_ids {
        let task = plant.scheduler.wait(id).await;
        assert_eq!(task.state(), TaskState::Cancelled);
        assert!(task.error.unwrap().message.contains("not needed any more"));
    }
    assert_eq!((step(&done, "each").task_ids.len(), plant.starts("after"), plant.starts("tell")), (2, 0, 0));
    assert_eq!(code(plant.cancel(&id, "").await), Code::WorkflowFinished);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_workflow_finishes_what_runs_and_waits() {
    let plant = Plant::start().await;
    let spec = json!({"steps": [task("a", "gate", json!(1), &[]), echo("b", json!(2), &["a"])]});
    let id = plant.submit(spec).await;
    plant.begun(1).await;
    assert_eq!(plant.pause(&id).await.unwrap().state(), WorkflowState::Paused);
    plant.open_gate(1);
    let paused = plant.reaches(&id, "a", StepState::Succeeded).await;
    assert_eq!((paused.state(), states(&paused)[1].as_str()), (WorkflowState::Paused, "b blocked"));
    assert_eq!(plant.pause(&id).await.unwrap().state(), WorkflowState::Paused, "a repeat changes nothing");
    // A task that is submitted after it has been through the loop: still nothing has started.
    let marker = plant.scheduler.submit(crate::support::handler("echo")).await;
    plant.scheduler.wait(&marker).await;
    assert_eq!(plant.starts("b"), 0);
    plant.resume(&id).await.unwrap();
    assert_succeeded(&plant.wait(&id).await);
    assert_eq!(plant.starts("b"), 1);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_not_in_the_right_state_is_refused() {
    let plant = Plant::start().await;
    assert_eq!(code(plant.try_get(NOBODY).await), Code::WorkflowNotFound);
    assert_eq!(code(plant.cancel(NOBODY, "").await), Code::WorkflowNotFound);
    assert_eq!(code(plant.pause(NOBODY).await), Code::WorkflowNotFound);
    assert_eq!(code(plant.rerun(NOBODY, "", None).await), Code::WorkflowNotFound);
    assert_eq!(code(plant.try_get("x").await), Code::InvalidArgument);
    assert_eq!(code(plant.cancel(NOBODY, &"x".repeat(201)).await), Code::InvalidArgument);

    let id = plant.submit(json!({"steps": [task("a", "gate", json!(1), &[])]})).await;
    assert_eq!(code(plant.rerun(&id, "", None).await), Code::FailedPrecondition);
    plant.open_gate(1);
    plant.wait(&id).await;
    assert_eq!(code(plant.pause(&id).await), Code::WorkflowFinished);
    assert_eq!(code(plant.resume(&id).await), Code::WorkflowFinished);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_submit_finds_the_first_workflow_also_after_a_restart() {
    let mut plant = Plant::start().await;
    let spec = |n: u32| super::workflow(json!({"idempotencyKey": "k", "steps": [echo("a", json!(n), &[])]}));
    let first = plant.try_submit(spec(1)).await.unwrap();
    assert!(!first.deduplicated);
    for round in 0..2 {
        let again = plant.try_submit(spec(1)).await.unwrap();
        assert_eq!((again.workflow_id.as_str(), again.deduplicated), (first.workflow_id.as_str(), true), "{round}");
        assert_eq!(code(plant.try_submit(spec(2)).await), Code::IdempotencyConflict);
        plant.wait(&first.workflow_id).await;
        plant.scheduler.restart().await;
    }
    let mut elsewhere = spec(2);
    elsewhere.queue = "other".to_owned();
    assert!(!plant.try_submit(elsewhere).await.unwrap().deduplicated, "a key belongs to its queue");
    plant.stop().await;
}
