//! One connection with an open session.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::BytesMut;
use mcp_proto::{
    Code, Error,
    frame::{
        Decoded, Frame, FrameCodec, Kind, Metadata, Profile, Side,
        hello::{Hello, HelloAck},
        parse_error,
    },
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;
use tokio_util::{
    codec::{Decoder, Encoder},
    io::{poll_read_buf, poll_write_buf},
};
use tracing::debug;

use super::{address::Address, lanes::Attempt, pending::LinkId, waiter::Pace};

/// Room that is made for each read, in bytes.
const READ_BYTES: usize = 16 * 1024;
/// Room that is left before more is made, in bytes.
const READ_BYTES_MIN: usize = 4 * 1024;
/// The hello's number. It is alone on its connection then.
const HELLO_SEQUENCE: u32 = 1;
/// Shortest ping interval that is believed.
const PING_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// A connection that is silent for so many ping intervals is lost, if not before by the server's word.
const SILENT_PINGS_MAX: u32 = 3;

/// Anything that carries bytes.
trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// How connections are made.
pub(super) struct Plan {
    /// Where to.
    pub(super) addresses: Vec<Address>,
    /// How servers are known, if any speaks TLS.
    pub(super) tls: Option<TlsConnector>,
    /// What is said first, but for the session.
    pub(super) hello: Hello,
    /// What the hello shows.
    pub(super) authorization: Option<String>,
    /// Largest payload either way, in bytes.
    pub(super) payload_bytes_max: usize,
    /// How long a connection may take to be made, its hello included.
    pub(super) connect_max: Duration,
    /// Silence after which a ping is sent; the server's word if unset.
    pub(super) ping_interval: Option<Duration>,
}

impl fmt::Debug for Plan {
    /// Without what it shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// A connection.
pub(super) struct Link {
    /// Its number.
    pub(super) id: LinkId,
    /// The session's id.
    pub(super) session: String,
    /// How it is kept alive.
    pub(super) pace: Pace,
    /// When something came last.
    pub(super) heard: Instant,
    /// A ping was sent since.
    pub(super) is_pinged: bool,
    io: Box<dyn Io>,
    codec: FrameCodec,
    input: BytesMut,
    output: BytesMut,
    needs_flush: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("id", &self.id).field("session", &self.session).finish_non_exhaustive()
    }
}

/// Connects and opens a session.
///
/// # Errors
/// `UNAVAILABLE` when the server cannot be reached or does not answer in time; what it answers to the hello.
pub(super) async fn open(plan: Arc<Plan>, attempt: Attempt, id: LinkId) -> Result<Link, Error> {
    let address = &plan.addresses[attempt.endpoint];
    let opening = async {
        let io = connect(&plan, address).await?;
        greet(&plan, io, attempt.resume, id).await
    };
    let late =
        |_| Err(Error::new(Code::Unavailable, format!("{address} did not answer within {:?}", plan.connect_max)));
    timeout(plan.connect_max, opening).await.unwrap_or_else(late)
}

async fn connect(plan: &Plan, address: &Address) -> Result<Box<dyn Io>, Error> {
    let unreachable = |error: io::Error| {
        Error::new(Code::Unavailable, format!("{address} cannot be reached: {error}")).with_source(error)
    };
    let tcp = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(unreachable)?;
    tcp.set_nodelay(true).map_err(unreachable)?;
    match &plan.tls {
        Some(tls) if address.is_secure => {
            let name = ServerName::try_from(address.host.clone())
                .map_err(|_| Error::invalid("url", format!("names a host that no certificate can have: {address}")))?;
            Ok(Box::new(tls.connect(name, tcp).await.map_err(unreachable)?))
        }
        _ => Ok(Box::new(tcp)),
    }
}

async fn greet(plan: &Plan, io: Box<dyn Io>, resume: Option<String>, id: LinkId) -> Result<Link, Error> {
    let pace = Pace { ping_interval: plan.connect_max, silence_max: plan.connect_max };
    let mut link = Link {
        id,
        session: String::new(),
        pace,
        heard: Instant::now(),
        is_pinged: false,
        io,
        codec: FrameCodec::new(Profile::Standard, plan.payload_bytes_max, Side::Client),
        input: BytesMut::new(),
        output: BytesMut::new(),
        needs_flush: false,
    };
    let hello = Hello { resume: resume.unwrap_or_default(), ..plan.hello.clone() };
    let mut frame = hello.to_frame(HELLO_SEQUENCE);
    if let Some(authorization) = &plan.authorization {
        frame = frame.with_metadata(&Metadata::new().with(Metadata::AUTHORIZATION, authorization.as_str()));
    }
    link.send(&frame)?;
    loop {
        while let Some(frame) = link.next().map_err(broken)? {
            match frame.kind {
                Kind::HelloAck => {
                    let ack = HelloAck::parse(&frame.body)?;
                    link.pace = pace_of(plan, &ack);
                    link.session = ack.session;
                    return Ok(link);
                }
                Kind::Error | Kind::GoAway => return Err(parse_error(&frame)),
                kind => debug!(%kind, "a frame before the hello's answer"),
            }
        }
        std::future::poll_fn(|cx| link.poll(cx)).await.map_err(broken)?;
    }
}

fn pace_of(plan: &Plan, ack: &HelloAck) -> Pace {
    let told = Duration::from_millis(ack.ping_interval_ms);
    let ping_interval = plan.ping_interval.unwrap_or(told).max(PING_INTERVAL_MIN);
    let idle = Duration::from_millis(ack.idle_timeout_ms).max(ping_interval * 2);
    Pace { ping_interval, silence_max: idle.min(ping_interval * SILENT_PINGS_MAX) }
}

/// The error of a connection that broke while a session was opened.
fn broken(error: io::Error) -> Error {
    Error::new(Code::Unavailable, format!("the connection broke: {error}")).with_source(error)
}

impl Link {
    /// Puts a frame behind those that wait to be written.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when the frame cannot be said: its payload or its metadata is too large.
    pub(super) fn send(&mut self, frame: &Frame) -> Result<(), Error> {
        let refused = |error: io::Error| Error::new(Code::InvalidArgument, format!("cannot be sent: {error}"));
        self.codec.encode(frame, &mut self.output).map_err(refused)
    }

    /// Bytes that wait to be written.
    pub(super) fn unwritten(&self) -> usize {
        self.output.len()
    }

    /// The next frame of what was read.
    ///
    /// # Errors
    /// The server's bytes make no sense any more.
    pub(super) fn next(&mut self) -> io::Result<Option<Frame>> {
        while let Some(decoded) = self.codec.decode(&mut self.input)? {
            match decoded {
                Decoded::Frame(frame) => return Ok(Some(frame)),
                Decoded::Broken(broken) if broken.is_fatal() => {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {broken:?}")));
                }
                Decoded::Broken(broken) => debug!(?broken, "the server sent bytes that are no frame"),
            }
        }
        Ok(None)
    }

    /// Writes what waits, and is ready once something was read.
    ///
    /// # Errors
    /// The connection is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(Err(error)) = self.poll_write(cx) {
            return Poll::Ready(Err(error));
        }
        if self.input.capacity() - self.input.len() < READ_BYTES_MIN {
            self.input.reserve(READ_BYTES);
        }
        match poll_read_buf(Pin::new(&mut self.io), cx, &mut self.input) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(_)) => {
                self.heard = Instant::now();
                self.is_pinged = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            self.needs_flush = true;
            match poll_write_buf(Pin::new(&mut self.io), cx, &mut self.output) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.needs_flush {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                other => return other,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// When [`Self::is_lost`] or [`Self::wants_ping`] may change.
    pub(super) fn next_check(&self) -> Instant {
        self.heard + if self.is_pinged { self.pace.silence_max } else { self.pace.ping_interval }
    }

    /// True when nothing came for too long.
    pub(super) fn is_lost(&self, now: Instant) -> bool {
        now >= self.heard + self.pace.silence_max
    }

    /// True when it is time to ask whether the server is there.
    pub(super) fn wants_ping(&self, now: Instant) -> bool {
        !self.is_pinged && now >= self.heard + self.pace.ping_interval
    }

    /// Writes what waits and tells the server that no more comes, within `limit`.
    pub(super) async fn close(mut self, limit: Duration) {
        let leave = Frame::new(Kind::GoAway, 0);
        let closing = async {
            // Small enough for every limit.
            self.send(&leave).unwrap_or_default();
            std::future::poll_fn(|cx| self.poll_write(cx)).await?;
            self.io.shutdown().await
        };
        match timeout(limit, closing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "the connection broke while it was closed"),
            Err(_) => debug!("the connection could not be closed in time"),
        }
    }
}
