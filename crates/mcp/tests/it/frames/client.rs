//! A program in Rust.

use mcp_client::{
    FrameClient,
    frame::{FrameRequest, FrameStream, FrameSubscription},
};
use mcp_proto::{
    Code,
    frame::{BodyCodec, Command},
    scheduler::v1::{GetTaskRequest, GetTaskResponse, TaskState, WaitWorkflowResponse, WorkflowState},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::workflow;
use crate::support::{Dev, SOON};

fn connect(dev: &Dev) -> FrameClient {
    FrameClient::builder(format!("mcp://{}", dev.frames)).build().unwrap()
}

fn ask(command: Command, body: &Value) -> FrameRequest {
    FrameRequest::command(command).json(body).unwrap()
}

async fn call(client: &FrameClient, command: Command, body: &Value) -> Value {
    client.call(ask(command, body)).await.unwrap().json().unwrap()
}

/// The states that a topic tells of, up to this one.
async fn states(events: &mut FrameSubscription, topic: &str, last: &str) -> Vec<String> {
    let mut states = Vec::new();
    while states.last().is_none_or(|state| state != last) {
        let event = timeout(SOON, events.next()).await.unwrap_or_else(|_| panic!("no `{last}` after {states:?}"));
        let event = event.expect("the subscription goes on");
        let body: Value = serde_json::from_slice(&event.body).unwrap();
        if event.topic == topic {
            states.push(body["state"].as_str().unwrap().to_owned());
        }
    }
    states
}

async fn next(stream: &mut FrameStream) -> Option<Value> {
    let answer = timeout(SOON, stream.next()).await.expect("an answer comes").unwrap();
    answer.map(|answer| answer.json().unwrap())
}

#[tokio::test]
async fn a_task_is_submitted_heard_of_and_read() {
    let dev = Dev::start(&[]).await;
    let client = connect(&dev);
    client.ping().await.unwrap();
    let mut events = client.subscribe("tasks/default/*").await.unwrap();
    let task = json!({"task": {"process": {"argv": ["echo", "hello"]}}});
    let id = call(&client, Command::TASK_SUBMIT, &task).await["taskId"].as_str().unwrap().to_owned();
    // The subscription held before the task was there: the whole of its life is told.
    let states = states(&mut events, &format!("tasks/default/{id}"), "TASK_STATE_SUCCEEDED").await;
    assert_eq!(states.first().map(String::as_str), Some("TASK_STATE_PENDING"), "{states:?}");
    assert!(states.contains(&"TASK_STATE_RUNNING".to_owned()), "{states:?}");

    let request = GetTaskRequest { task_id: id.clone() };
    let answer = client.call(FrameRequest::command(Command::TASK_GET).protobuf(&request)).await.unwrap();
    let task = answer.protobuf::<GetTaskResponse>().unwrap().task.unwrap();
    assert_eq!((answer.codec, task.state()), (BodyCodec::Protobuf, TaskState::Succeeded));
    let mut log = client.stream(ask(Command::TASK_LOGS, &json!({"taskId": id}))).await.unwrap();
    assert_eq!(next(&mut log).await.unwrap()["lines"][0]["text"], "hello");
    assert_eq!(next(&mut log).await, None, "the log ends with its task");

    let nothing = json!({"taskId": "018f3b1e-7c1a-7000-8000-0123456789ab"});
    let error = client.call(ask(Command::TASK_GET, &nothing)).await.unwrap_err();
    assert_eq!(error.code(), Code::TaskNotFound);
}

#[tokio::test]
async fn a_workflow_is_submitted_heard_of_and_watched_to_its_end() {
    let dev = Dev::start(&[]).await;
    let client = connect(&dev);
    // Somebody who wants tasks only was there before.
    let _tasks = client.subscribe("tasks/#").await.unwrap();
    let mut events = client.subscribe("workflows/default/*").await.unwrap();
    let id = call(&client, Command::WORKFLOW_SUBMIT, &workflow()).await["workflowId"].as_str().unwrap().to_owned();
    states(&mut events, &format!("workflows/default/{id}"), "WORKFLOW_STATE_SUCCEEDED").await;

    // Its last step waits for a file, so that it is seen before and after.
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done", open.display());
    let steps = json!([
        {"name": "first", "task": {"process": {"argv": ["true"]}}},
        {"name": "last", "dependsOn": ["first"], "task": {"process": {"argv": ["sh", "-c", script]}}},
    ]);
    let two = json!({"workflow": {"name": "two", "steps": steps}});
    let id = call(&client, Command::WORKFLOW_SUBMIT, &two).await["workflowId"].as_str().unwrap().to_owned();
    let mut watch = client.stream(ask(Command::WORKFLOW_WATCH, &json!({"workflowId": id}))).await.unwrap();
    let mut seen = Vec::new();
    while let Some(answer) = next(&mut watch).await {
        let (state, ended) = (answer["workflow"]["state"].clone(), answer["workflow"]["stepsEnded"].clone());
        assert_eq!(answer["workflow"]["id"], id.as_str());
        if ended == json!(1) {
            std::fs::write(&open, "").unwrap();
        }
        seen.push((state, ended));
    }
    assert_eq!(seen.last(), Some(&(json!("WORKFLOW_STATE_SUCCEEDED"), json!(2))), "{seen:?}");
    assert!(seen.contains(&(json!("WORKFLOW_STATE_RUNNING"), json!(1))), "{seen:?}");
    // One that is over comes once.
    let request = mcp_proto::scheduler::v1::GetWorkflowRequest { workflow_id: id };
    let over = FrameRequest::command(Command::WORKFLOW_WATCH).protobuf(&request);
    let mut watch = client.stream(over).await.unwrap();
    let only = watch.next().await.unwrap().unwrap().protobuf::<WaitWorkflowResponse>().unwrap();
    assert_eq!(only.workflow.unwrap().state(), WorkflowState::Succeeded);
    assert_eq!(watch.next().await.unwrap(), None);
    let nothing = json!({"workflowId": "018f3b1e-7c1a-7000-8000-0123456789ab"});
    let mut watch = client.stream(ask(Command::WORKFLOW_WATCH, &nothing)).await.unwrap();
    assert_eq!(watch.next().await.unwrap_err().code(), Code::WorkflowNotFound);
}

/// Commands whose methods answer once, and one that streams but answers nothing here.
const COMMANDS: [(Command, &str); 15] = [
    (Command::TASK_SUBMIT, "/mcp.scheduler.v1.TaskService/SubmitTask"),
    (Command::TASK_SUBMIT_BATCH, "/mcp.scheduler.v1.TaskService/BatchSubmitTasks"),
    (Command::TASK_GET, "/mcp.scheduler.v1.TaskService/GetTask"),
    (Command::TASK_LIST, "/mcp.scheduler.v1.TaskService/ListTasks"),
    (Command::TASK_CANCEL, "/mcp.scheduler.v1.TaskService/CancelTask"),
    (Command::TASK_WAIT, "/mcp.scheduler.v1.TaskService/WaitTask"),
    (Command::TASK_LOGS, "/mcp.scheduler.v1.TaskService/ReadTaskLogs"),
    (Command::WORKFLOW_SUBMIT, "/mcp.scheduler.v1.WorkflowService/SubmitWorkflow"),
    (Command::WORKFLOW_GET, "/mcp.scheduler.v1.WorkflowService/GetWorkflow"),
    (Command::WORKFLOW_CANCEL, "/mcp.scheduler.v1.WorkflowService/CancelWorkflow"),
    (Command::REGISTRY_REGISTER, "/mcp.registry.v1.RegistryService/Register"),
    (Command::REGISTRY_HEARTBEAT, "/mcp.registry.v1.RegistryService/Heartbeat"),
    (Command::REGISTRY_DEREGISTER, "/mcp.registry.v1.RegistryService/Deregister"),
    (Command::REGISTRY_DISCOVER, "/mcp.registry.v1.RegistryService/Discover"),
    (Command::TOPIC_PUBLISH, "/mcp.gateway.v1.TopicService/Publish"),
];

#[tokio::test]
async fn every_command_is_the_method_that_it_stands_for() {
    let dev = Dev::start(&[]).await;
    let client = connect(&dev);
    let mut outcomes = Vec::new();
    for (command, method) in COMMANDS {
        // Nothing is asked for: each method says by its own fields what is missing, or gives what there is.
        let by_command = client.call(ask(command, &json!({}))).await.map(|answer| answer.json::<Value>().unwrap());
        let by_method = client.call(FrameRequest::method(method).json_text("{}")).await;
        let by_method = by_method.map(|answer| answer.json::<Value>().unwrap());
        let plain = |outcome: Result<Value, mcp_proto::Error>| match outcome {
            Ok(answer) => answer,
            Err(error) => json!([error.code().name(), error.message(), format!("{:?}", error.violations())]),
        };
        let (by_command, by_method) = (plain(by_command), plain(by_method));
        assert_eq!(by_command, by_method, "{command}");
        assert!(by_command[0] != "UNIMPLEMENTED" && by_command[0] != "METHOD_NOT_FOUND", "{command}: {by_command}");
        outcomes.push(by_command.to_string());
    }
    outcomes.sort_unstable();
    outcomes.dedup();
    assert!(outcomes.len() >= 8, "they are told apart: {outcomes:#?}");

    let mut instances = client.stream(ask(Command::REGISTRY_WATCH, &json!({"service": "scheduler"}))).await.unwrap();
    assert_eq!(next(&mut instances).await.unwrap()["snapshot"]["instances"][0]["service"], "scheduler");
    let mut changes = client.stream(ask(Command::TASK_WATCH, &json!({}))).await.unwrap();
    let task = json!({"task": {"process": {"argv": ["true"]}}});
    let id = call(&client, Command::TASK_SUBMIT, &task).await["taskId"].clone();
    while next(&mut changes).await.unwrap()["events"][0]["taskId"] != id {}
    for config in [Command::CONFIG_GET, Command::CONFIG_PUT, Command::CONFIG_WATCH] {
        assert_eq!(client.call(ask(config, &json!({}))).await.unwrap_err().code(), Code::Unimplemented, "{config}");
    }
    assert_eq!(call(&client, Command::HEALTH, &json!({})).await, json!({"status": "SERVING"}));
}
