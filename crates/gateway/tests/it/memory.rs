//! Memory while a caller reads slowly.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response};
use testkit::eventually;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    backend::record,
    support::{Cluster, LIMIT, register},
};

/// Set in the process in which nothing else runs.
const ALONE: &str = "MCP_TEST_ALONE";

/// What the stream would have in all.
const STREAM_BYTES: usize = 1 << 30;

/// How much more memory it may take.
const MORE_MAX: usize = 64 << 20;

/// How much the caller reads, slowly.
const READ_BYTES: usize = 64 << 20;

/// Resident memory of this process, in bytes. Source: proc(5), the second field of `statm` in pages of 4 KiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Serves each call with a stream of 1 GiB, as fast as it is taken.
async fn endless(listener: TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
                let body = respond.send_response(head, false).unwrap();
                tokio::spawn(pour(body));
            }
        });
    }
}

async fn pour(mut body: h2::SendStream<Bytes>) -> Option<()> {
    let chunk = Bytes::from(vec![0; 16 << 10]);
    let mut left = STREAM_BYTES;
    while left > 0 {
        body.reserve_capacity(chunk.len());
        let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await?.ok()?;
        let len = room.min(chunk.len()).min(left);
        body.send_data(chunk.slice(..len), false).ok()?;
        left -= len;
    }
    Some(())
}

async fn read_slowly() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(endless(listener));
    let cluster = Cluster::with(&[]).await;
    register(&cluster.coord, &record("endless", &address)).await;
    eventually(LIMIT, || async {
        let known = cluster.get("/admin/upstreams").await;
        if known.text().contains("backend/endless") { Ok(()) } else { Err(known.text().to_owned()) }
    })
    .await;

    let stream = TcpStream::connect(cluster.address).await.unwrap();
    let (sender, connection) = h2::client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 20)
        .handshake::<_, Bytes>(stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(Method::POST)
        .uri("http://gateway/mcp.scheduler.v1.TaskService/ReadTaskLogs")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let before = resident();
    let mut sender = sender.ready().await.unwrap();
    let (response, _) = sender.send_request(request, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let (mut read, mut most) = (0, 0);
    while read < READ_BYTES {
        let data = tokio::time::timeout(LIMIT, body.data()).await.unwrap().unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        read += data.len();
        if read % (1 << 20) < data.len() {
            // What is ahead of the reader has time to pile up.
            tokio::time::sleep(Duration::from_millis(5)).await;
            most = most.max(resident().saturating_sub(before));
        }
    }
    assert!(most < MORE_MAX, "{} MiB more", most >> 20);
}

/// In a process of its own: memory is the process's, and other tests need it too.
#[tokio::test]
async fn a_slow_reader_of_a_gibibyte_does_not_fill_the_memory() {
    if std::env::var_os(ALONE).is_some() {
        return read_slowly().await;
    }
    let mut alone = Command::new(std::env::current_exe().unwrap());
    alone.args(["--exact", "memory::a_slow_reader_of_a_gibibyte_does_not_fill_the_memory"]).env(ALONE, "1");
    let output = tokio::task::spawn_blocking(move || alone.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
