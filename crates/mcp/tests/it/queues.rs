//! Queues by HTTP: what an autoscaler reads, and dead letters from the list to their replay.

use mcp_proto::scheduler::v1::{RetryPolicy, TaskSpec, TaskState};
use serde_json::{Value, json};
use testkit::http;

use crate::support::{Dev, call, ends, program};

/// The fields of the scaling signal.
const NUMBERS: [&str; 7] =
    ["queueDepth", "running", "oldestAgeSeconds", "startRate", "runSeconds", "neededWorkers", "workers"];

async fn signal(dev: &Dev, query: &str) -> Value {
    let answer = http::get(&dev.url, &format!("/v1/namespaces/default/queues/render:scaling{query}")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let signal = answer.json();
    assert!(NUMBERS.iter().all(|field| signal[field].is_number()), "{signal}");
    assert_eq!(signal.as_object().unwrap().len(), NUMBERS.len(), "{signal}");
    signal
}

#[tokio::test]
async fn an_autoscaler_reads_plain_numbers_also_when_they_are_zero() {
    let dev = Dev::start(&[]).await;
    let idle = signal(&dev, "").await;
    assert!(idle["neededWorkers"] == 0.0 && idle["queueDepth"] == 0.0, "{idle}");
    let client = dev.client();
    for _ in 0..8 {
        client.submit(TaskSpec { queue: "render".to_owned(), ..call("nobody") }).await.unwrap();
    }
    let busy = signal(&dev, "?slotsPerWorker=4&targetWait=30s").await;
    assert!(busy["neededWorkers"] == 2.0 && busy["queueDepth"] == 8.0, "{busy}");
    let queue = http::get(&dev.url, "/v1/namespaces/default/queues/render").await.json();
    assert_eq!(queue["pending"], "8", "{queue}");
}

#[tokio::test]
async fn a_dead_letter_is_listed_and_replayed_by_http() {
    let dev = Dev::start(&[]).await;
    let client = dev.client();
    let retry = Some(RetryPolicy { max_attempts: 1, ..RetryPolicy::default() });
    let spec = TaskSpec { queue: "render".to_owned(), retry, ..program(&["false"]) };
    let id = client.submit(spec).await.unwrap().task_id;
    ends(&client, &id, TaskState::Failed).await;
    let letters = "/v1/namespaces/default/queues/render/deadLetters";
    let list = http::get(&dev.url, &format!("{letters}?filter.error_name=EXIT_NON_ZERO")).await.json();
    assert_eq!(list["deadLetters"][0]["task"]["id"], id, "{list}");
    let none = http::get(&dev.url, &format!("{letters}?filter.error_name=RUN_TIMEOUT")).await.json();
    assert_eq!(none["deadLetters"], json!([]), "{none}");
    let replay = json!({"filter": {"all": true}}).to_string();
    let replayed = http::post(&dev.url, &format!("{letters}:replay"), replay).await.json();
    assert_eq!(replayed["replayed"][0]["taskId"], id, "{replayed}");
    let new = replayed["replayed"][0]["newTaskId"].as_str().unwrap().to_owned();
    ends(&client, &new, TaskState::Failed).await;
    let explained = http::get(&dev.url, &format!("/v1/tasks/{id}:explain")).await.json();
    assert_eq!(explained["reasons"][0]["kind"], "FINISHED", "{explained}");
    let retried = http::post(&dev.url, &format!("/v1/tasks/{id}:retry"), "{}".to_owned()).await.json();
    assert_eq!(retried["taskId"], new, "a repeat gives the task that the first one made");
}
