//! Answers that a client may have missed when its connection broke: bounded in number, bytes and age.

use std::{cell::Cell, collections::VecDeque, rc::Rc, time::Duration};

use mcp_proto::frame::{Frame, Metadata};
use tokio::time::Instant;

use crate::frames::settings::FrameSettings;

/// Bytes of a frame besides its payload.
const FRAME_BYTES: usize = 64;

/// Bytes that the sessions of one thread keep in all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Budget(Rc<Cell<usize>>);

impl Budget {
    /// What is kept now, in bytes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn used(&self) -> usize {
        self.0.get()
    }
}

/// An answer, and its number if it is one of a stream.
type Answer = (Frame, Option<u64>);

/// The latest answers of a session.
#[derive(Debug)]
pub(super) struct Kept {
    frames: VecDeque<(Instant, Answer)>,
    bytes: usize,
    budget: Budget,
}

impl Kept {
    /// Nothing yet.
    pub(super) fn new(budget: Budget) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, budget }
    }

    /// Keeps an answer, and as many of those before it as the limits allow. One that is too large leaves nothing: what
    /// came before it alone would be of no use.
    pub(super) fn push(&mut self, answer: Answer, now: Instant, limits: &FrameSettings) {
        let len = size(&answer.0);
        self.frames.push_back((now, answer));
        self.count(len);
        let too_many = |kept: &Self| {
            kept.frames.len() > limits.resume_frames_max
                || kept.bytes > limits.resume_bytes_max
                || kept.budget.0.get() > limits.resume_thread_bytes_max
        };
        while !self.frames.is_empty() && too_many(self) {
            self.pop();
        }
        self.expire(now, limits.resume_window);
    }

    /// Forgets what is older than `window`.
    pub(super) fn expire(&mut self, now: Instant, window: Duration) {
        while self.frames.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > window) {
            self.pop();
        }
        if self.frames.is_empty() {
            // An idle session gives its memory back.
            self.frames = VecDeque::new();
        }
    }

    /// Everything that is young enough, the oldest first. Answers of streams say which they are.
    pub(super) fn take(&mut self, now: Instant, window: Duration) -> Vec<Frame> {
        self.expire(now, window);
        let frames = std::mem::take(&mut self.frames).into_iter();
        let frames = frames.map(|(_, (frame, number))| numbered(frame, number)).collect();
        self.uncount(self.bytes);
        frames
    }

    fn pop(&mut self) {
        if let Some((_, (frame, _))) = self.frames.pop_front() {
            self.uncount(size(&frame));
        }
    }

    fn count(&mut self, len: usize) {
        self.bytes += len;
        self.budget.0.set(self.budget.0.get() + len);
    }

    fn uncount(&mut self, len: usize) {
        self.bytes -= len;
        self.budget.0.set(self.budget.0.get().saturating_sub(len));
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.uncount(self.bytes);
    }
}

/// An answer that its client may know already says which one of its stream it is.
pub(crate) fn numbered(frame: Frame, number: Option<u64>) -> Frame {
    match number {
        Some(number) => frame.with_metadata(&Metadata::new().with(Metadata::ANSWER, number.to_string())),
        None => frame,
    }
}

fn size(frame: &Frame) -> usize {
    FRAME_BYTES + frame.body.len() + frame.metadata.len()
}
