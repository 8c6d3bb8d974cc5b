//! One job through every way in, and as one trace.

use std::{collections::BTreeMap, time::Duration};

use mcp_client::value::from_value;
use mcp_proto::scheduler::v1::{LogStream, TaskState};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testkit::{
    eventually, http,
    otlp::{OtlpReceiver, ReceivedSpan},
};

use crate::support::{Cluster, Dev, SOON, ends, file_lines, mcp, program};

/// A program that writes to both streams and gives a result.
const SCRIPT: &str = r#"echo hello; echo oops >&2; printf '{"answer":42}' > "$MCP_OUTPUT""#;

#[tokio::test]
async fn a_task_submitted_by_grpc_brings_back_its_result_and_its_log() {
    let dev = Dev::start(&[]).await;
    let client = dev.client();
    let submitted = client.submit(program(&["sh", "-c", SCRIPT])).await.unwrap();
    let task = ends(&client, &submitted.task_id, TaskState::Succeeded).await;
    assert_eq!(from_value(task.output.unwrap()), json!({"answer": 42}));
    assert_eq!(task.exit_code, Some(0));

    let mut lines = Vec::new();
    let mut stream = client.logs(&submitted.task_id, 0, true).await.unwrap();
    while let Some(group) = stream.message().await.unwrap() {
        lines.extend(group.lines);
    }
    let mut texts: Vec<_> = lines.iter().map(|line| (line.stream(), line.text.as_str())).collect();
    texts.sort_unstable();
    assert_eq!(texts, [(LogStream::Stdout, "hello"), (LogStream::Stderr, "oops")]);
}

#[tokio::test]
async fn a_task_submitted_by_http_brings_back_its_result_and_its_log() {
    let dev = Dev::start(&[]).await;
    let body = json!({"process": {"argv": ["sh", "-c", SCRIPT]}, "labels": {"way": "http"}});
    let answer = http::post(&dev.url, "/v1/tasks", body.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.headers.contains_key("x-trace-id"), "{:?}", answer.headers);
    let id = answer.json()["taskId"].as_str().unwrap().to_owned();

    let task = http::get(&dev.url, &format!("/v1/tasks/{id}:wait?timeout=60s")).await.json();
    assert_eq!(task["state"], "TASK_STATE_SUCCEEDED", "{task}");
    assert_eq!(task["output"], json!({"answer": 42}));
    assert_eq!(task["spec"]["labels"]["way"], "http");

    let log = http::get(&dev.url, &format!("/v1/tasks/{id}/logs?follow=true")).await;
    let texts: Vec<String> = String::from_utf8(log.body.to_vec())
        .unwrap()
        .lines()
        .flat_map(|line| {
            let group: Value = serde_json::from_str(line).unwrap();
            group["lines"].as_array().cloned().unwrap_or_default()
        })
        .map(|line| line["text"].as_str().unwrap().to_owned())
        .collect();
    assert!(texts.contains(&"hello".to_owned()) && texts.contains(&"oops".to_owned()), "{texts:?}");
}

#[tokio::test]
async fn a_task_submitted_by_the_command_line_brings_back_its_result_and_its_log() {
    let dev = Dev::start(&[]).await;
    let run = |args: Vec<String>| {
        let mut command = mcp();
        command.arg("--gateway").arg(&dev.url).args(["--output", "json"]).args(args);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), error)
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();

    let mut submit = words("submit --wait -- sh -c");
    submit.push(SCRIPT.to_owned());
    let (code, text, error) = run(submit);
    assert_eq!(code, Some(0), "{text}{error}");
    let task: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(task["output"], json!({"answer": 42}));
    let id = task["id"].as_str().unwrap();

    let (_, log, _) = run(words(&format!("logs {id}")));
    assert!(log.contains("hello") && log.contains("oops"), "{log}");
    let (_, list, _) = run(words("list --state succeeded"));
    assert!(list.contains(id), "{list}");
    let (_, services, _) = run(words("services"));
    assert!(services.contains("scheduler") && services.contains("worker"), "{services}");
    let (code, document, error) = run(words("openapi"));
    let document: Value = serde_json::from_str(&document).unwrap_or_else(|_| panic!("{code:?} {document}{error}"));
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert!(document["paths"]["/v1/tasks"]["post"].is_object());
    let (code, _, error) = run(words("get 018f3b1e-7c1a-7000-8000-0123456789ab"));
    assert_eq!(code, Some(4), "{error}");
    assert!(error.contains("TASK_NOT_FOUND"), "{error}");
    let (code, text, _) = run(words("submit --wait --retries 0 -- false"));
    assert_eq!(code, Some(1), "{text}");
}

#[tokio::test]
async fn one_trace_holds_the_spans_of_every_service_and_of_the_process() {
    let receiver = OtlpReceiver::start().await;
    let cluster = Cluster::traced(&["worker-1"], Some(receiver.endpoint().to_owned())).await;
    let body = json!({"process": {"argv": ["sh", "-c", "echo $TRACEPARENT"]}}).to_string();
    let answer = http::post(&cluster.gateway_url().await, "/v1/tasks", body).await;
    let trace_id = answer.headers["x-trace-id"].to_str().unwrap().to_owned();
    let id = answer.json()["taskId"].as_str().unwrap().to_owned();
    let client = cluster.client().await;
    let task = ends(&client, &id, TaskState::Succeeded).await;
    assert_eq!(task.trace_id, trace_id);

    // From the process up to the caller: each span's parent is the one before it.
    let chain = eventually(SOON, || async {
        let spans: Vec<ReceivedSpan> = receiver.spans().into_iter().filter(|span| span.trace_id == trace_id).collect();
        let by_id: BTreeMap<&str, &ReceivedSpan> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
        let mut chain = Vec::new();
        let mut next = spans.iter().find(|span| span.name == "process");
        while let Some(span) = next {
            chain.push(span.clone());
            next = by_id.get(span.parent_span_id.as_str()).copied();
        }
        let is_whole = chain.last().is_some_and(|root| root.parent_span_id.is_empty());
        if is_whole { Ok(chain) } else { Err(format!("{spans:#?}")) }
    })
    .await;
    let names: Vec<(&str, &str)> = chain.iter().map(|span| (span.service.as_str(), span.name.as_str())).collect();
    let expected = [
        ("worker", "process"),
        ("worker", "task.attempt"),
        ("scheduler", "mcp.scheduler.v1.TaskService/SubmitTask"),
        ("gateway", "mcp.scheduler.v1.TaskService/SubmitTask"),
        ("gateway", "POST /v1/tasks"),
    ];
    assert_eq!(names, expected, "{chain:#?}");

    let mut log = client.logs(&id, 0, true).await.unwrap();
    let group = log.message().await.unwrap().expect("the program wrote a line");
    assert_eq!(group.lines[0].text, format!("00-{trace_id}-{}-01", chain[0].span_id), "the process can go on with it");
}

#[tokio::test]
async fn a_task_whose_worker_is_killed_ends_once_on_another_one() {
    let mut cluster = Cluster::start(&["worker-1"]).await;
    let client = cluster.client().await;
    let folder = tempfile::tempdir().unwrap();
    let starts = folder.path().join("starts");
    let open = folder.path().join("open");
    // Each attempt notes its start; it ends once the gate is open.
    let script = r#"echo "$MCP_FENCING_TOKEN" >> "$1"; while [ ! -e "$2" ]; do sleep 0.1; done; echo done"#;
    let argv = ["sh", "-c", script, "sh", starts.to_str().unwrap(), open.to_str().unwrap()];
    let id = client.submit(program(&argv)).await.unwrap().task_id;
    file_lines(&starts, 1).await;

    cluster.serve("worker", "worker-2");
    cluster.registered("worker", "worker-2").await;
    let first = client.get(&id).await.unwrap().worker_id;
    cluster.process("worker-1").kill();
    let tokens = file_lines(&starts, 2).await;
    tokio::fs::write(&open, "").await.unwrap();

    let task = ends(&client, &id, TaskState::Succeeded).await;
    assert_ne!(task.worker_id, first);
    assert_eq!(tokens.len(), 2, "the task was started once on each worker");
    assert_ne!(tokens[0], tokens[1], "each attempt has a token of its own");
    assert_eq!(task.error, None, "{task:?}");
}

#[tokio::test]
async fn dev_stops_in_order_when_told_to() {
    let mut dev = Dev::start(&[]).await;
    dev.process.signal(Signal::SIGTERM);
    let status = dev.process.ended(Duration::from_secs(30)).await;
    assert!(status.success(), "{status}: {}", dev.process.output());
}
