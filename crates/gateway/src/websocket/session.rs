//! One WebSocket from the first message to the closing handshake.
//!
//! Three parts run at the same time: one reads messages and makes them a request, one writes the answer, one pings.
//! Each direction is read only as fast as its other end takes it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use mcp_proto::{Code, Error};
use tokio::{
    sync::{Mutex, mpsc},
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, Utf8Bytes, protocol::frame::coding::CloseCode},
};

use super::close::End;
use crate::{
    body::{forward::Forward, link::Link, source::Source},
    call::Call,
    core::Core,
    deadline, ending,
    exchange::Context,
    form, gate,
    security::authorize::Narrow,
    transcode::{
        convert::Converter,
        frames::Frames,
        receive,
        request::Parts,
        rules::BodyRule,
        send::{Sent, To, send},
    },
    upstream::Download,
};

/// Messages on their way from the socket to the instance.
const MADE_MAX: usize = 4;

/// Longest time that a caller may take nothing of what is sent to it.
const STALL_MAX: Duration = Duration::from_secs(300);

/// Longest time that the closing handshake may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Writer = Mutex<SplitSink<Socket, Message>>;

/// The call that a WebSocket is for.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Which method, and how its messages are converted.
    pub(crate) converter: Converter,
    /// The segments of the path as the route sees them, percent-encoded.
    pub(crate) segments: Vec<String>,
    /// What follows `?`.
    pub(crate) query: Option<String>,
    /// The headers of the request, without those of the handshake.
    pub(crate) headers: HeaderMap,
    /// When it has to be over, if its caller said so.
    pub(crate) deadline: Option<Instant>,
    /// What its caller may do, when that depends on the messages.
    pub(crate) narrow: Option<Narrow>,
    /// What is known about the request that opened it.
    pub(crate) context: Context,
}

/// A call in progress.
pub(crate) struct Session {
    core: Rc<Core>,
    plan: Plan,
    call: Call,
    /// When something came in last.
    heard: Cell<Instant>,
    /// True while nothing is read because the instance takes no more.
    is_held_up: Cell<bool>,
}

impl Session {
    /// A session that has not begun.
    pub(crate) fn new(core: Rc<Core>, plan: Plan, call: Call) -> Self {
        Self { core, plan, call, heard: Cell::new(Instant::now()), is_held_up: Cell::new(false) }
    }

    /// Runs the call to its end, and closes the socket.
    ///
    /// # Cancellation
    /// Dropping the future cancels the call and breaks the connection off.
    pub(crate) async fn run(mut self, socket: Socket) {
        let (writer, mut reader) = socket.split();
        let writer = Mutex::new(writer);
        let (made, frames) = mpsc::channel(MADE_MAX);
        let (messages, link) = Forward::stream(Source::Made(frames));
        let request = RefCell::new(Some(made));
        let end = tokio::select! {
            // What the caller did comes first: its error is the better reason.
            biased;
            end = self.read(&mut reader, &request) => end,
            end = self.write(&writer, messages, &link) => end,
            end = self.ping(&writer) => end,
            end = self.leave(&request) => end,
        };
        // Whatever the request has not sent yet is cut off, not ended.
        link.close();
        drop(request);
        if let End::Failed(error) = &end {
            tracing::debug!(trace_id = %self.call.identity(), %error, "call failed");
        }
        self.call.finish(end.code());
        // A caller that does not answer is left alone.
        timeout(CLOSE_MAX, close(&writer, &mut reader, &end)).await.unwrap_or_default();
    }

    /// Makes text messages the request. Ends only when the caller goes away, or sends what cannot be sent on.
    async fn read(&self, reader: &mut SplitStream<Socket>, request: &RefCell<Option<mpsc::Sender<Bytes>>>) -> End {
        let rpc = &self.plan.converter.route.rpc;
        if !rpc.is_client_streaming() && matches!(self.plan.converter.route.body, BodyRule::None) {
            // All of the request stands in the URL.
            if let Err(error) = self.feed(request, Bytes::new()).await {
                return End::Failed(error);
            }
            request.replace(None);
        }
        loop {
            let message = match reader.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return broken(&error),
                None => return End::Gone,
            };
            self.heard.set(Instant::now());
            let text = match message {
                Message::Text(text) => text,
                Message::Binary(_) => return End::Violated(CloseCode::Unsupported, "send text, not binary"),
                Message::Close(_) => return End::Gone,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            };
            if request.borrow().is_none() {
                return End::Violated(CloseCode::Policy, "the request has ended");
            }
            if text.is_empty() {
                request.replace(None);
                continue;
            }
            if let Err(error) = self.feed(request, Bytes::from(text)).await {
                return End::Failed(error);
            }
            if !rpc.is_client_streaming() {
                request.replace(None);
            }
        }
    }

    /// Converts a message and hands it over, as soon as there is room.
    async fn feed(&self, request: &RefCell<Option<mpsc::Sender<Bytes>>>, json: Bytes) -> Result<(), Error> {
        let _room = self.core.buffer(json.len())?;
        self.call.identity().received(json.len());
        let segments: Vec<&str> = self.plan.segments.iter().map(String::as_str).collect();
        let query = self.plan.query.as_deref();
        let parts = Parts { segments: &segments, query, content_type: "", body: &json };
        let encoded = self.plan.converter.request(parts).await?;
        if let Some(narrow) = &self.plan.narrow {
            gate::confirm(&self.core, narrow, &encoded.frame, self.call.identity()).await?;
        }
        let Some(sender) = request.borrow().clone() else {
            return Ok(());
        };
        self.is_held_up.set(true);
        // Fails when the call is over, which `write` tells.
        sender.send(encoded.frame).await.unwrap_or_default();
        self.is_held_up.set(false);
        self.heard.set(Instant::now());
        Ok(())
    }

    /// Makes the call and writes its answer.
    async fn write(&self, writer: &Writer, messages: Forward, link: &Link) -> End {
        let answer = self.answer(writer, messages);
        let outcome = match self.plan.deadline {
            Some(at) => timeout_at(at, answer).await.unwrap_or_else(|_| Err(deadline::exceeded().into())),
            None => answer.await,
        };
        match outcome {
            Ok(()) => End::Done,
            Err(Stopped::Error(error) | Stopped::Unwritable(error)) => End::Failed(link.fault().unwrap_or(error)),
            Err(Stopped::Gone) => End::Gone,
        }
    }

    async fn answer(&self, writer: &Writer, messages: Forward) -> Result<(), Stopped> {
        let Plan { converter, headers, deadline, context, .. } = &self.plan;
        let to = To { route: &converter.route, context };
        let sent = send(&self.core, to, headers.clone(), messages, *deadline, &self.call).await?;
        if sent.is_over() {
            return Ok(());
        }
        let Sent { frames, lease, .. } = sent;
        let relayed = self.relay(writer, frames).await;
        match &relayed {
            Ok(()) => lease.finish(tonic::Code::Ok),
            Err(Stopped::Error(error)) => lease.failed(error),
            // It is told when the lease is dropped; what we cannot write says nothing about the instance.
            Err(Stopped::Unwritable(_) | Stopped::Gone) => {}
        }
        relayed
    }

    /// Passes the messages of an answer on, up to its status.
    async fn relay(&self, writer: &Writer, mut source: Download) -> Result<(), Stopped> {
        let Plan { converter, deadline, .. } = &self.plan;
        let mut frames = Frames::new(self.core.shared.settings.json.answer_bytes_max);
        while let Some(frame) = source.frame().await {
            match frame.map_err(|error| ending::failure(&error))?.into_data() {
                Ok(data) => frames.push(&data),
                Err(frame) => {
                    ending::outcome(frame.into_trailers().unwrap_or_default(), *deadline)?;
                    return if frames.is_empty() {
                        Ok(())
                    } else {
                        Err(receive::unreadable("its end is missing").into())
                    };
                }
            }
            while let Some(message) = frames.next().map_err(receive::unreadable)? {
                let content = converter.answer(message).await.map_err(Stopped::Unwritable)?;
                self.call.identity().sent(content.bytes.len());
                put(writer, text(content.bytes).map_err(Stopped::Unwritable)?).await?;
            }
        }
        Err(ending::without_status().into())
    }

    /// Ends when the gateway stops and the call may last: one that streams its answer, or that has not begun. Others are
    /// let finish.
    async fn leave(&self, request: &RefCell<Option<mpsc::Sender<Bytes>>>) -> End {
        self.core.leaving.cancelled().await;
        let rpc = &self.plan.converter.route.rpc;
        let has_begun = rpc.is_client_streaming() || request.borrow().is_none();
        if has_begun && !rpc.is_server_streaming() {
            return std::future::pending().await;
        }
        End::Leaving
    }

    /// Pings a caller that is silent. Ends when it does not answer.
    async fn ping(&self, writer: &Writer) -> End {
        let settings = &self.core.shared.settings.downstream;
        loop {
            let silent = self.heard.get().elapsed();
            if silent < settings.ping_interval || self.is_held_up.get() {
                sleep(settings.ping_interval.saturating_sub(silent).max(Duration::from_secs(1))).await;
                continue;
            }
            let before = self.heard.get();
            if put(writer, Message::Ping(Bytes::new())).await.is_err() {
                return End::Gone;
            }
            sleep(settings.ping_timeout).await;
            if self.heard.get() == before && !self.is_held_up.get() {
                return End::Gone;
            }
        }
    }
}

/// Why nothing more is written.
enum Stopped {
    /// The instance's, or the lack of time.
    Error(Error),
    /// The answer cannot be written as JSON.
    Unwritable(Error),
    Gone,
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Sends a message, as soon as the caller takes it.
async fn put(writer: &Writer, message: Message) -> Result<(), Stopped> {
    let sent = async { writer.lock().await.send(message).await };
    match timeout(STALL_MAX, sent).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Stopped::Gone),
    }
}

fn text(json: Bytes) -> Result<Message, Error> {
    let text = Utf8Bytes::try_from(json).map_err(|_| Error::new(Code::Internal, "the answer is no text"))?;
    Ok(Message::Text(text))
}

/// What a socket that cannot be read on ends with.
fn broken(error: &tungstenite::Error) -> End {
    match error {
        tungstenite::Error::Capacity(_) => End::Violated(CloseCode::Size, "the message is too large"),
        tungstenite::Error::Protocol(_) => End::Violated(CloseCode::Protocol, "not the WebSocket protocol"),
        tungstenite::Error::Utf8(_) => End::Violated(CloseCode::Invalid, "not UTF-8"),
        _ => End::Gone,
    }
}

/// Says why it is over, and waits for the caller to have read it: closing a connection on which something unread has
/// come would take back what was sent.
async fn close(writer: &Writer, reader: &mut SplitStream<Socket>, end: &End) {
    let mut writer = writer.lock().await;
    if let End::Failed(error) = end {
        let json = form::json(error);
        let text = [b"{\"error\":", json.trim_ascii_end(), b"}"].concat();
        if let Ok(message) = text.try_into().map(Message::Text)
            && writer.send(message).await.is_err()
        {
            return;
        }
    }
    if let Some(frame) = end.frame()
        && writer.send(Message::Close(Some(frame))).await.is_err()
    {
        return;
    }
    drop(writer);
    while let Some(Ok(_)) = reader.next().await {}
}
