//! The wire frame: calls on one connection beside gRPC, and what a session costs that does nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{FutureExt, SinkExt, StreamExt};
use mcp_proto::{
    frame::{BodyCodec, Command, Decoded, Frame, FrameCodec, Kind, Profile, Side, hello::Hello},
    registry::v1::{DiscoverRequest, registry_service_client::RegistryServiceClient},
};
use prost::Message;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_util::codec::Framed;
use tonic::transport::Channel;

use crate::{
    figure::Figure,
    load::warm_up,
    system::{Setup, System},
};

/// Calls in flight on the one connection.
const IN_FLIGHT: usize = 64;
/// How long each way is measured, after as long a warm-up as is a quarter of it.
const MEASURED: Duration = Duration::from_secs(5);
/// Sessions that do nothing.
const SESSIONS: usize = 10_000;
/// Sessions that are opened at a time.
const OPENING: usize = 100;
/// Largest answer.
const FRAME_BYTES_MAX: usize = 1 << 24;

type Wire = Framed<TcpStream, FrameCodec>;

/// Where the gateway speaks the wire frame, as it has registered it.
async fn address(system: &System) -> anyhow::Result<String> {
    let found = system.client()?.services(DiscoverRequest { service: "gateway".into(), ..Default::default() }).await?;
    let label = found.instances.first().and_then(|gateway| gateway.labels.get("frame-standard").cloned());
    label.context("the gateway does not say where it speaks the wire frame")
}

async fn connect(address: &str) -> anyhow::Result<Wire> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(Framed::new(stream, FrameCodec::new(Profile::Standard, FRAME_BYTES_MAX, Side::Client)))
}

async fn next(wire: &mut Wire) -> anyhow::Result<Frame> {
    match wire.next().await.context("the gateway has closed")?? {
        Decoded::Frame(frame) => Ok(frame),
        Decoded::Broken(broken) => bail!("no frame: {broken:?}"),
    }
}

/// What both ways ask: something that is answered from memory, so that the way is most of it.
fn question() -> DiscoverRequest {
    DiscoverRequest { service: "nothing".into(), ..Default::default() }
}

/// Calls in a second by frames.
async fn by_frames(address: &str, lasts: Duration) -> anyhow::Result<f64> {
    let mut wire = connect(address).await?;
    let body = question().encode_to_vec();
    let ask =
        |sequence| Frame::request(Command::REGISTRY_DISCOVER, sequence, body.clone()).with_codec(BodyCodec::Protobuf);
    let (mut sequence, mut answered) = (0_u32, 0_u64);
    let mut free = IN_FLIGHT;
    let begin = Instant::now();
    while begin.elapsed() < lasts {
        for _ in 0..std::mem::take(&mut free) {
            sequence += 1;
            wire.feed(ask(sequence)).await?;
        }
        SinkExt::<Frame>::flush(&mut wire).await?;
        let mut frame = Some(next(&mut wire).await?);
        // All answers that are there are taken before more is asked.
        while let Some(answer) = frame {
            match answer.kind {
                Kind::Response => (free, answered) = (free + 1, answered + 1),
                Kind::Ping => {}
                kind => bail!("a call was answered by {kind}: {}", String::from_utf8_lossy(&answer.body)),
            }
            frame = match next(&mut wire).now_or_never() {
                Some(frame) => Some(frame?),
                None => None,
            };
        }
    }
    Ok(answered as f64 / begin.elapsed().as_secs_f64())
}

/// Calls in a second by gRPC on one connection.
async fn by_grpc(url: &str, lasts: Duration) -> anyhow::Result<f64> {
    let channel = Channel::from_shared(url.to_owned())?.tcp_nodelay(true).connect().await?;
    let begin = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let mut client = RegistryServiceClient::new(channel.clone());
        callers.spawn(async move {
            let mut answered = 0_u64;
            while begin.elapsed() < lasts {
                client.discover(question()).await?;
                answered += 1;
            }
            anyhow::Ok(answered)
        });
    }
    let mut answered = 0;
    while let Some(caller) = callers.join_next().await {
        answered += caller??;
    }
    Ok(answered as f64 / begin.elapsed().as_secs_f64())
}

/// Calls in a second on one connection, by frames and by gRPC through the same gateway, and their ratio.
pub(crate) async fn calls(setup: Setup) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(&setup)?;
    let address = address(&system).await?;
    by_frames(&address, MEASURED / 4).await?;
    let frames = by_frames(&address, MEASURED).await?;
    by_grpc(system.url(), MEASURED / 4).await?;
    let grpc = by_grpc(system.url(), MEASURED).await?;
    let conditions = format!(
        "one connection, {IN_FLIGHT} in flight, {MEASURED:?} each; {frames:.0} calls/s by frames, {grpc:.0} by gRPC unary; \
         an answer from the registry's memory, load and services on this machine"
    );
    Ok(vec![Figure { name: "frame_calls_vs_grpc", value: frames / grpc, unit: "x", conditions }])
}

/// Memory of the gateway's process for each session that has greeted and then does nothing.
pub(crate) async fn idle_sessions(setup: Setup) -> anyhow::Result<Vec<Figure>> {
    let system = System::start(&setup)?;
    let worker = crate::load::start_worker(&system);
    warm_up(&system.client()?).await?;
    drop(worker);
    let address = address(&system).await?;
    // The first ones fill what is there once.
    let mut sessions = open(&address, OPENING).await?;
    system.settles().await?;
    let before = system.resident()?;
    while sessions.len() < SESSIONS + OPENING {
        sessions.extend(open(&address, OPENING).await?);
    }
    system.settles().await?;
    let each = (system.resident()?.saturating_sub(before)) as f64 / SESSIONS as f64 / 1024.0;
    // All of them live.
    for wire in &mut sessions {
        wire.send(Frame::new(Kind::Ping, 5)).await?;
    }
    for wire in &mut sessions {
        while next(wire).await?.kind != Kind::Pong {}
    }
    let conditions = format!("resident memory of the process, {SESSIONS} sessions over TCP that have greeted");
    Ok(vec![Figure { name: "frame_idle_session", value: each, unit: "KiB", conditions }])
}

async fn open(address: &str, count: usize) -> anyhow::Result<Vec<Wire>> {
    let mut opening = JoinSet::new();
    for _ in 0..count {
        let address = address.to_owned();
        opening.spawn(async move {
            let mut wire = connect(&address).await?;
            wire.send(Hello { client: "bench".into(), ..Hello::default() }.to_frame(1)).await?;
            match next(&mut wire).await?.kind {
                Kind::HelloAck => Ok(wire),
                kind => bail!("a hello was answered by {kind}"),
            }
        });
    }
    let mut sessions = Vec::with_capacity(count);
    while let Some(session) = opening.join_next().await {
        sessions.push(session??);
    }
    Ok(sessions)
}
