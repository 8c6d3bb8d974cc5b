//! Why steps are where they are, how their tasks are called, and what is counted.

use mcp_proto::{
    Code,
    scheduler::v1::{ExplainTaskRequest, ExplainTaskResponse},
};
use serde_json::json;
use tonic::Status;

use super::{Plant, assert_succeeded, echo, step, task, with};
use crate::support::{LIMIT, code};

async fn try_explain(plant: &Plant, id: &str, step: &str) -> Result<ExplainTaskResponse, Status> {
    let request = ExplainTaskRequest { task_id: id.to_owned(), step: step.to_owned() };
    let answer = plant.scheduler.client.clone().explain_task(request).await?.into_inner();
    assert_eq!(answer.summary, answer.reasons[0].message);
    Ok(answer)
}

/// The kinds of the reasons, and the steps that hold the first of them.
async fn explain(plant: &Plant, id: &str, step: &str) -> (Vec<String>, Vec<String>) {
    let answer = try_explain(plant, id, step).await.unwrap();
    let holders = answer.reasons[0].holders.iter().map(|holder| holder.step.clone()).collect();
    (answer.reasons.into_iter().map(|reason| reason.kind).collect(), holders)
}

fn told(kinds: &[&str], holders: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    (owned(kinds), owned(holders))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_a_task_says_what_it_waits_for() {
    let plant = Plant::start().await;
    let spec = json!({
        "steps": [
            task("a", "gate", json!(1), &[]),
            echo("b", json!(2), &[]),
            echo("c", json!(3), &["a", "b"]),
            echo("d", json!(4), &["c"]),
        ],
        "onFailure": echo("tell", json!(1), &[]),
        "timeout": "3600s",
    });
    let id = plant.submit(spec).await;
    plant.begun(2).await;
    plant.reaches(&id, "b", mcp_proto::scheduler::v1::StepState::Succeeded).await;
    assert_eq!(explain(&plant, &id, "c").await, told(&["BLOCKED_BY_STEPS"], &["a"]));
    assert_eq!(explain(&plant, &id, "d").await, told(&["BLOCKED_BY_STEPS"], &["c"]));
    assert_eq!(explain(&plant, &id, "tell").await, told(&["BLOCKED_BY_STEPS"], &["a", "c", "d"]));
    assert_eq!(explain(&plant, &id, "b").await, told(&["FINISHED"], &[]));
    let running = try_explain(&plant, &id, "a").await.unwrap();
    let holder = &running.reasons[0].holders[0];
    assert_eq!((running.reasons[0].kind.as_str(), holder.step.as_str()), ("RUNNING", "a"));
    assert_eq!(holder.task_id, step(&plant.get(&id).await, "a").task_ids[0]);
    assert!(running.next_change.is_some(), "its time will be up");
    let blocked = try_explain(&plant, &id, "c").await.unwrap();
    assert_eq!(blocked.reasons[0].holders[0].task_id, holder.task_id, "whom to ask next");
    assert_eq!(
        explain(&plant, &id, "").await.0,
        ["RUNNING", "BLOCKED_BY_STEPS", "BLOCKED_BY_STEPS", "BLOCKED_BY_STEPS"]
    );

    plant.pause(&id).await.unwrap();
    assert_eq!(explain(&plant, &id, "c").await, told(&["BLOCKED_BY_STEPS", "WORKFLOW_PAUSED"], &["a"]));
    assert_eq!(explain(&plant, &id, "").await.0[0], "WORKFLOW_PAUSED");
    plant.open_gate(1);
    plant.reaches(&id, "a", mcp_proto::scheduler::v1::StepState::Succeeded).await;
    let paused = try_explain(&plant, &id, "c").await.unwrap();
    assert_eq!(paused.reasons[0].kind, "WORKFLOW_PAUSED");
    assert!(paused.summary.contains(&format!("mcp workflow resume {id}")), "{}", paused.summary);
    plant.resume(&id).await.unwrap();
    assert_succeeded(&plant.wait(&id).await);
    assert_eq!(explain(&plant, &id, "").await, told(&["FINISHED"], &[]));
    assert_eq!(explain(&plant, &id, "c").await, told(&["FINISHED"], &[]));

    assert_eq!(code(try_explain(&plant, &id, "nobody").await), Code::InvalidArgument);
    let nobody = "018f3b1e-7c1a-7000-8000-0123456789ab";
    assert_eq!(code(try_explain(&plant, nobody, "a").await), Code::WorkflowNotFound);
    assert_eq!(code(try_explain(&plant, nobody, "").await), Code::TaskNotFound);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_without_a_name_is_called_as_its_step() {
    let plant = Plant::start().await;
    let unnamed = json!({"name": "first", "task": {"handler": {"handler": "echo"}}});
    let named = with(json!({"name": "second"}), json!({"task": {"name": "own", "handler": {"handler": "echo"}}}));
    let done = plant.run(json!({"steps": [unnamed, named]})).await;
    for (name, expected) in [("first", "first"), ("second", "own")] {
        let task = plant.scheduler.get(&step(&done, name).task_ids[0]).await;
        assert_eq!(task.spec.unwrap().name, expected);
    }
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_are_counted_by_their_end() {
    // The counters are those of the process: other tests count, too.
    let value = |name: &str| {
        let text = mcp_chassis::metrics::text();
        let mut lines = text.lines().filter(|line| line.starts_with(name));
        lines.next().and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
    };
    let names = [
        "mcp_scheduler_workflows_submitted_total",
        "mcp_scheduler_workflows_finished_total{state=\"succeeded\"",
        "mcp_scheduler_workflows_finished_total{state=\"failed\"",
        "mcp_scheduler_workflow_duration_seconds_count{state=\"succeeded\"",
    ];
    let before = names.map(value);
    let plant = Plant::start().await;
    for handler in ["echo", "echo", "fail"] {
        plant.run(json!({"steps": [task("a", handler, json!(1), &[])]})).await;
    }
    let least = [3.0, 2.0, 1.0, 2.0];
    testkit::eventually(LIMIT, || async {
        let more: Vec<f64> = names.map(value).iter().zip(before).map(|(now, before)| now - before).collect();
        let is_enough = more.iter().zip(least).all(|(more, least)| *more >= least);
        if is_enough { Ok(()) } else { Err(format!("{more:?}\n{}", mcp_chassis::metrics::text())) }
    })
    .await;
    assert!(mcp_chassis::metrics::text().contains("mcp_scheduler_workflows_running"));
    plant.stop().await;
}
