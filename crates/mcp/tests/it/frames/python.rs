//! The reference client in plain Python: the specification holds for who has only that.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::support::Dev;

/// The client that everybody may copy.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/frame_client.py")
}

/// What a program in Python prints.
async fn python(args: &[&str]) -> Value {
    let mut command = Command::new("python3");
    command.env("PYTHONDONTWRITEBYTECODE", "1").args(args);
    let output = tokio::task::spawn_blocking(move || command.output().expect("python3 is installed")).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_python_client_calls_subscribes_publishes_and_pings() {
    let dev = Dev::start(&[]).await;
    let example = example();
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/frames/drive_client.py");
    let seen = python(&[driver.to_str().unwrap(), example.to_str().unwrap(), &dev.frames]).await;
    assert_eq!(
        (&seen["pong"], &seen["log"], &seen["error"]),
        (&json!(true), &json!(["hello"]), &json!("TASK_NOT_FOUND"))
    );
    assert_eq!(seen["session"].as_str().map(str::len), Some(32), "{seen}");
    let states = |topic: String| -> Vec<String> {
        let events = seen["events"][&topic].as_array().unwrap_or_else(|| panic!("nothing on {topic}: {seen}"));
        events.iter().map(|event| event["state"].as_str().unwrap().to_owned()).collect()
    };
    let tasks = states(format!("tasks/default/{}", seen["task"].as_str().unwrap()));
    assert_eq!(tasks.first().map(String::as_str), Some("TASK_STATE_PENDING"), "{tasks:?}");
    assert_eq!(tasks.last().map(String::as_str), Some("TASK_STATE_SUCCEEDED"), "{tasks:?}");
    let workflows = states(format!("workflows/default/{}", seen["workflow"].as_str().unwrap()));
    assert_eq!(workflows.last().map(String::as_str), Some("WORKFLOW_STATE_SUCCEEDED"), "{workflows:?}");
    assert_eq!(seen["events"]["rooms/12/light"], json!([{"on": true}]));

    // As a program, as its documentation says.
    let listed =
        python(&[example.to_str().unwrap(), &dev.frames, "/mcp.scheduler.v1.TaskService/ListTasks", "{}"]).await;
    assert_eq!(listed["tasks"].as_array().map(Vec::len), Some(2), "{listed}");
}
