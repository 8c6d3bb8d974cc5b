//! `mcp frame`, on `mcp dev`.

use std::{pin::pin, time::Duration};

use serde_json::{Value, json};
use tokio::time::timeout;

use super::{Ended, run_at};
use crate::{
    frames::workflow,
    support::{Dev, program},
};

/// How long a listener gets before there is more to hear.
const LISTENS: Duration = Duration::from_millis(300);

/// Runs `mcp frame …` against the gateway.
async fn frame(dev: &Dev, args: &[&str]) -> Ended {
    let address = format!("mcp://{}", dev.frames);
    let args = [&["frame"], args, &["--address", &address]].concat();
    run_at(&dev.url, &args, "").await
}

/// The same when it must succeed.
async fn done(dev: &Dev, args: &[&str]) -> Ended {
    let ended = frame(dev, args).await;
    assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
    ended
}

/// Listens for one message of a topic, while something is done again and again.
async fn hears(dev: &Dev, topic: &str, mut again: impl AsyncFnMut()) -> Value {
    let args = ["subscribe", topic, "-n", "1", "--timeout", "60s", "-o", "json"];
    let mut listening = pin!(done(dev, &args));
    loop {
        // Nobody is told when a program has subscribed.
        if let Ok(ended) = timeout(LISTENS, &mut listening).await {
            return ended.json();
        }
        again().await;
    }
}

#[tokio::test]
async fn the_frame_is_called_pinged_and_listened_to() {
    let dev = Dev::start(&[]).await;
    let pings = done(&dev, &["ping", "-n", "2"]).await.output;
    assert_eq!(pings.lines().filter(|line| line.contains("answered in")).count(), 2, "{pings}");
    let task = json!({"task": {"process": {"argv": ["echo", "hello"]}}}).to_string();
    let keyed = ["call", "task-submit", &task, "-m", "idempotency-key=once", "-o", "json"];
    let id = done(&dev, &keyed).await.json()["taskId"].clone();
    assert_eq!(done(&dev, &keyed).await.json()["taskId"], id, "the key says that it is the same");
    let named = json!({"taskId": id}).to_string();
    let waited = done(&dev, &["call", "task-wait", &named, "-o", "json"]).await.json();
    assert_eq!(waited["task"]["state"], "TASK_STATE_SUCCEEDED", "{waited}");
    let log = done(&dev, &["call", "task-logs", &named, "--stream"]).await.output;
    assert!(log.lines().count() == 1 && log.contains("hello"), "{log}");
    let listed = done(&dev, &["call", "/mcp.scheduler.v1.TaskService/ListTasks", "{}"]).await.output;
    assert!(listed.contains(id.as_str().unwrap()) && listed.lines().count() > 1, "in lines for people: {listed}");

    let event = hears(&dev, "tasks/default/*", async || {
        dev.client().submit(program(&["true"])).await.unwrap();
    })
    .await;
    assert!(event["topic"].as_str().unwrap().starts_with("tasks/default/"), "{event}");
    assert!(event["body"]["state"].as_str().unwrap().starts_with("TASK_STATE_"), "{event}");
    let event = hears(&dev, "workflows/#", async || {
        done(&dev, &["call", "workflow-submit", &workflow().to_string()]).await;
    })
    .await;
    assert!(event["body"]["state"].as_str().unwrap().starts_with("WORKFLOW_STATE_"), "{event}");
    let event = hears(&dev, "rooms/#", async || {
        done(&dev, &["publish", "rooms/12", r#"{"on": true}"#]).await;
    })
    .await;
    assert_eq!(event, json!({"topic": "rooms/12", "body": {"on": true}}));
}

#[tokio::test]
async fn what_fails_says_why_and_what_to_do() {
    let dev = Dev::start(&[]).await;
    let nothing = r#"{"taskId": "018f3b1e-7c1a-7000-8000-0123456789ab"}"#;
    let missing = frame(&dev, &["call", "task-get", nothing]).await;
    assert!(missing.code == 4 && missing.error.contains("TASK_NOT_FOUND"), "{missing:?}");
    let planned = frame(&dev, &["call", "config-get"]).await;
    assert!(planned.code != 0 && planned.error.contains("UNIMPLEMENTED"), "{planned:?}");
    let text = frame(&dev, &["call", "task-get", "{"]).await;
    assert!(text.code == 2 && text.error.contains("--raw"), "{text:?}");
    // Where HTTP is spoken, nobody knows frames.
    let address = dev.url.replace("http://", "mcp://");
    let elsewhere = run_at(&dev.url, &["frame", "ping", "--address", &address], "").await;
    assert!(elsewhere.code != 0 && elsewhere.error.contains("MCP_FRAMES"), "{elsewhere:?}");
    let wrong = run_at(&dev.url, &["frame", "ping", "--address", &dev.url], "").await;
    assert!(wrong.code == 2 && wrong.error.contains("mcp://127.0.0.1:7070"), "{wrong:?}");
}
