//! Many HTTP/2 connections that made one call each and then do nothing.
//!
//! Frames are made by hand here: ten thousand connections of a library would take more memory than the proxy.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time,
};

use crate::message::{self, UNARY_PATH};

/// Connections that are opened at a time.
const OPENING_MAX: usize = 50;
/// How long one may take to be opened and to have its call answered.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// Longest frame of a peer: what HTTP/2 allows when nothing else is said.
const FRAME_MAX: usize = 16 * 1024;
/// Bytes of a frame's head.
const HEAD: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Connections that are held until this is dropped.
#[derive(Debug)]
pub struct Idle {
    held: JoinSet<()>,
    closed: Arc<AtomicUsize>,
}

impl Idle {
    /// Opens so many, and makes a unary call on each. Pings are answered from then on.
    ///
    /// # Errors
    /// The first connection or call that fails.
    pub async fn open(address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let greeting = greeting(address);
        let (mut held, closed) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
        for start in (0..count).step_by(OPENING_MAX) {
            let mut opening = JoinSet::new();
            for _ in start..count.min(start + OPENING_MAX) {
                opening.spawn(time::timeout(OPEN_MAX, open(address, greeting.clone())));
            }
            while let Some(opened) = opening.join_next().await {
                let stream = opened?.context("a call is not answered")??;
                let closed = Arc::clone(&closed);
                held.spawn(async move {
                    answer_pings(stream).await;
                    closed.fetch_add(1, Ordering::Relaxed);
                });
            }
        }
        Ok(Self { held, closed })
    }

    /// How many are still open.
    pub fn count(&self) -> usize {
        self.held.len() - self.closed.load(Ordering::Relaxed)
    }
}

/// Connection preface, SETTINGS, and a unary call.
fn greeting(address: SocketAddr) -> Bytes {
    let authority = address.to_string();
    // :method POST and :scheme http are in HPACK's table; the others go as plain text.
    let mut block = BytesMut::from(&[0x83, 0x86][..]);
    for (name, value) in
        [(":path", UNARY_PATH), (":authority", &authority), ("content-type", "application/grpc"), ("te", "trailers")]
    {
        block.put_u8(0);
        for text in [name, value] {
            block.put_u8(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("a short text"));
            block.put_slice(text.as_bytes());
        }
    }
    let mut bytes = BytesMut::from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    frame(&mut bytes, SETTINGS, 0, 0, &[]);
    frame(&mut bytes, HEADERS, END_HEADERS, 1, &block);
    frame(&mut bytes, DATA, END_STREAM, 1, &message::unary());
    bytes.freeze()
}

fn frame(out: &mut BytesMut, kind: u8, flags: u8, stream: u32, body: &[u8]) {
    out.put_uint(body.len() as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(stream);
    out.put_slice(body);
}

/// Opens a connection whose call is answered when this returns.
async fn open(address: SocketAddr, greeting: Bytes) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    stream.write_all(&greeting).await?;
    while !handle(&mut stream).await? {}
    Ok(stream)
}

/// Until the connection ends.
async fn answer_pings(mut stream: TcpStream) {
    while handle(&mut stream).await.is_ok() {}
}

/// Reads a frame, answers it when it must be, and says whether it ended the call.
async fn handle(stream: &mut TcpStream) -> anyhow::Result<bool> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, ..] = head;
    let length = u32::from_be_bytes([0, a, b, c]) as usize;
    ensure!(length <= FRAME_MAX, "a frame of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let mut answer = BytesMut::new();
    match kind {
        SETTINGS if flags & ACK == 0 => frame(&mut answer, SETTINGS, ACK, 0, &[]),
        PING if flags & ACK == 0 => frame(&mut answer, PING, ACK, 0, &body),
        DATA | HEADERS => return Ok(flags & END_STREAM != 0),
        3 | 7 => bail!("the call or the connection was given up"),
        _ => {}
    }
    stream.write_all(&answer).await?;
    Ok(false)
}
