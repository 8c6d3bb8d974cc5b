//! Bad input gets its entry of the catalogue, the same on gRPC and on HTTP.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        CancelTaskRequest, GetTaskRequest, ListTasksRequest, ProcessWork, SubmitTaskRequest, TaskSpec,
        task_service_client::TaskServiceClient, task_spec::Work,
    },
};
use prost_types::Duration;
use serde_json::{Value, json};
use testkit::http as web;
use tonic::{Status, transport::Channel};

use crate::support::{Dev, program};

/// An id that no task has.
const NOBODY: &str = "018f3b1e-7c1a-7000-8000-0123456789ab";

/// 17 MiB, which is over the limit of 16.
const TOO_LARGE: usize = 17 * 1024 * 1024;

async fn grpc(dev: &Dev) -> TaskServiceClient<Channel> {
    TaskServiceClient::connect(dev.url.clone())
        .await
        .expect("the gateway answers")
        .max_encoding_message_size(usize::MAX)
}

async fn submit_status(dev: &Dev, task: TaskSpec) -> Status {
    let request = SubmitTaskRequest { task: Some(task) };
    grpc(dev).await.submit_task(request).await.expect_err("the submit is refused")
}

/// Asserts that a status is this entry of the catalogue, details and all.
#[track_caller]
fn is(status: &Status, code: Code) -> Error {
    let error = Error::from(status);
    assert_eq!((error.code(), status.code()), (code, code.grpc()), "{status:?}");
    error
}

/// Asserts that an HTTP answer is this entry of the catalogue.
#[track_caller]
fn is_json(answer: &web::Answer, code: Code) -> Value {
    assert_eq!(answer.status.as_u16(), code.http(), "{answer:?}");
    let body = answer.json();
    assert_eq!(body["code"], code.number(), "{body}");
    assert_eq!(body["name"], code.name(), "{body}");
    assert_eq!(body["retryable"], code.retryable(), "{body}");
    body
}

#[tokio::test]
async fn an_unknown_task() {
    let dev = Dev::start(&[]).await;
    let request = GetTaskRequest { task_id: NOBODY.into() };
    is(&grpc(&dev).await.get_task(request).await.unwrap_err(), Code::TaskNotFound);
    let request = CancelTaskRequest { task_id: NOBODY.into(), reason: String::new() };
    is(&grpc(&dev).await.cancel_task(request).await.unwrap_err(), Code::TaskNotFound);
    is_json(&web::get(&dev.url, &format!("/v1/tasks/{NOBODY}")).await, Code::TaskNotFound);
    is_json(&web::get(&dev.url, "/v1/tasks/not-an-id").await, Code::InvalidArgument);
}

#[tokio::test]
async fn an_unknown_field_in_json() {
    let dev = Dev::start(&[]).await;
    let body = json!({"process": {"argv": ["true"]}, "prioritty": 3}).to_string();
    let answer = web::post(&dev.url, "/v1/tasks", body).await;
    let body = is_json(&answer, Code::UnknownField);
    assert!(body["message"].as_str().unwrap().contains("prioritty"), "{body}");
    is_json(&web::get(&dev.url, "/v1/tasks?page_sizze=3").await, Code::UnknownField);
    is_json(&web::post(&dev.url, "/v1/tasks", "{\"process\":").await, Code::MalformedBody);
}

#[tokio::test]
async fn an_empty_argv() {
    let dev = Dev::start(&[]).await;
    let error = is(&submit_status(&dev, program(&[])).await, Code::InvalidArgument);
    assert_eq!(error.violations()[0].field, "task.process.argv", "{error:?}");
    let answer = web::post(&dev.url, "/v1/tasks", json!({"process": {"argv": []}}).to_string()).await;
    is_json(&answer, Code::InvalidArgument);
}

#[tokio::test]
async fn a_payload_of_17_mib() {
    let dev = Dev::start(&[]).await;
    let stdin = Bytes::from(vec![b'x'; TOO_LARGE]);
    let work = ProcessWork { argv: vec!["true".into()], stdin, ..Default::default() };
    let task = TaskSpec { work: Some(Work::Process(work)), ..Default::default() };
    is(&submit_status(&dev, task).await, Code::PayloadTooLarge);
    let body = json!({"process": {"argv": ["x".repeat(TOO_LARGE)]}}).to_string();
    is_json(&web::post(&dev.url, "/v1/tasks", body).await, Code::PayloadTooLarge);
}

#[tokio::test]
async fn a_negative_timeout() {
    let dev = Dev::start(&[]).await;
    let mut task = program(&["true"]);
    task.run_timeout = Some(Duration { seconds: -1, nanos: 0 });
    let error = is(&submit_status(&dev, task).await, Code::InvalidArgument);
    assert_eq!(error.violations()[0].field, "task.run_timeout", "{error:?}");
    let body = json!({"process": {"argv": ["true"]}, "runTimeout": "-1s"}).to_string();
    is_json(&web::post(&dev.url, "/v1/tasks", body).await, Code::InvalidArgument);
}

#[tokio::test]
async fn a_bad_page_token() {
    let dev = Dev::start(&[]).await;
    let request = ListTasksRequest { page_token: "nonsense".into(), ..Default::default() };
    is(&grpc(&dev).await.list_tasks(request).await.unwrap_err(), Code::InvalidPageToken);
    is_json(&web::get(&dev.url, "/v1/tasks?page_token=nonsense").await, Code::InvalidPageToken);
}

#[tokio::test]
async fn a_missing_service() {
    let dev = Dev::start(&[]).await;
    is(&call_raw(&dev, "/nobody.v1.Nothing/Do").await, Code::ServiceNotFound);
    is_json(&web::post(&dev.url, "/nobody.v1.Nothing/Do", "{}").await, Code::PathNotFound);
    is_json(&web::send(&dev.url, http::Method::DELETE, "/v1/tasks", "").await, Code::HttpMethodNotAllowed);
}

/// Calls a gRPC method of which there is no generated client, and reads its status.
async fn call_raw(dev: &Dev, path: &str) -> Status {
    let address = dev.url.trim_start_matches("http://").to_owned();
    let stream = tokio::net::TcpStream::connect(&address).await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = http::Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from_static(&[0; 5])))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let mut headers = response.headers().clone();
    if !headers.contains_key("grpc-status") {
        headers = response.into_body().collect().await.unwrap().trailers().cloned().expect("a status in the trailers");
    }
    driver.abort();
    Status::from_header_map(&headers).expect("a gRPC status")
}
