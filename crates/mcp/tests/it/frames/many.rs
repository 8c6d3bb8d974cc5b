//! Many sessions at once, which do nothing.

use std::time::Instant;

use futures_util::{SinkExt, StreamExt, stream};
use mcp_proto::frame::{Decoded, Frame, FrameCodec, Kind, Profile, Side, hello::Hello};
use tokio::{net::TcpStream, time::timeout};
use tokio_util::codec::Framed;

use crate::support::{Dev, SOON};

/// Sessions that are opened.
const SESSIONS: usize = 9_900;
/// Those that come first: they fill what is there once.
const FIRST: usize = 100;
/// How many are opened at a time.
const OPENING: usize = 64;
/// Memory that one may cost the gateway, in bytes.
const SESSION_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a page. Source: `statm` in proc(5) counts in them.
const PAGE_BYTES: usize = 4096;

type Wire = Framed<TcpStream, FrameCodec>;

async fn next(wire: &mut Wire) -> Frame {
    match timeout(SOON, wire.next()).await.expect("it is answered").expect("it is open").unwrap() {
        Decoded::Frame(frame) => frame,
        Decoded::Broken(broken) => panic!("{broken:?}"),
    }
}

async fn open(address: String) -> Wire {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut wire = Framed::with_capacity(stream, FrameCodec::new(Profile::Standard, 1 << 20, Side::Client), 256);
    wire.send(Hello { client: "many".into(), ..Hello::default() }.to_frame(1)).await.unwrap();
    assert_eq!(next(&mut wire).await.kind, Kind::HelloAck);
    wire
}

async fn open_all(address: &str, count: usize) -> Vec<Wire> {
    stream::iter(0..count).map(|_| open(address.to_owned())).buffer_unordered(OPENING).collect().await
}

fn resident(pid: u32) -> usize {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * PAGE_BYTES
}

#[tokio::test]
async fn ten_thousand_sessions_live_at_once_and_cost_little() {
    let dev = Dev::start(&[]).await;
    let mut sessions = open_all(&dev.frames, FIRST).await;
    let before = resident(dev.process.pid());
    let start = Instant::now();
    sessions.extend(open_all(&dev.frames, SESSIONS).await);
    let took = start.elapsed();
    let each = resident(dev.process.pid()).saturating_sub(before) / SESSIONS;
    eprintln!("{} sessions, opened in {took:?}; {each} bytes for each that is idle", sessions.len());
    assert!(each <= SESSION_BYTES_MAX, "{each} bytes");
    let metrics = testkit::http::get(&dev.url, "/metrics").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    let gauge = metrics.lines().find(|line| {
        line.starts_with("mcp_gateway_frame_sessions{") || line.starts_with("mcp_gateway_frame_sessions ")
    });
    assert!(gauge.is_some_and(|line| line.ends_with(" 10000")), "{gauge:?}");
    // Every one of them is served.
    for wire in &mut sessions {
        wire.send(Frame::new(Kind::Ping, 5)).await.unwrap();
    }
    for wire in &mut sessions {
        while next(wire).await.kind != Kind::Pong {}
    }
}
