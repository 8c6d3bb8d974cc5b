//! Callers who mean harm: what they do ends with their connection, and others notice nothing.

use std::time::Duration;

use bytes::Bytes;
use gateway::Config;
use h2::{Reason, client::SendRequest};
use http::Request;
use mcp_proto::scheduler::v1::{GetTaskRequest, task_service_client::TaskServiceClient};
use testkit::eventually;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use tonic::transport::Channel;

use crate::{
    backend::Backend,
    support::{Cluster, LIMIT},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types. Source: RFC 9113, section 6.
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![len[1], len[2], len[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Somebody else on the only data-plane thread, whose calls must go on.
struct Bystander(TaskServiceClient<Channel>);

impl Bystander {
    async fn of(cluster: &Cluster) -> Self {
        Self(TaskServiceClient::new(cluster.channel().await))
    }

    async fn is_well(&mut self) {
        let answer = self.0.get_task(GetTaskRequest { task_id: "7".into() });
        let answer = tokio::time::timeout(LIMIT, answer).await.expect("an answer in time");
        assert_eq!(answer.expect("the call succeeds").into_inner().task.unwrap().id, "7");
    }
}

fn on_one_thread() -> Config {
    let mut config = Config::default();
    config.gateway.data_plane_threads = 1;
    config
}

async fn h2_client(cluster: &Cluster) -> (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>) {
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    (sender, tokio::spawn(connection))
}

fn call(id: &str) -> Request<()> {
    let request = Request::post("http://gateway/mcp.scheduler.v1.TaskService/GetTask");
    request.header("content-type", "application/grpc").header("x-id", id).body(()).unwrap()
}

#[tokio::test]
async fn who_gives_up_call_after_call_is_cut_off() {
    let backend = Backend::start("one").await;
    let mut config = on_one_thread();
    config.gateway.downstream.resets_max = 100;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut bystander = Bystander::of(&cluster).await;
    bystander.is_well().await;
    let (sender, connection) = h2_client(&cluster).await;
    let attack = async {
        for index in 0..100_000 {
            let Ok(mut ready) = sender.clone().ready().await else { return index };
            let Ok((_answer, mut stream)) = ready.send_request(call("x"), false) else { return index };
            tokio::task::yield_now().await;
            stream.send_reset(Reason::CANCEL);
            if index % 500 == 0 {
                bystander.is_well().await;
            }
        }
        100_000
    };
    let sent = tokio::time::timeout(LIMIT, attack).await.expect("it ends");
    assert!(sent < 100_000, "the connection is cut off");
    drop(connection.await.unwrap());
    bystander.is_well().await;
    eventually(LIMIT, || async {
        if backend.state.running() == 0 { Ok(()) } else { Err(format!("{} calls left", backend.state.running())) }
    })
    .await;
}

/// Calls the task `never` and gives up as soon as the backend has it; false once the connection is gone.
async fn call_and_give_up(sender: &SendRequest<Bytes>, backend: &Backend) -> bool {
    let before = backend.state.reached();
    let Ok(mut ready) = sender.clone().ready().await else { return false };
    let Ok((mut answer, mut stream)) = ready.send_request(call("x"), false) else { return false };
    let message = Bytes::from_static(b"\0\0\0\0\x07\x0a\x05never");
    if stream.send_data(message, true).is_err() {
        return false;
    }
    let arrived = eventually(LIMIT, || async {
        if backend.state.reached() > before { Ok(()) } else { Err("it has not arrived".into()) }
    });
    tokio::select! {
        () = arrived => {}
        // There is no answer but the end of the connection.
        _ = &mut answer => return false,
    }
    stream.send_reset(Reason::CANCEL);
    true
}

#[tokio::test]
async fn who_gives_up_calls_that_were_begun_is_cut_off_too() {
    let backend = Backend::start("one").await;
    let mut config = on_one_thread();
    config.gateway.downstream.resets_max = 20;
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut bystander = Bystander::of(&cluster).await;
    let (sender, _connection) = h2_client(&cluster).await;
    let mut calls = 0;
    // On a machine that is too busy some are not given up soon enough to count.
    while calls < 1_000 && call_and_give_up(&sender, &backend).await {
        calls += 1;
    }
    assert!((20..1_000).contains(&calls), "{calls} calls");
    bystander.is_well().await;
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_refused() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(on_one_thread(), &[&backend]).await;
    let mut bystander = Bystander::of(&cluster).await;
    let names: Vec<String> = (0..150).map(|index| format!("x-{index}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let answer = cluster.send(http::Method::GET, "/v1/tasks/7", &many, Bytes::new()).await;
    assert_eq!(answer.status, 431);

    let (sender, _connection) = h2_client(&cluster).await;
    let mut request = Request::get("http://gateway/v1/tasks/7");
    for (name, value) in &many {
        request = request.header(*name, *value);
    }
    let (answer, _) = sender.clone().ready().await.unwrap().send_request(request.body(()).unwrap(), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 431);
    let large = Request::get("http://gateway/v1/tasks/7").header("x-large", "y".repeat(60_000)).body(()).unwrap();
    let outcome = sender.clone().ready().await.unwrap().send_request(large, true);
    if let Ok((answer, _)) = outcome {
        assert!(answer.await.map_or(true, |answer| answer.status() == 431));
    }
    bystander.is_well().await;
    assert_eq!(backend.state.reached(), 1, "only the bystander's call went on");
}

/// Sends frames until the gateway closes, or all are sent; true when it was refused: reset, or told to go with an error.
async fn flood(cluster: &Cluster, frames: &[u8], times: usize) -> bool {
    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut said = Vec::new();
        let ended = reader.read_to_end(&mut said).await;
        ended.is_err() || is_sent_away(&said)
    });
    let start = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    let mut closed = writer.write_all(&start).await.is_err();
    for _ in 0..times {
        closed = closed || writer.write_all(frames).await.is_err();
    }
    drop(writer);
    tokio::time::timeout(LIMIT, reading).await.expect("the gateway ends the connection").unwrap() || closed
}

/// True when one of the frames is a GOAWAY with an error.
fn is_sent_away(mut frames: &[u8]) -> bool {
    while let Some((head, rest)) = frames.split_first_chunk::<9>() {
        let len = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((payload, rest)) = rest.split_at_checked(len) else { return false };
        if head[3] == GOAWAY && payload[4..8] != [0; 4] {
            return true;
        }
        frames = rest;
    }
    false
}

#[tokio::test]
async fn floods_of_frames_harm_nobody_else() {
    let backend = Backend::start("one").await;
    let cluster = Cluster::configured(on_one_thread(), &[&backend]).await;
    let mut bystander = Bystander::of(&cluster).await;
    let pings = frame(PING, 0, 0, &[0; 8]).repeat(1_000);
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(1_000);
    let endless = [frame(HEADERS, 0, 1, &[0x82]), frame(CONTINUATION, 0, 1, &[]).repeat(100_000)].concat();
    let large = [frame(HEADERS, 0, 1, &[0x82]), frame(CONTINUATION, 0, 1, &[0x40; 16_000]).repeat(100)].concat();
    for (name, frames, times) in
        [("ping", &pings, 50), ("settings", &settings, 50), ("continuation", &endless, 1), ("large head", &large, 1)]
    {
        let (cluster, frames) = (&cluster, frames.as_slice());
        let attack = flood(cluster, frames, times);
        let others = async {
            for _ in 0..20 {
                bystander.is_well().await;
            }
        };
        let (closed, ()) = tokio::join!(attack, others);
        let must_close = matches!(name, "continuation" | "large head");
        assert!(closed || !must_close, "{name}");
        bystander.is_well().await;
    }
}

/// The next frame's type, flags and stream. Its payload is read and dropped.
async fn next_frame(stream: &mut TcpStream) -> (u8, u8, u32) {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.expect("the connection is open");
    let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    stream.read_exact(&mut payload).await.expect("the connection is open");
    (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]))
}

#[tokio::test]
async fn who_is_refused_again_and_again_before_its_messages_came_keeps_its_connection() {
    const DATA: u8 = 0;
    const CALLS: u32 = 2_000;
    let cluster = Cluster::configured(on_one_thread(), &[]).await;
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    // POST, http, the path, the content type. Source: RFC 7541, appendix A.
    let block = [&[0x83, 0x86, 0x04, 6], &b"/x.Y/Z"[..], &[0x0f, 0x10, 16], b"application/grpc"].concat();
    let told = async {
        for call in 0..CALLS {
            let id = 2 * call + 1;
            stream.write_all(&frame(HEADERS, 4, id, &block)).await.unwrap();
            while next_frame(&mut stream).await != (HEADERS, 5, id) {}
        }
        for call in 0..CALLS {
            stream.write_all(&frame(DATA, 1, 2 * call + 1, &[0; 5])).await.unwrap();
        }
        stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.unwrap();
        loop {
            let (kind, flags, _) = next_frame(&mut stream).await;
            assert_ne!(kind, GOAWAY, "what came late is no reason to close the connection");
            if (kind, flags) == (PING, 1) {
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, told).await.expect("answers in time");
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up() {
    let backend = Backend::start("one").await;
    let mut config = on_one_thread();
    (config.gateway.downstream.body_grace, config.gateway.downstream.body_rate_min) =
        (Duration::from_millis(100), 1_000);
    let cluster = Cluster::configured(config, &[&backend]).await;
    let mut stream = TcpStream::connect(cluster.address).await.unwrap();
    let head = b"POST /v1/tasks HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{";
    stream.write_all(head).await.unwrap();
    let mut answer = vec![0; 12];
    tokio::time::timeout(LIMIT, stream.read_exact(&mut answer)).await.expect("an answer in time").unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 408");
    Bystander::of(&cluster).await.is_well().await;
}

/// True once the gateway has closed the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(LIMIT, stream.read_to_end(&mut rest)).await.expect("it is closed");
    read.is_err() || rest.is_empty()
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let mut config = on_one_thread();
    config.gateway.downstream.connections_per_ip_max = 3;
    let cluster = Cluster::configured(config, &[]).await;
    let mut held = Vec::new();
    // The test's own probe may hold one for a moment longer.
    eventually(LIMIT, || async {
        let mut stream = TcpStream::connect(cluster.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.map_err(|error| error.to_string())?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    while held.len() < 10 {
        let mut stream = TcpStream::connect(cluster.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap_or_default();
        let mut answer = [0; 12];
        match stream.read_exact(&mut answer).await {
            Ok(_) => held.push(stream),
            Err(_) => {
                assert!(is_closed(&mut stream).await);
                break;
            }
        }
    }
    assert!((1..=3).contains(&held.len()), "{} connections", held.len());
    held.clear();
    eventually(LIMIT, || async {
        let stream = TcpStream::connect(cluster.address).await.unwrap();
        let (mut reader, mut writer) = stream.into_split();
        writer.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.map_err(|error| error.to_string())?;
        reader.read_exact(&mut [0; 12]).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
}

#[tokio::test]
async fn a_connection_without_calls_is_told_to_go() {
    let mut config = on_one_thread();
    config.gateway.downstream.idle_timeout = Duration::from_millis(100);
    let cluster = Cluster::configured(config, &[]).await;
    let (sender, connection) = h2_client(&cluster).await;
    let ended = tokio::time::timeout(LIMIT, connection).await.expect("it is told to go").unwrap();
    drop((sender, ended));
}
