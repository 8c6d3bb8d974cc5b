//! What a failure means, and running again what failed.

use mcp_proto::{
    Code,
    scheduler::v1::{StepState, WorkflowState},
};
use serde_json::json;

use super::{Plant, assert_succeeded, echo, output, states, step, task, tasks, with};
use crate::support::{code, millis};

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_fails_its_workflow_after_the_step_for_failures() {
    let plant = Plant::start().await;
    let done = plant
        .run(json!({
            "steps": [echo("good", json!(1), &[]), task("bad", "fail", json!(1), &["good"]), echo("never", json!(2), &["bad"])],
            "onFailure": echo("tell", json!("${steps.bad.error.message} after ${steps.good.output}"), &[]),
        }))
        .await;
    assert_eq!(done.state(), WorkflowState::Failed);
    assert_eq!(states(&done), ["good succeeded", "bad failed", "never skipped", "tell succeeded"]);
    let error = done.error.clone().unwrap();
    assert_eq!((error.name.as_str(), error.message.as_str()), ("HANDLER_FAILED", "it failed"));
    assert_eq!(error.metadata["step"], "bad");
    assert_eq!(output(&step(&done, "tell").output), json!("it failed after 1"));
    assert_eq!(plant.starts("never"), 0);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_may_be_leaves_the_decision_to_what_follows() {
    let plant = Plant::start().await;
    let done = plant
        .run(json!({"steps": [
            with(task("try", "fail", json!(1), &[]), json!({"failureMode": "FAILURE_MODE_CONTINUE"})),
            echo("only_then", json!(2), &["try"]),
            with(echo("instead", json!("${steps.try.error.name}"), &["try"]),
                 json!({"condition": "steps.try.state == 'FAILED'"})),
        ]}))
        .await;
    assert_succeeded(&done);
    assert_eq!(states(&done), ["try failed", "only_then skipped", "instead succeeded"]);
    assert_eq!(output(&step(&done, "instead").output), json!("HANDLER_FAILED"));
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_workflow_is_resumed_from_the_step_that_failed() {
    let plant = Plant::start().await;
    plant.set_broken(true);
    let spec = json!({"steps": [
        echo("first", json!("one"), &[]),
        task("second", "flaky", json!("${steps.first.output} two"), &["first"]),
        echo("third", json!("${steps.second.output} three"), &["second"]),
    ]});
    let failed = plant.run(spec).await;
    assert_eq!(states(&failed), ["first succeeded", "second failed", "third skipped"]);
    plant.set_broken(false);
    let id = plant.rerun(&failed.id, "", None).await.unwrap();
    let done = plant.wait(&id).await;
    assert_succeeded(&done);
    assert_eq!((done.rerun_of.as_str(), output(&done.output)), (failed.id.as_str(), json!({"third": "one two three"})));
    assert_eq!(states(&done), ["first reused", "second succeeded", "third succeeded"]);
    assert_eq!((plant.starts("first"), plant.starts("second"), plant.starts("third")), (1, 2, 1));
    assert_eq!(plant.get(&failed.id).await.state(), WorkflowState::Failed, "the earlier run stays as it was");
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_runs_again_from_any_step_also_in_a_newer_version() {
    let plant = Plant::start().await;
    let steps = |c: &str| {
        json!({"steps": [
            echo("a", json!("A"), &[]), echo("b", json!("${steps.a.output}B"), &["a"]),
            echo("c", json!(c), &["b"]), echo("d", json!("D"), &["a"]),
        ]})
    };
    let first = plant.run(steps("${steps.b.output}C")).await;
    let again = plant.wait(&plant.rerun(&first.id, "b", None).await.unwrap()).await;
    assert_eq!(states(&again), ["a reused", "b succeeded", "c succeeded", "d reused"]);
    assert_eq!(output(&again.output), json!({"c": "ABC", "d": "D"}));
    let newer = plant.rerun(&again.id, "c", Some(steps("${steps.b.output}-new"))).await.unwrap();
    let newer = plant.wait(&newer).await;
    assert_eq!(states(&newer), ["a reused", "b reused", "c succeeded", "d reused"]);
    assert_eq!(output(&newer.output), json!({"c": "AB-new", "d": "D"}));
    assert_eq!((plant.starts("a"), plant.starts("b"), plant.starts("c"), plant.starts("d")), (1, 2, 3, 1));
    assert_eq!(tasks(&newer).len(), 4, "what was taken over names its tasks");

    assert_eq!(code(plant.rerun(&first.id, "nope", None).await), Code::InvalidArgument);
    let elsewhere = json!({"queue": "other", "steps": [echo("a", json!(1), &[])]});
    let error = mcp_proto::Error::from(plant.rerun(&first.id, "", Some(elsewhere)).await.unwrap_err());
    assert_eq!(error.violations()[0].field, "workflow.queue");
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_expression_cannot_be_computed_fails() {
    let plant = Plant::start().await;
    let done = plant
        .run(json!({"input": {"list": [1]}, "steps": [
            echo("a", json!(1), &[]), echo("b", json!("${input.list[5]}"), &["a"]),
        ]}))
        .await;
    assert_eq!(states(&done), ["a succeeded", "b failed"]);
    let error = done.error.unwrap();
    assert_eq!((error.name.as_str(), error.metadata["step"].as_str()), ("EXPRESSION_FAILED", "b"));
    assert!(error.message.contains("step `b`"), "{}", error.message);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_takes_too_long_fails_and_what_runs_is_stopped() {
    let plant = Plant::start().await;
    let mut spec =
        super::workflow(json!({"steps": [task("long", "gate", json!(1), &[]), echo("b", json!(1), &["long"])]}));
    spec.timeout = millis(300);
    let id = plant.try_submit(spec).await.unwrap().workflow_id;
    let done = plant.wait(&id).await;
    assert_eq!((done.state(), done.error.clone().unwrap().name.as_str()), (WorkflowState::Failed, "WORKFLOW_TIMEOUT"));
    assert_eq!((step(&done, "long").state(), plant.starts("b")), (StepState::Cancelled, 0));
    plant.stop().await;
}
