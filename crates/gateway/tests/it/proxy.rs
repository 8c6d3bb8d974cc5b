//! The transparent gRPC proxy.

use std::time::Duration;

use futures_util::StreamExt;
use http::uri::PathAndQuery;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use mcp_proto::{
    Code, Error,
    scheduler::v1::{
        GetTaskRequest, ReadTaskLogsRequest, SubmitTaskRequest, TaskSpec, WatchTasksRequest,
        task_service_client::TaskServiceClient,
    },
    worker::v1::{OpenSessionRequest, worker_session_service_client::WorkerSessionServiceClient},
};
use testkit::eventually;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, client::Grpc, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

fn get(id: &str) -> Request<GetTaskRequest> {
    Request::new(GetTaskRequest { task_id: id.into() })
}

fn code(status: &Status) -> Code {
    Error::from(status).code()
}

#[tokio::test]
async fn a_unary_call_keeps_metadata_both_ways_and_has_a_trace() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);

    let mut request = get("7");
    request.metadata_mut().insert("mcp-partition-key", "a/b".parse().unwrap());
    request.metadata_mut().insert("keep-alive", "ends here".parse().unwrap());
    request
        .metadata_mut()
        .insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
    let response = client.get_task(request).await.unwrap();
    assert_eq!(response.metadata().get("x-backend").unwrap(), "here");
    assert_eq!(response.metadata().get("x-trace-id").unwrap(), "4bf92f3577b34da6a3ce929d0e0e4736");
    let seen = response.into_inner().task.unwrap().spec.unwrap().labels;
    assert_eq!(seen["mcp-partition-key"], "a/b");
    assert!(seen["traceparent"].starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{seen:?}");
    assert!(!seen.contains_key("keep-alive"), "{seen:?}");
}

#[tokio::test]
async fn an_error_comes_through_with_its_details_and_trailers() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);

    let status = client.get_task(get("missing")).await.unwrap_err();
    assert_eq!(code(&status), Code::TaskNotFound);
    assert_eq!(status.metadata().get("x-trailer").unwrap(), "kept");
    assert!(status.metadata().contains_key("x-trace-id"));

    let status = client.get_task(get("full")).await.unwrap_err();
    assert_eq!(Error::from(&status).retry_after(), Some(Duration::from_millis(2_500)));
}

#[tokio::test]
async fn a_server_stream_comes_message_by_message_and_its_error_in_the_trailers() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await);

    let mut watch = client.watch_tasks(WatchTasksRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().dropped, 0);
    for dropped in 1..=3 {
        backend
            .state
            .events
            .send(mcp_proto::scheduler::v1::WatchTasksResponse { events: Vec::new(), dropped })
            .unwrap();
        assert_eq!(watch.message().await.unwrap().unwrap().dropped, dropped, "it comes before the next is sent");
    }

    let request = ReadTaskLogsRequest { task_id: "breaks".into(), after_seq: 3, follow: false };
    let mut logs = client.read_task_logs(request).await.unwrap().into_inner();
    for seq in 1..=3 {
        assert_eq!(logs.message().await.unwrap().unwrap().lines[0].seq, seq);
    }
    let status = logs.message().await.unwrap_err();
    assert_eq!(code(&status), Code::StoreUnavailable);
    assert_eq!(status.metadata().get("x-trailer").unwrap(), "kept");
}

#[tokio::test]
async fn both_directions_of_a_bidirectional_stream_are_live_and_end_in_order() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut client = WorkerSessionServiceClient::new(cluster.channel().await);

    let (sender, receiver) = mpsc::channel(1);
    let mut answers = client.open_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    for pong in 1..=100 {
        sender.send(OpenSessionRequest { pong, ..OpenSessionRequest::default() }).await.unwrap();
        assert_eq!(answers.message().await.unwrap().unwrap().ping, pong);
    }
    drop(sender);
    assert_eq!(answers.message().await.unwrap(), None);
    assert!(answers.trailers().await.unwrap().is_some());
}

#[tokio::test]
async fn many_small_messages_that_wait_to_be_read_do_not_cost_the_connection() {
    const MESSAGES: u64 = 2_000;
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    // A caller that takes next to nothing ahead, so that the answers wait in the gateway until they are read.
    let endpoint = Channel::from_shared(cluster.base()).unwrap().initial_stream_window_size(64);
    let channel = endpoint.connect().await.unwrap();
    let mut client = WorkerSessionServiceClient::new(channel.clone());
    let (sender, receiver) = mpsc::channel(1);
    let mut answers = client.open_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    for pong in 1..=MESSAGES {
        sender.send(OpenSessionRequest { pong, ..OpenSessionRequest::default() }).await.unwrap();
    }
    assert!(TaskServiceClient::new(channel).get_task(get("7")).await.is_ok(), "another call on the same connections");
    for ping in 1..=MESSAGES {
        assert_eq!(answers.message().await.unwrap().unwrap().ping, ping);
    }
}

/// Calls a method without knowing its types.
async fn call(channel: Channel, path: &'static str) -> Status {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<GetTaskRequest, GetTaskRequest>::default();
    grpc.unary(get("7"), PathAndQuery::from_static(path), codec).await.unwrap_err()
}

#[tokio::test]
async fn a_service_that_nobody_registered_is_not_found_and_one_that_is_known_has_no_instance() {
    let cluster = Cluster::with(&[]).await;
    let status = call(cluster.channel().await, "/acme.v1.Unknown/Do").await;
    assert_eq!((code(&status), status.code()), (Code::ServiceNotFound, tonic::Code::Unimplemented));
    assert_eq!(Error::from(&status).metadata()["service"], "acme.v1.Unknown");
    assert!(status.metadata().contains_key("x-trace-id"));

    let status = call(cluster.channel().await, "/mcp.scheduler.v1.TaskService/GetTask").await;
    assert_eq!((code(&status), status.code()), (Code::NoInstance, tonic::Code::Unavailable));

    let status = call(cluster.channel().await, "/nothing").await;
    assert_eq!(code(&status), Code::ServiceNotFound);
}

#[tokio::test]
async fn a_caller_that_gives_up_stops_the_work_behind() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let channel = cluster.channel().await;
    let state = &backend.state;

    let mut client = TaskServiceClient::new(channel.clone());
    let unary = tokio::spawn(async move { client.get_task(get("never")).await });
    let (sender, receiver) = mpsc::channel(1);
    let mut client = WorkerSessionServiceClient::new(channel.clone());
    let mut session = client.open_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    sender.send(OpenSessionRequest { pong: 1, ..OpenSessionRequest::default() }).await.unwrap();
    assert!(session.message().await.unwrap().is_some());
    let mut client = TaskServiceClient::new(channel);
    let mut watch = client.watch_tasks(WatchTasksRequest::default()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    running(&backend, 3).await;

    unary.abort();
    running(&backend, 2).await;
    drop(watch);
    running(&backend, 1).await;
    drop((session, sender));
    running(&backend, 0).await;
    assert_eq!(state.reached(), 3);
}

async fn running(backend: &Backend, count: usize) {
    eventually(LIMIT, || async {
        match backend.state.running() {
            running if running == count => Ok(()),
            running => Err(format!("{running} calls are running, not {count}")),
        }
    })
    .await;
}

/// A client that leaves the deadline to the others: tonic's own transport would end the call itself.
fn untimed(cluster: &Cluster) -> (hyper_util::client::legacy::Client<HttpConnector, tonic::body::Body>, http::Uri) {
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    (client, cluster.base().parse().unwrap())
}

#[tokio::test]
async fn a_deadline_ends_the_call_on_both_sides() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let (transport, origin) = untimed(&cluster);
    let mut client = TaskServiceClient::with_origin(transport.clone(), origin.clone());

    let mut request = get("never");
    request.metadata_mut().insert("grpc-timeout", "100m".parse().unwrap());
    let status = client.get_task(request).await.unwrap_err();
    assert_eq!((code(&status), status.code()), (Code::DeadlineExceeded, tonic::Code::DeadlineExceeded));
    running(&backend, 0).await;

    let mut request = get("7");
    request.metadata_mut().insert("grpc-timeout", "10S".parse().unwrap());
    let seen = client.get_task(request).await.unwrap().into_inner().task.unwrap().spec.unwrap().labels;
    let left: u64 = seen["grpc-timeout"].trim_end_matches('u').parse().unwrap();
    assert!((1_000_000..=10_000_000).contains(&left), "{left} us");

    let mut request = get("7");
    request.metadata_mut().insert("grpc-timeout", "-1S".parse().unwrap());
    let status = client.get_task(request).await.unwrap_err();
    assert_eq!(code(&status), Code::InvalidArgument);

    let (_sender, receiver) = mpsc::channel(1);
    let mut request = Request::new(ReceiverStream::new(receiver));
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    let mut client = WorkerSessionServiceClient::with_origin(transport, origin);
    let mut session = client.open_session(request).await.unwrap().into_inner();
    let status = session.message().await.unwrap_err();
    assert_eq!(code(&status), Code::DeadlineExceeded, "{status:?}");
    // The caller's side is still open, and yet the call is over behind the gateway.
    running(&backend, 0).await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_one_below_it_passes() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut client = TaskServiceClient::new(cluster.channel().await)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    let submit =
        |mib: usize| SubmitTaskRequest { task: Some(TaskSpec { name: "x".repeat(mib << 20), ..TaskSpec::default() }) };
    let response = client.submit_task(submit(15)).await.unwrap();
    assert!(response.into_inner().task_id.len() > 15 << 20);
    let status = client.submit_task(submit(17)).await.unwrap_err();
    assert_eq!((code(&status), status.code()), (Code::PayloadTooLarge, tonic::Code::ResourceExhausted));
    assert_eq!(backend.state.reached(), 1);
}

#[tokio::test]
async fn a_message_over_the_limit_ends_a_stream_that_had_begun() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::with(&[&backend]).await;
    let mut client = WorkerSessionServiceClient::new(cluster.channel().await).max_encoding_message_size(usize::MAX);
    let small = OpenSessionRequest { pong: 1, ..OpenSessionRequest::default() };
    let hello = mcp_proto::worker::v1::WorkerHello { name: "x".repeat(17 << 20), ..Default::default() };
    let large = OpenSessionRequest { hello: Some(hello), ..OpenSessionRequest::default() };
    let (sender, receiver) = mpsc::channel(2);
    let mut answers = client.open_session(ReceiverStream::new(receiver)).await.unwrap().into_inner();
    sender.send(small).await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().ping, 1);
    sender.send(large).await.unwrap();
    let status = answers.message().await.unwrap_err();
    assert_eq!(code(&status), Code::PayloadTooLarge, "{status:?}");
    running(&backend, 0).await;
}

#[tokio::test]
async fn more_long_calls_than_one_connection_takes_do_not_hold_up_others() {
    let backend = Backend::start("one").await;
    let mut config = gateway::Config::default();
    config.gateway.upstream.streams_max = 10;
    config.gateway.downstream.streams_max = 1_000;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let channel = cluster.channel().await;
    let mut watches = Vec::new();
    for _ in 0..100 {
        let mut client = TaskServiceClient::new(channel.clone());
        let mut watch = client.watch_tasks(WatchTasksRequest::default()).await.unwrap().into_inner();
        assert!(watch.next().await.unwrap().is_ok());
        watches.push(watch);
    }
    let mut client = TaskServiceClient::new(channel);
    assert!(client.get_task(get("7")).await.is_ok());
    assert_eq!(backend.state.running(), 100);
}

#[tokio::test]
async fn the_gateway_has_health_and_reflection_of_its_own() {
    let cluster = Cluster::with(&[]).await;
    let mut health = HealthClient::new(cluster.channel().await);
    let response = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(response.status(), tonic_health::pb::health_check_response::ServingStatus::Serving);

    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let mut reflection = ServerReflectionClient::new(cluster.channel().await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers = reflection.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response
    else {
        panic!("not a list of services");
    };
    assert!(list.service.iter().any(|service| service.name == "mcp.gateway.v1.KeyService"), "{list:?}");
}
