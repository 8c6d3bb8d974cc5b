//! A session's connection: a stream of bytes, or a WebSocket with one frame in each binary message.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use futures_util::{Sink, Stream};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, protocol::CloseFrame, protocol::frame::coding::CloseCode},
};
use tokio_util::io::poll_read_buf;

use super::out::Out;
use crate::plane::Transport;

/// What is read at a time from a stream whose frames are small.
const READ_BYTES: usize = 16 * 1024;

/// How much room the buffer that all sessions of a thread read into is made for, in bytes.
const SHARED_BYTES: usize = 4 * READ_BYTES;

/// What is left of a frame is copied out of that buffer when it is no more than this, in bytes, so that one slow client
/// does not hold all of it.
const COPY_BYTES_MAX: usize = 4 * 1024;

/// What is read and dropped after the end, at most, in bytes.
const DROPPED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Less room than this is not worth a read, in bytes.
const ROOM_BYTES_MIN: usize = 512;

/// What all sessions of a thread read into: a session that waits needs no buffer of its own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch(Rc<RefCell<BytesMut>>);

/// What a session has read and not decoded.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// The bytes.
    pub(crate) bytes: BytesMut,
    scratch: Scratch,
    /// They lie in the buffer that all sessions share.
    is_shared: bool,
}

impl Input {
    /// Nothing yet.
    pub(crate) fn new(scratch: Scratch) -> Self {
        Self { bytes: BytesMut::new(), scratch, is_shared: false }
    }

    /// Everything that is there was decoded; what is left waits for more.
    pub(crate) fn settle(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        } else if self.is_shared && self.bytes.len() <= COPY_BYTES_MAX {
            self.bytes = BytesMut::from(&self.bytes[..]);
            self.is_shared = false;
        }
    }
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Came {
    /// Some bytes, which are in the input.
    Bytes,
    /// One message, which is in the input.
    Message,
    /// A message that is no frame: text.
    Text,
    /// A message that is larger than it may be; nothing can be read after it.
    TooLarge,
    /// The other end has gone.
    End,
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Wire {
    /// TCP, with TLS or without.
    Stream(Transport),
    /// A WebSocket.
    Socket(Box<WebSocketStream<TokioIo<Upgraded>>>),
}

impl Wire {
    /// What is to be sent by it is collected here.
    pub(crate) fn out(&self) -> Out {
        match self {
            Self::Stream(_) => Out::stream(),
            Self::Socket(_) => Out::messages(),
        }
    }

    /// Reads what there is.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut Input) -> Poll<io::Result<Came>> {
        match self {
            Self::Stream(stream) => {
                let stream = Pin::new(stream);
                let count = if input.bytes.is_empty() {
                    let mut shared = input.scratch.0.borrow_mut();
                    if shared.capacity() < READ_BYTES {
                        shared.reserve(SHARED_BYTES);
                    }
                    let count = ready!(poll_read_buf(stream, cx, &mut *shared))?;
                    input.bytes = shared.split();
                    input.is_shared = true;
                    count
                } else {
                    // A frame that has begun. The decoder has made room for it, unless it was copied since.
                    if input.bytes.capacity() - input.bytes.len() < ROOM_BYTES_MIN {
                        input.bytes.reserve(COPY_BYTES_MAX);
                    }
                    ready!(poll_read_buf(stream, cx, &mut input.bytes))?
                };
                Poll::Ready(Ok(if count == 0 { Came::End } else { Came::Bytes }))
            }
            Self::Socket(socket) => loop {
                match ready!(Pin::new(&mut **socket).poll_next(cx)) {
                    Some(Ok(Message::Binary(message))) => {
                        input.bytes = message.try_into_mut().unwrap_or_else(|message| BytesMut::from(&message[..]));
                        return Poll::Ready(Ok(Came::Message));
                    }
                    Some(Ok(Message::Text(_))) => return Poll::Ready(Ok(Came::Text)),
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(Came::End)),
                    Some(Err(tungstenite::Error::Capacity(_))) => return Poll::Ready(Ok(Came::TooLarge)),
                    Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                }
            },
        }
    }

    /// Writes until nothing waits any more. `progressed` is told of each step.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        out: &RefCell<Out>,
        mut progressed: impl FnMut(),
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Stream(stream) => {
                loop {
                    let mut out = out.borrow_mut();
                    let Out::Stream(bytes) = &*out else { break };
                    if bytes.is_empty() {
                        break;
                    }
                    let count = ready!(Pin::new(&mut *stream).poll_write(cx, bytes))?;
                    if count == 0 {
                        return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                    }
                    out.written(count);
                    progressed();
                }
                Pin::new(stream).poll_flush(cx)
            }
            Self::Socket(socket) => {
                let mut socket = Pin::new(&mut **socket);
                loop {
                    ready!(socket.as_mut().poll_ready(cx)).map_err(broken)?;
                    let Some(message) = out.borrow_mut().next_message() else { break };
                    socket.as_mut().start_send(Message::Binary(message)).map_err(broken)?;
                    progressed();
                }
                socket.poll_flush(cx).map_err(broken)
            }
        }
    }

    /// Says goodbye. Where that is no clean end, its client may be in the middle of a frame: what comes yet is read and
    /// dropped, since a connection that is closed over unread bytes is reset, and takes with it what was said last.
    ///
    /// # Errors
    /// The connection broke.
    ///
    /// # Cancellation
    /// It is closed at once.
    pub(crate) async fn close(&mut self, is_clean: bool) -> io::Result<()> {
        match self {
            Self::Stream(stream) => {
                stream.shutdown().await?;
                if !is_clean {
                    tokio::io::copy(&mut stream.take(DROPPED_BYTES_MAX), &mut tokio::io::sink()).await?;
                }
                Ok(())
            }
            Self::Socket(socket) => {
                let code = if is_clean { CloseCode::Normal } else { CloseCode::Policy };
                socket.close(Some(CloseFrame { code, reason: "".into() })).await.map_err(broken)
            }
        }
    }
}

fn broken(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        error => io::Error::other(error),
    }
}
