//! What happens around every call.

use http::Method;
use mcp_proto::{
    Code, Error, MESSAGE_BYTES_MAX,
    registry::v1::{DeregisterRequest, HeartbeatRequest, Instance, RegisterRequest, WatchRequest},
};
use testkit::{eventually, http as web};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::support::{LIMIT, Running, SERVICE, settings, soon, start};

fn code(status: &tonic::Status) -> Code {
    Error::from(status).code()
}

fn request_of(bytes: usize) -> RegisterRequest {
    let instance = Instance { zone: "z".repeat(bytes), ..Instance::default() };
    RegisterRequest { instance: Some(instance), ..RegisterRequest::default() }
}

#[tokio::test]
async fn a_panic_becomes_internal_and_the_connection_lives_on() {
    let server = start(settings(LIMIT), |server| server).await;
    let mut client = server.client();
    let status = soon(client.deregister(DeregisterRequest::default())).await.unwrap_err();
    assert_eq!((code(&status), status.message()), (Code::Internal, "internal error"));
    client.register(RegisterRequest::default()).await.expect("the same connection answers");
    server.stopped().await;
}

#[tokio::test]
async fn a_panic_in_a_stream_becomes_internal_and_the_connection_lives_on() {
    let server = start(settings(LIMIT), |server| server).await;
    let mut client = server.client();
    let mut stream = client.watch(WatchRequest::default()).await.unwrap().into_inner();
    soon(stream.message()).await.unwrap().expect("the item before the panic");
    assert_eq!(code(&soon(stream.message()).await.unwrap_err()), Code::Internal);
    client.register(RegisterRequest::default()).await.expect("the same connection answers");
    server.stopped().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_with_the_catalogue_code() {
    let server = start(settings(LIMIT), |server| server).await;
    let mut client = server.client();
    let status = client.register(request_of(MESSAGE_BYTES_MAX + 1024 * 1024)).await.unwrap_err();
    assert_eq!(code(&status), Code::PayloadTooLarge, "{status:?}");
    client.register(request_of(MESSAGE_BYTES_MAX - 1024)).await.expect("a message just under it is taken");
    server.stopped().await;
}

#[tokio::test]
async fn what_nobody_serves_has_a_catalogue_code_on_both_protocols() {
    let server = start(settings(LIMIT), |server| server).await;
    let answer = web::get(&server.url, "/nothing").await;
    assert_eq!((answer.status.as_u16(), answer.json()["name"].clone()), (404, "PATH_NOT_FOUND".into()));

    let mut other = mcp_proto::scheduler::v1::task_service_client::TaskServiceClient::new(server.channel());
    let status = other.get_task(mcp_proto::scheduler::v1::GetTaskRequest::default()).await.unwrap_err();
    assert_eq!(code(&status), Code::ServiceNotFound);

    let answer = web::send(&server.url, Method::POST, &format!("/{SERVICE}/Nothing"), "").await;
    assert_eq!(answer.json()["name"], "METHOD_NOT_FOUND");
    server.stopped().await;
}

#[tokio::test]
async fn own_routes_and_their_fallback_are_served_and_their_panics_are_answered() {
    let router = axum::Router::new()
        .route("/hello", axum::routing::get(|| async { "hi" }))
        .route("/panic", axum::routing::get(|| async { panic!("a route that panics") as () }))
        .fallback(|| async { (http::StatusCode::IM_A_TEAPOT, "else") });
    let server = start(settings(LIMIT), |server| server.http(router)).await;
    for (path, status) in [("/hello", 200), ("/elsewhere", 418), ("/livez", 200), ("/panic", 500)] {
        assert_eq!(server.status(path).await, status, "{path}");
    }
    assert_eq!(web::get(&server.url, "/panic").await.json()["name"], "INTERNAL");
    server.stopped().await;
}

#[tokio::test]
async fn a_deadline_that_passes_ends_a_call_with_its_catalogue_code() {
    let server = start(settings(LIMIT), |server| server).await;
    // Not by tonic's client: it would keep the time itself.
    let mut stream = TcpStream::connect(server.url.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /{SERVICE}/Discover HTTP/1.1\r\nhost: probe\r\nconnection: close\r\ncontent-type: application/grpc\r\n\
         grpc-timeout: 50m\r\ncontent-length: 5\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[0; 5]).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.contains("grpc-status: 4") && answer.contains("the%20caller"), "{answer}");
    server.stopped().await;
}

#[tokio::test]
async fn a_deadline_counts_for_the_stream_of_the_answer_too() {
    let server = start(settings(LIMIT), |server| server).await;
    let mut request = tonic::Request::new(WatchRequest { service: "x".into() });
    request.metadata_mut().insert("grpc-timeout", "1S".parse().unwrap());
    let mut stream = server.client().watch(request).await.unwrap().into_inner();
    soon(stream.message()).await.unwrap().expect("the item before the deadline");
    let status = soon(stream.message()).await.unwrap_err();
    assert_eq!(code(&status), Code::DeadlineExceeded, "{status:?}");
    server.stopped().await;
}

async fn reflected(server: &Running, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let stream = tokio_stream::once(request);
    let mut client = ServerReflectionClient::new(server.channel());
    let mut answers = client.server_reflection_info(stream).await.unwrap().into_inner();
    answers.message().await.unwrap().unwrap().message_response.unwrap()
}

#[tokio::test]
async fn reflection_lists_what_is_served_and_describes_it() {
    let server = start(settings(LIMIT), |server| server.reflected(["acme.v1.PassedOn"])).await;
    let MessageResponse::ListServicesResponse(list) =
        reflected(&server, MessageRequest::ListServices(String::new())).await
    else {
        panic!("not a list")
    };
    let mut names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    names.sort();
    let expected = ["acme.v1.PassedOn", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", SERVICE];
    assert_eq!(names, expected);
    for service in [SERVICE, "grpc.health.v1.Health"] {
        let answer = reflected(&server, MessageRequest::FileContainingSymbol(service.to_owned())).await;
        assert!(matches!(answer, MessageResponse::FileDescriptorResponse(_)), "{service}: {answer:?}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn calls_are_measured_by_their_grpc_status_under_bounded_labels() {
    let server = start(settings(LIMIT), |server| server).await;
    let mut client = server.client();
    client.register(RegisterRequest::default()).await.unwrap();
    client.heartbeat(HeartbeatRequest::default()).await.unwrap_err();
    client.deregister(DeregisterRequest::default()).await.unwrap_err();
    web::send(&server.url, Method::POST, &format!("/{SERVICE}/Invented"), "").await;

    let count = |method: &str, status: &str| {
        let labels = [
            format!("rpc_method=\"{method}\""),
            format!("rpc_response_status_code=\"{status}\""),
            format!("rpc_service=\"{SERVICE}\""),
        ];
        move |text: &str| {
            text.lines().any(|line| {
                line.starts_with("rpc_server_call_duration_seconds_count")
                    && labels.iter().all(|label| line.contains(label))
            })
        }
    };
    eventually(LIMIT, || async {
        let answer = web::get(&server.url, "/metrics").await;
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        let all = count("Register", "OK")(&text)
            && count("Heartbeat", "UNAVAILABLE")(&text)
            && count("Deregister", "INTERNAL")(&text)
            && text.contains("mcp_build_info{")
            && !text.contains("Invented");
        if all { Ok(()) } else { Err(text) }
    })
    .await;
    server.stopped().await;
}
