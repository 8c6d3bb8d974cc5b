//! Schedules that start workflows.

use mcp_proto::{
    Code, Error,
    scheduler::v1::{FireOutcome, ListWorkflowsRequest, OverlapPolicy, Schedule, WorkflowState, schedule::Target},
};
use serde_json::{Value, json};

use super::{Plant, assert_succeeded, echo, task, workflow};
use crate::schedules::{Book, idle};

fn schedule(spec: Value, overlap: OverlapPolicy) -> Schedule {
    Schedule { target: Some(Target::Workflow(workflow(spec))), overlap: overlap.into(), ..idle() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_starts_a_workflow_and_hears_of_its_end() {
    let mut plant = Plant::start().await;
    let spec = json!({"queue": "jobs", "steps": [task("a", "gate", json!(1), &[]), echo("b", json!(2), &["a"])]});
    let book = Book::of(&plant.scheduler);
    book.put(schedule(spec, OverlapPolicy::Skip)).await;
    let fire = book.trigger().await;
    assert_eq!((fire.outcome(), fire.task_id.as_str()), (FireOutcome::Ran, ""));
    let id = fire.workflow_id;
    plant.begun(1).await;
    plant.scheduler.restart().await;
    let book = Book::of(&plant.scheduler);
    assert_eq!(book.trigger().await.outcome(), FireOutcome::Skipped, "the first one still runs");
    plant.open_gate(1);
    assert_succeeded(&plant.wait(&id).await);
    plant.open_gate(1);
    let second = book.trigger().await;
    assert_eq!(second.outcome(), FireOutcome::Ran, "the end was heard");
    assert_succeeded(&plant.wait(&second.workflow_id).await);
    let request = ListWorkflowsRequest {
        namespace: "default".to_owned(),
        queue: "jobs".to_owned(),
        ..ListWorkflowsRequest::default()
    };
    assert_eq!(plant.list(request).await.workflows.len(), 2, "wherever they live, they are of their queue");
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_fire_cancels_the_workflow_of_an_earlier_one() {
    let plant = Plant::start().await;
    let spec = json!({"steps": [task("a", "gate", json!(1), &[])]});
    let book = Book::of(&plant.scheduler);
    book.put(schedule(spec, OverlapPolicy::CancelOther)).await;
    let first = book.trigger().await.workflow_id;
    plant.begun(1).await;
    book.trigger().await;
    assert_eq!(plant.wait(&first).await.state(), WorkflowState::Cancelled);
    plant.begun(2).await;
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_whose_workflow_is_wrong_is_refused() {
    let plant = Plant::start().await;
    let spec = json!({"steps": [echo("a", json!("${steps.b.output}"), &[])]});
    let refused = Book::of(&plant.scheduler).try_put(schedule(spec, OverlapPolicy::Skip)).await;
    let error = Error::from(refused.unwrap_err());
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.violations().iter().any(|violation| violation.description.contains("`b`")), "{error:?}");
    plant.stop().await;
}
