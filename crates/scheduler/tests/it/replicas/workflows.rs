//! Workflows whose steps have several owners: they outlive each of them.

use mcp_proto::scheduler::v1::{
    GetWorkflowRequest, ListWorkflowsRequest, SubmitWorkflowRequest, WaitWorkflowRequest, Workflow,
    workflow_service_client::WorkflowServiceClient,
};
use serde_json::{Value, json};
use testkit::eventually;
use tonic::transport::Channel;

use super::{
    fleet::{Fleet, LONG_LEASE, SHORT_LEASE, SOON, queue_of},
    load::Crew,
};
use crate::workflows::{assert_succeeded, output, step, workflow};

fn client(fleet: &Fleet, id: &str) -> WorkflowServiceClient<Channel> {
    WorkflowServiceClient::new(Channel::from_shared(fleet.url(id)).unwrap().connect_lazy())
}

async fn get(client: &WorkflowServiceClient<Channel>, id: &str) -> Workflow {
    let request = GetWorkflowRequest { workflow_id: id.to_owned() };
    client.clone().get_workflow(request).await.unwrap().into_inner().workflow.unwrap()
}

async fn wait(client: &WorkflowServiceClient<Channel>, id: &str) -> Workflow {
    let request = WaitWorkflowRequest { workflow_id: id.to_owned(), timeout: SOON.try_into().ok() };
    let workflow = client.clone().wait_workflow(request).await.unwrap().into_inner().workflow.unwrap();
    assert!(workflow.finish_time.is_some(), "{workflow:?}");
    workflow
}

/// Steps in the queue `home` of the workflow, and in `away`.
fn spec(home: &str, away: &str) -> Value {
    let task = |queue: &str, handler: &str, input: &str| json!({"queue": queue, "handler": {"handler": handler, "input": input}});
    json!({"queue": home, "steps": [
        {"name": "first", "task": task(away, "count", "1")},
        {"name": "near", "task": task(home, "wait", "${steps.first.output}n"), "dependsOn": ["first"]},
        {"name": "far", "task": task(away, "wait", "${item}"), "forEach": "['x', 'y', 'z']", "dependsOn": ["first"]},
        {"name": "last", "task": task(away, "count", "${steps.near.output}${steps.far.output[2]}"),
         "dependsOn": ["near", "far"]},
    ]})
}

/// Submits it at `at`, and waits until near and far run.
async fn begin(fleet: &Fleet, crew: &Crew, at: &str, home: &str, away: &str) -> (String, Vec<String>) {
    let (home, away) = (queue_of(fleet.partition_of(home).await), queue_of(fleet.partition_of(away).await));
    let client = client(fleet, at);
    let request = SubmitWorkflowRequest { workflow: Some(workflow(spec(&home, &away))) };
    let id = client.clone().submit_workflow(request).await.unwrap().into_inner().workflow_id;
    let tasks = eventually(SOON, || async {
        let workflow = get(&client, &id).await;
        let tasks: Vec<_> = ["near", "far"].iter().flat_map(|name| step(&workflow, name).task_ids.clone()).collect();
        if tasks.len() == 4 { Ok(tasks) } else { Err(format!("{workflow:?}")) }
    })
    .await;
    for task in &tasks {
        crew.began(task).await;
    }
    (id, tasks)
}

fn has_succeeded(crew: &Crew, done: &Workflow) {
    assert_succeeded(done);
    assert_eq!(output(&done.output), json!({"last": "1nz"}));
    for task in done.steps.iter().flat_map(|step| &step.task_ids) {
        assert_eq!(crew.runs_of(task).len(), 1, "{task} of {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_and_its_steps_have_different_owners_and_every_replica_shows_it() {
    let fleet = Fleet::start(&["a", "b"], LONG_LEASE).await;
    let crew = Crew::start(&fleet, 2).await;
    let (id, _) = begin(&fleet, &crew, "b", "a", "b").await;
    for at in ["a", "b"] {
        let listed = client(&fleet, at).list_workflows(ListWorkflowsRequest::default()).await.unwrap().into_inner();
        assert_eq!(listed.workflows.iter().map(|workflow| &workflow.id).collect::<Vec<_>>(), [&id]);
    }
    crew.let_go(4);
    has_succeeded(&crew, &wait(&client(&fleet, "b"), &id).await);
    assert_eq!(get(&client(&fleet, "a"), &id).await, get(&client(&fleet, "b"), &id).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_goes_on_when_its_owner_hands_over() {
    let mut fleet = Fleet::start(&["a", "b"], LONG_LEASE).await;
    let crew = Crew::start(&fleet, 2).await;
    let (id, _) = begin(&fleet, &crew, "a", "b", "a").await;
    let at_a = client(&fleet, "a");
    let waiting = tokio::spawn({
        let (at_a, id) = (at_a.clone(), id.clone());
        async move { wait(&at_a, &id).await }
    });
    fleet.stop("b").await;
    fleet.settled(&["a"]).await;
    crew.let_go(4);
    has_succeeded(&crew, &waiting.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workflow_goes_on_when_its_owner_crashes_while_its_steps_end_elsewhere() {
    let mut fleet = Fleet::start(&["a", "b"], SHORT_LEASE).await;
    let crew = Crew::start(&fleet, 2).await;
    let (id, _) = begin(&fleet, &crew, "b", "a", "b").await;
    let at_b = client(&fleet, "b");
    fleet.kill("a");
    crew.let_go(4); // the ends of the steps at b cannot be told to anybody now
    fleet.settled(&["b"]).await;
    has_succeeded(&crew, &wait(&at_b, &id).await);
}
