//! One body read by two: the first decides the pace, the second gets what it can take.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::body::inbound::{BoxError, Inbound};

/// Bytes that may wait for the second reader; beyond, it loses the body.
const BYTES_MAX: usize = 1024 * 1024;
/// Pieces that may wait for it.
const PIECES_MAX: usize = 1_024;

/// What both readers see.
#[derive(Debug, Default)]
struct Shared {
    /// Bytes that wait for the second reader.
    waiting: AtomicUsize,
    /// True once the second reader cannot have the whole body.
    is_lost: AtomicBool,
}

/// The first reader's body.
#[derive(Debug)]
pub(super) struct ReadOn {
    body: Inbound,
    /// `None` once the second reader needs nothing more, or has lost the body.
    copies: Option<mpsc::Sender<Bytes>>,
    shared: Arc<Shared>,
}

/// The second reader's body.
#[derive(Debug)]
pub(super) struct Copied {
    pieces: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
}

/// Makes two bodies of one.
pub(super) fn split(body: Inbound) -> (ReadOn, Copied) {
    let (copies, pieces) = mpsc::channel(PIECES_MAX);
    let shared = Arc::new(Shared::default());
    (ReadOn { body, copies: Some(copies), shared: Arc::clone(&shared) }, Copied { pieces, shared })
}

impl ReadOn {
    fn copy(&mut self, data: &Bytes) {
        let Some(copies) = &self.copies else {
            return;
        };
        let waiting = self.shared.waiting.fetch_add(data.len(), Ordering::Relaxed) + data.len();
        if waiting > BYTES_MAX || copies.try_send(data.clone()).is_err() {
            self.lose();
        }
    }

    fn lose(&mut self) {
        if self.copies.is_some() {
            self.shared.is_lost.store(true, Ordering::Release);
            self.copies = None;
        }
    }
}

/// The first reader went away in the middle: the second one must not take what it has for the whole.
impl Drop for ReadOn {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            self.lose();
        }
    }
}

impl Body for ReadOn {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.copy(data);
                }
            }
            Some(Err(_)) => this.lose(),
            None => this.copies = None,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Copied {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        Poll::Ready(match ready!(this.pieces.poll_recv(cx)) {
            Some(data) => {
                this.shared.waiting.fetch_sub(data.len(), Ordering::Relaxed);
                Some(Ok(Frame::data(data)))
            }
            None if this.shared.is_lost.load(Ordering::Acquire) => {
                Some(Err(io::Error::other("the body could not be copied to its end").into()))
            }
            None => None,
        })
    }
}
