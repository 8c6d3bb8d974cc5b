//! The HTTP form of the whole API: every call that has one is made once, against real services, and none is forgotten.

mod api;
mod rules;

use serde_json::{Value, json};

use self::api::Api;
use crate::support::Dev;

/// A task that only a worker with this function takes, and there is none.
fn waiting(queue: &str) -> Value {
    json!({"handler": {"handler": "nobody"}, "queue": queue})
}

fn program(argv: &[&str]) -> Value {
    json!({"process": {"argv": argv}, "queue": "http", "retry": {"maxAttempts": 1}})
}

#[tokio::test]
async fn every_call_with_an_http_form_is_answered_by_http() {
    let dev = Dev::start(&[]).await;
    let mut api = Api::new(&dev.url);
    services(&mut api).await;
    tasks(&mut api).await;
    queues(&mut api).await;
    schedules(&mut api).await;
    workflows(&mut api).await;
    keys(&mut api).await;
    routes(&mut api).await;
    let unmade: Vec<_> = rules::all().into_keys().filter(|name| !api.made.contains(name)).collect();
    assert!(unmade.is_empty(), "not called: {unmade:?}");
}

async fn services(api: &mut Api) {
    let instance = json!({"service": "echo", "instanceId": "one", "address": "127.0.0.1:1"});
    let registered = api.post("/v1/services", json!({"instance": instance, "ttl": "30s"})).await;
    let beat = json!({"leaseId": registered["leaseId"]});
    let beat = api.post("/v1/services/echo/instances/one:heartbeat", beat).await;
    assert_eq!(beat["ttl"], "30s", "{beat}");
    api.eventually("/v1/services/echo/instances", |found| found["instances"][0]["instanceId"] == "one").await;
    let first = api.first("/v1/services:watch?service=echo").await;
    assert!(first.contains("snapshot"), "{first}");
    assert_eq!(api.delete("/v1/services/echo/instances/one").await, json!({}));
    api.eventually("/v1/services?service=echo", |found| found["instances"] == json!([])).await;
}

async fn keys(api: &mut Api) {
    let made = api.post("/v1/keys", json!({"name": "ci", "grants": [{"role": "ROLE_VIEWER"}]})).await;
    let id = made["key"]["id"].as_str().unwrap();
    assert!(made["secret"].as_str().is_some_and(|secret| secret.contains(id)), "{made}");
    let listed = api.get("/v1/keys").await;
    assert_eq!(listed["keys"][0]["id"], id, "{listed}");
    api.delete(&format!("/v1/keys/{id}")).await;
    assert_eq!(api.post("/v1/topics:publish", json!({"topic": "news/today", "body": "aGk="})).await, json!({}));
}

async fn routes(api: &mut Api) {
    let policy = api.put("/v1/policies/slow", json!({"settings": {"timeout": "9s"}})).await;
    assert_eq!(policy["id"], "slow", "{policy}");
    let wanted = json!({"match": {"path": {"prefix": "/shop"}}, "respond": {"status": 204}, "policies": ["slow"]});
    let route = api.put("/v1/routes/shop", wanted).await;
    assert_eq!(route["match"]["path"]["prefix"], "/shop", "{route}");
    assert_eq!(api.get("/v1/routes/shop").await["version"], route["version"]);
    assert_eq!(api.get("/v1/policies/slow").await["version"], policy["version"]);
    assert_eq!(api.get("/v1/routes").await["routes"][0]["id"], "shop");
    assert_eq!(api.get("/v1/policies").await["policies"][0]["id"], "slow");
    api.delete("/v1/routes/shop").await;
    api.delete("/v1/policies/slow").await;
}

async fn tasks(api: &mut Api) {
    let submitted = api.post("/v1/tasks", program(&["echo", "hello"])).await;
    let id = submitted["taskId"].as_str().unwrap();
    let task = api.get(&format!("/v1/tasks/{id}:wait?timeout=60s")).await;
    assert_eq!(task["state"], "TASK_STATE_SUCCEEDED", "{task}");
    assert_eq!(api.get(&format!("/v1/tasks/{id}")).await["id"], id);
    let listed = api.get("/v1/tasks?queue=http&states=TASK_STATE_SUCCEEDED").await;
    assert_eq!(listed["tasks"][0]["id"], id, "{listed}");
    let log = api.first(&format!("/v1/tasks/{id}/logs?follow=true")).await;
    assert!(log.contains("hello"), "{log}");
    let explained = api.get(&format!("/v1/tasks/{id}:explain")).await;
    assert_eq!(explained["reasons"][0]["kind"], "FINISHED", "{explained}");
    api.first("/v1/tasks:watch?queue=http").await;

    let batch = api.post("/v1/tasks:batchSubmit", json!({"tasks": [program(&["false"]), waiting("http")]})).await;
    let [failing, cancelled] = [0, 1].map(|at: usize| batch["results"][at]["taskId"].as_str().unwrap().to_owned());
    let ended = api.get(&format!("/v1/tasks/{failing}:wait?timeout=60s")).await;
    assert_eq!(ended["state"], "TASK_STATE_FAILED", "{ended}");
    let retried = api.post(&format!("/v1/tasks/{failing}:retry"), json!({})).await;
    let again = api.get(&format!("/v1/tasks/{}:wait?timeout=60s", retried["taskId"].as_str().unwrap())).await;
    assert_eq!((&again["state"], &again["replayOf"]), (&json!("TASK_STATE_FAILED"), &json!(failing)), "{again}");
    let ended = api.post(&format!("/v1/tasks/{cancelled}:cancel"), json!({"reason": "enough"})).await;
    assert_eq!(ended["state"], "TASK_STATE_CANCELLED", "{ended}");
}

async fn queues(api: &mut Api) {
    const QUEUE: &str = "/v1/namespaces/default/queues/calls";
    let ruled = api.put(&format!("{QUEUE}/rules"), json!({"concurrencyMax": 3, "tasksMax": "10"})).await;
    assert_eq!(ruled["rules"]["concurrencyMax"], 3, "{ruled}");
    let paused = api.post(&format!("{QUEUE}:pause"), json!({})).await;
    assert!(paused["pauseTime"].is_string(), "{paused}");
    let mut task = program(&["false"]);
    task["queue"] = "calls".into();
    let submitted = api.post("/v1/tasks", task).await;
    let id = submitted["taskId"].as_str().unwrap();
    let explained = api.get(&format!("/v1/tasks/{id}:explain")).await;
    assert_eq!(explained["reasons"][0]["kind"], "QUEUE_PAUSED", "{explained}");
    assert_eq!(api.get(QUEUE).await["pending"], "1");
    let listed = api.get("/v1/queues").await;
    let known = listed["queues"].as_array().unwrap().iter().any(|queue| queue["queue"] == "calls");
    assert!(known, "{listed}");
    let scaling = api.get(&format!("{QUEUE}:scaling?slotsPerWorker=2")).await;
    assert_eq!(scaling["queueDepth"], 1.0, "{scaling}");
    let drained = api.post(&format!("{QUEUE}:drain"), json!({})).await;
    assert!(drained["drainTime"].is_string(), "{drained}");
    let resumed = api.post(&format!("{QUEUE}:resume"), json!({})).await;
    assert!(resumed["pauseTime"].is_null() && resumed["drainTime"].is_null(), "{resumed}");

    let ended = api.get(&format!("/v1/tasks/{id}:wait?timeout=60s")).await;
    assert_eq!(ended["state"], "TASK_STATE_FAILED", "{ended}");
    let dead = api.get(&format!("{QUEUE}/deadLetters?filter.errorName=EXIT_NON_ZERO")).await;
    assert_eq!(dead["deadLetters"][0]["task"]["id"], id, "{dead}");
    let replayed = api.post(&format!("{QUEUE}/deadLetters:replay"), json!({"filter": {"taskIds": [id]}})).await;
    let new = replayed["replayed"][0]["newTaskId"].as_str().unwrap_or_else(|| panic!("{replayed}"));
    api.get(&format!("/v1/tasks/{new}:wait?timeout=60s")).await;
    let purged = api.post(&format!("{QUEUE}/deadLetters:purge"), json!({"filter": {"all": true}})).await;
    assert_eq!(purged["purged"], 1, "the one that was replayed left the list: {purged}");
}

async fn schedules(api: &mut Api) {
    const SCHEDULE: &str = "/v1/namespaces/default/schedules/yearly";
    let spec = json!({"cron": ["0 0 1 1 *"], "overlap": "OVERLAP_POLICY_ALLOW_ALL", "task": program(&["true"])});
    let put = api.put(SCHEDULE, spec).await;
    assert!(put["nextTime"].as_str().unwrap_or_default().ends_with("-01-01T00:00:00Z"), "{put}");
    assert_eq!(api.get(SCHEDULE).await["name"], "yearly");
    assert_eq!(api.get("/v1/schedules").await["schedules"][0]["name"], "yearly");
    let paused = api.post(&format!("{SCHEDULE}:pause"), json!({})).await;
    assert!(paused["pauseTime"].is_string(), "{paused}");
    let resumed = api.post(&format!("{SCHEDULE}:resume"), json!({})).await;
    assert!(resumed["pauseTime"].is_null(), "{resumed}");
    let fired = api.post(&format!("{SCHEDULE}:trigger"), json!({})).await;
    let task = fired["fire"]["taskId"].as_str().unwrap_or_else(|| panic!("{fired}"));
    assert_eq!(api.get(&format!("/v1/tasks/{task}:wait?timeout=60s")).await["state"], "TASK_STATE_SUCCEEDED");
    let range = json!({"startTime": "2024-12-31T00:00:00Z", "endTime": "2026-01-02T00:00:00Z"});
    let backfill = api.post(&format!("{SCHEDULE}:backfill"), range).await;
    assert_eq!((&backfill["accepted"], &backfill["ranBefore"]), (&json!(2), &json!(0)), "{backfill}");
    let ran = |fires: &Value| {
        let fires = fires["fires"].as_array().unwrap();
        fires.len() == 3 && fires.iter().all(|fire| fire["outcome"] == "FIRE_OUTCOME_RAN")
    };
    api.eventually(&format!("{SCHEDULE}/fires"), ran).await;
    assert_eq!(api.delete(SCHEDULE).await, json!({}));
}

async fn workflows(api: &mut Api) {
    let spec = |task: Value| json!({"name": "calls", "steps": [{"name": "only", "task": task}], "output": "1 + 1"});
    assert_eq!(api.post("/v1/workflows:check", spec(program(&["true"]))).await, json!({}));
    let submitted = api.post("/v1/workflows", spec(program(&["true"]))).await;
    let id = submitted["workflowId"].as_str().unwrap();
    let ended = api.get(&format!("/v1/workflows/{id}:wait?timeout=60s")).await;
    assert_eq!(ended["state"], "WORKFLOW_STATE_SUCCEEDED", "{ended}");
    let workflow = api.get(&format!("/v1/workflows/{id}")).await;
    assert_eq!(workflow["output"], 2.0, "{workflow}");
    assert_eq!(workflow["steps"][0]["state"], "STEP_STATE_SUCCEEDED", "{workflow}");
    let rerun = api.post(&format!("/v1/workflows/{id}:rerun"), json!({"fromStep": "only"})).await;
    let again = rerun["workflowId"].as_str().unwrap();
    assert_eq!(api.get(&format!("/v1/workflows/{again}:wait?timeout=60s")).await["rerunOf"], id);

    let submitted = api.post("/v1/workflows", spec(waiting("http"))).await;
    let id = submitted["workflowId"].as_str().unwrap();
    let paused = api.post(&format!("/v1/workflows/{id}:pause"), json!({})).await;
    assert_eq!(paused["state"], "WORKFLOW_STATE_PAUSED", "{paused}");
    let resumed = api.post(&format!("/v1/workflows/{id}:resume"), json!({})).await;
    assert_eq!(resumed["state"], "WORKFLOW_STATE_RUNNING", "{resumed}");
    api.post(&format!("/v1/workflows/{id}:cancel"), json!({"reason": "enough"})).await;
    let ended = api.get(&format!("/v1/workflows/{id}:wait?timeout=60s")).await;
    assert_eq!(ended["state"], "WORKFLOW_STATE_CANCELLED", "{ended}");
    let listed = api.get("/v1/workflows?states=WORKFLOW_STATE_CANCELLED").await;
    assert_eq!(listed["workflows"][0]["id"], id, "{listed}");
}
