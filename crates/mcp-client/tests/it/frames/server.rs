//! A server of the wire frame that does as it is told.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use mcp_client::testing::SOON;
use mcp_proto::{
    Code, Error,
    frame::{
        BodyCodec, Command, Decoded, Flags, Frame, FrameCodec, Kind, Metadata, Profile, Side,
        hello::{Hello, HelloAck},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::{
    codec::{Decoder, Encoder},
    sync::CancellationToken,
};

/// Answers with its body; so does every command that is not listed here.
pub(super) const ECHO: Command = Command(0x8001);
/// Answers when it is released, or on the session's next connection.
pub(super) const HOLD: Command = Command(0x8002);
/// Breaks the connection.
pub(super) const DROP: Command = Command(0x8003);
/// Breaks the connection the first time, then answers.
pub(super) const DROP_ONCE: Command = Command(0x8004);
/// Answers as often as its body says.
pub(super) const STREAM: Command = Command(0x8005);
/// Answers once, and goes on when the session is resumed: the next connection brings that answer again, the second and the fourth.
pub(super) const GAP: Command = Command(0x8007);
/// Answers with an error.
pub(super) const FAIL: Command = Command(0x8006);

/// Frames that wait to be written to one connection.
const QUEUED_MAX: usize = 4096;

#[derive(Default)]
struct State {
    connections: usize,
    resumes: usize,
    goodbyes: usize,
    unsubscribed: usize,
    authorization: Option<String>,
    last_call: Option<Frame>,
    has_dropped: bool,
    held: Vec<(Frame, mpsc::Sender<Frame>)>,
    broken_off: Vec<Frame>,
    subscribed: Vec<String>,
    /// Topic, number and connection.
    subscriptions: Vec<(String, u32, mpsc::Sender<Frame>)>,
    open: Vec<(mpsc::Sender<Frame>, CancellationToken)>,
    keeps_sessions: bool,
    is_mute: bool,
    refusal: Option<Error>,
}

#[derive(Clone)]
pub(super) struct Server {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    stop: CancellationToken,
    url: String,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("mcp://{}", listener.local_addr().unwrap());
        let server = Self { state: Arc::default(), changed: Arc::default(), stop: CancellationToken::new(), url };
        let (accepting, stop) = (server.clone(), server.stop.clone());
        tokio::spawn(stop.run_until_cancelled_owned(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(socket));
            }
        }));
        server
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn connections(&self) -> usize {
        self.state().connections
    }

    pub(super) fn resumes(&self) -> usize {
        self.state().resumes
    }

    pub(super) fn subscribed(&self) -> Vec<String> {
        self.state().subscribed.clone()
    }

    pub(super) fn authorization(&self) -> Option<String> {
        self.state().authorization.clone()
    }

    pub(super) fn last_call(&self) -> (Frame, Metadata<'static>) {
        let frame = self.state().last_call.clone().unwrap();
        let metadata = frame.metadata().unwrap().into_owned();
        (frame, metadata)
    }

    pub(super) fn keep_sessions(&self) {
        self.state().keeps_sessions = true;
    }

    pub(super) fn mute(&self) {
        self.state().is_mute = true;
    }

    pub(super) fn refuse(&self, error: Error) {
        self.state().refusal = Some(error);
    }

    /// Takes no more connections.
    pub(super) fn stop(&self) {
        self.stop.cancel();
    }

    /// Breaks all connections.
    pub(super) fn cut(&self) {
        for (_, cut) in self.state().open.drain(..) {
            cut.cancel();
        }
    }

    pub(super) fn send_away(&self) {
        for (send, _) in &self.state().open {
            send.try_send(Frame::new(Kind::GoAway, 0)).unwrap();
        }
    }

    /// Answers what is held.
    pub(super) fn release(&self) {
        for (frame, send) in self.state().held.drain(..) {
            send.try_send(Frame::reply_to(&frame, Kind::Response, frame.body.clone())).unwrap();
        }
    }

    pub(super) fn publish(&self, topic: &str, body: &str) {
        self.publish_as(topic, BodyCodec::Raw, Bytes::from(body.to_owned()));
    }

    fn publish_as(&self, topic: &str, codec: BodyCodec, body: Bytes) {
        let metadata = Metadata::new().with(Metadata::TOPIC, topic);
        for (pattern, sequence, send) in &self.state().subscriptions {
            let first = pattern.split('/').next().unwrap();
            if first == "#" || topic.split('/').next() == Some(first) {
                let event = Frame { body: body.clone(), codec, ..Frame::new(Kind::Event, *sequence) };
                drop(send.try_send(event.with_metadata(&metadata)));
            }
        }
    }

    pub(super) async fn connected(&self, count: usize) {
        self.until(|state| state.connections >= count).await;
    }

    pub(super) async fn held(&self, count: usize) {
        self.until(|state| state.held.len() >= count).await;
    }

    pub(super) async fn unsubscribed(&self, count: usize) {
        self.until(|state| state.unsubscribed >= count).await;
    }

    pub(super) async fn has_subscriptions(&self, count: usize) {
        self.until(|state| state.subscribed.len() >= count).await;
    }

    pub(super) async fn goodbyes(&self, count: usize) {
        self.until(|state| state.goodbyes >= count).await;
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if condition(&self.state()) {
                    return;
                }
                changed.await;
            }
        };
        timeout(SOON, waiting).await.expect("it did not happen in time");
    }

    async fn serve(self, socket: TcpStream) {
        let (mut read, mut write) = socket.into_split();
        let (send, mut queue) = mpsc::channel::<Frame>(QUEUED_MAX);
        let cut = CancellationToken::new();
        let mut codec = FrameCodec::new(Profile::Standard, usize::MAX, Side::Server);
        let mut decoder = codec.clone();
        let (server, token) = (self.clone(), cut.clone());
        let writing = async move {
            while let Some(frame) = queue.recv().await {
                if server.state().is_mute {
                    continue;
                }
                let mut bytes = BytesMut::new();
                codec.encode(frame, &mut bytes).unwrap();
                if write.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        };
        let reading = async {
            let mut bytes = BytesMut::new();
            while read.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
                while let Ok(Some(decoded)) = decoder.decode(&mut bytes) {
                    let Decoded::Frame(frame) = decoded else { panic!("{decoded:?}") };
                    self.frame(frame, &send, &cut);
                    self.changed.notify_waiters();
                }
            }
        };
        let both = async { tokio::join!(writing, reading) };
        token.run_until_cancelled(both).await.unwrap_or_default();
    }

    fn frame(&self, frame: Frame, send: &mpsc::Sender<Frame>, cut: &CancellationToken) {
        // A queue that is full or closed has nobody to answer.
        let reply = |kind, body: Bytes| drop(send.try_send(Frame::reply_to(&frame, kind, body)));
        match frame.kind {
            Kind::Hello => self.hello(&frame, send, cut),
            Kind::Ping => reply(Kind::Pong, Bytes::new()),
            Kind::Subscribe => {
                let body: serde_json::Value = serde_json::from_slice(&frame.body).unwrap();
                let topic = body["topic"].as_str().unwrap().to_owned();
                self.state().subscribed.push(topic.clone());
                self.state().subscriptions.push((topic, frame.sequence, send.clone()));
                reply(Kind::Response, Bytes::new());
            }
            Kind::Unsubscribe => {
                self.state().unsubscribed += 1;
                self.state().subscriptions.retain(|(_, sequence, _)| *sequence != frame.sequence);
                reply(Kind::Response, Bytes::new());
            }
            Kind::GoAway => self.state().goodbyes += 1,
            Kind::Request => self.call(&frame, send, cut),
            kind => panic!("a client does not send {kind}"),
        }
    }

    fn hello(&self, frame: &Frame, send: &mpsc::Sender<Frame>, cut: &CancellationToken) {
        let hello = Hello::parse(&frame.body).unwrap();
        let mut state = self.state();
        if let Some(error) = &state.refusal {
            return send.try_send(Frame::error_to(frame, error)).unwrap();
        }
        state.connections += 1;
        state.authorization = frame.metadata().unwrap().get(Metadata::AUTHORIZATION).map(str::to_owned);
        let is_resumed = state.keeps_sessions && !hello.resume.is_empty();
        let session = if is_resumed { hello.resume } else { format!("session-{}", state.connections) };
        state.is_mute = false;
        state.open.push((send.clone(), cut.clone()));
        let ack = HelloAck {
            session,
            codec: "json".to_owned(),
            ping_interval_ms: 30_000,
            idle_timeout_ms: 90_000,
            max_frame: 1024 * 1024,
        };
        send.try_send(ack.to_frame(frame)).unwrap();
        if is_resumed {
            state.resumes += 1;
            for (frame, _) in std::mem::take(&mut state.held) {
                send.try_send(Frame::reply_to(&frame, Kind::Response, frame.body.clone())).unwrap();
            }
            for frame in std::mem::take(&mut state.broken_off) {
                for number in ["1", "2", "4"] {
                    let answer = Frame::reply_to(&frame, Kind::Response, number).with_flags(Flags::MORE);
                    send.try_send(answer.with_metadata(&Metadata::new().with(Metadata::ANSWER, number))).unwrap();
                }
            }
            for (_, _, subscriber) in &mut state.subscriptions {
                *subscriber = send.clone();
            }
        }
    }

    fn call(&self, frame: &Frame, send: &mpsc::Sender<Frame>, cut: &CancellationToken) {
        let reply = |body: Bytes| Frame::reply_to(frame, Kind::Response, body);
        // As above.
        let answer = |frame: Frame| drop(send.try_send(frame));
        self.state().last_call = Some(frame.clone());
        match frame.command {
            HOLD => self.state().held.push((frame.clone(), send.clone())),
            DROP => cut.cancel(),
            DROP_ONCE if !std::mem::replace(&mut self.state().has_dropped, true) => cut.cancel(),
            STREAM => {
                let count: usize = std::str::from_utf8(&frame.body).unwrap().parse().unwrap();
                for number in 1..=count {
                    answer(reply(number.to_string().into()).with_flags(Flags::MORE));
                }
                answer(reply(Bytes::new()));
            }
            GAP => {
                self.state().broken_off.push(frame.clone());
                answer(reply("1".into()).with_flags(Flags::MORE));
            }
            FAIL => answer(Frame::error_to(frame, &Error::new(Code::TaskNotFound, "no such task"))),
            Command::TOPIC_PUBLISH => {
                let metadata = frame.metadata().unwrap();
                self.publish_as(metadata.get(Metadata::TOPIC).unwrap(), frame.codec, frame.body.clone());
                answer(reply(Bytes::new()));
            }
            _ => answer(reply(frame.body.clone())),
        }
    }
}
