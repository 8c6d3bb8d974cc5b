//! The demo's workflow on real services, checked by the demo's own program.
#![expect(clippy::unwrap_used, reason = "a test may panic, and then says where")]

use std::{path::Path, process::Command, time::Duration};

use mcp::{dev, document, output::json::to_json};
use mcp_client::{Client, value::to_value};
use mcp_proto::scheduler::v1::{StepState, WorkflowSpec, WorkflowState};

/// Far more than the job takes.
const LIMIT: Duration = Duration::from_secs(120);
const WORKFLOW: &str = include_str!("../../log-report.yaml");

fn log_report(args: &[&str]) -> (bool, String) {
    let ended = Command::new(env!("CARGO_BIN_EXE_log-report")).args(args).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    (ended.status.success(), text)
}

/// The workflow with the input that `prepare` made.
fn prepared(folder: &Path) -> WorkflowSpec {
    let (done, text) = log_report(&[
        "prepare",
        "--folder",
        folder.to_str().unwrap(),
        "--lines",
        "5000",
        "--parts",
        "3",
        "--seed",
        "7",
    ]);
    assert!(done, "{text}");
    let input = serde_json::from_str(&std::fs::read_to_string(folder.join("input.json")).unwrap()).unwrap();
    WorkflowSpec { input: Some(to_value(input)), ..document::workflow(WORKFLOW).unwrap().message }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_workflow_gives_the_report_that_a_single_process_computes() {
    let cluster = dev::start(dev::Options::ephemeral()).await.unwrap();
    let client = Client::connect(&cluster.gateway_url).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let submitted = client.submit_workflow(prepared(folder.path())).await.unwrap();
    let workflow = client.wait_workflow(&submitted.workflow_id, LIMIT).await.unwrap();
    assert_eq!(workflow.state(), WorkflowState::Succeeded, "{workflow:?}");
    let workflow = client.workflow(&submitted.workflow_id).await.unwrap();
    let steps: Vec<_> = workflow.steps.iter().map(|step| (&*step.name, step.state(), step.item_count)).collect();
    let succeeded = StepState::Succeeded;
    assert_eq!(steps, [("split", succeeded, 1), ("parse", succeeded, 3), ("merge", succeeded, 1)]);

    let result = folder.path().join("workflow.json");
    let mut json = to_json(&workflow);
    std::fs::write(&result, json.to_string()).unwrap();
    let args = ["check", "--folder", folder.path().to_str().unwrap(), "--workflow", result.to_str().unwrap()];
    let (same, text) = log_report(&args);
    assert!(same && text.contains("the same as a single process computes"), "{text}");

    json["output"]["lines"] = 4_999.into();
    std::fs::write(&result, json.to_string()).unwrap();
    let (same, text) = log_report(&args);
    assert!(!same && text.contains("-   \"lines\": 5000,") && text.contains("+   \"lines\": 4999,"), "{text}");
    cluster.stop().await.unwrap();
}
