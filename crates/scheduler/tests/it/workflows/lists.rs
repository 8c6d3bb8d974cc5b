//! Lists of workflows.

use mcp_proto::{
    Code,
    scheduler::v1::{ListWorkflowsRequest, WorkflowState},
};
use scheduler::config::Settings;
use serde_json::json;

use super::{Plant, echo, task};
use crate::support::code;

fn page(page_size: i32, page_token: &str) -> ListWorkflowsRequest {
    ListWorkflowsRequest { page_size, page_token: page_token.to_owned(), ..ListWorkflowsRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_give_every_workflow_once_the_newest_first() {
    let plant = Plant::with(Settings { list_scan_max: 16, ..Settings::default() }, 64).await;
    let mut submitted = Vec::new();
    for n in 0..23 {
        let handler = if n % 4 == 0 { "gate" } else { "echo" };
        let queue = format!("q{}", n % 5);
        let id = plant.submit(json!({"queue": queue, "steps": [task("a", handler, json!(n), &[])]})).await;
        if n % 4 != 0 {
            plant.wait(&id).await;
        }
        submitted.push(id);
    }
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let answer = plant.list(page(4, &token)).await;
        assert!(answer.workflows.len() <= 4);
        seen.extend(answer.workflows.into_iter().map(|workflow| workflow.id));
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    submitted.sort_unstable();
    submitted.reverse();
    assert_eq!(seen, submitted);
    assert_eq!(code(plant.client().list_workflows(page(4, "xx")).await), Code::InvalidPageToken);
    assert_eq!(code(plant.client().list_workflows(page(501, "")).await), Code::InvalidArgument);
    plant.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_are_by_namespace_queue_and_state() {
    let plant = Plant::start().await;
    let spec = |namespace: &str, queue: &str, handler: &str| {
        let name = format!("{namespace}/{queue}/{handler}");
        json!({"name": name, "namespace": namespace, "queue": queue, "input": {"large": "x".repeat(1_000)},
               "steps": [task("a", handler, json!(1), &[]), echo("b", json!(2), &["a"])]})
    };
    for (namespace, queue) in [("n1", "q1"), ("n1", "q2"), ("n2", "q1")] {
        plant.wait(&plant.submit(spec(namespace, queue, "echo")).await).await;
        plant.wait(&plant.submit(spec(namespace, queue, "fail")).await).await;
        plant.submit(spec(namespace, queue, "gate")).await;
    }
    let names = async |namespace: &str, queue: &str, states: &[WorkflowState]| {
        let states = states.iter().map(|state| *state as i32).collect();
        let (namespace, queue) = (namespace.to_owned(), queue.to_owned());
        let request = ListWorkflowsRequest { namespace, queue, states, ..ListWorkflowsRequest::default() };
        let workflows = plant.list(request).await.workflows;
        for workflow in &workflows {
            let spec = workflow.spec.as_ref().unwrap();
            assert!(workflow.steps.is_empty() && spec.steps.is_empty() && spec.input.is_none(), "lists are brief");
            assert_eq!(workflow.step_count, 2);
        }
        workflows.into_iter().map(|workflow| workflow.spec.unwrap().name).collect::<Vec<_>>()
    };
    assert_eq!(names("n1", "q1", &[]).await, ["n1/q1/gate", "n1/q1/fail", "n1/q1/echo"]);
    assert_eq!(names("", "q2", &[WorkflowState::Failed, WorkflowState::Running]).await, ["n1/q2/gate", "n1/q2/fail"]);
    assert_eq!(names("n2", "", &[WorkflowState::Succeeded]).await, ["n2/q1/echo"]);
    assert_eq!(names("", "", &[]).await.len(), 9);
    assert_eq!(names("n3", "", &[]).await.len(), 0);
    plant.stop().await;
}
