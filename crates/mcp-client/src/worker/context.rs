//! What running work sees of its attempt.

use std::{sync::Arc, time::SystemTime};

use mcp_proto::{
    TaskId,
    scheduler::v1::{LogStream, Progress},
    worker::v1::AttemptLogLine,
};
use tokio_util::sync::CancellationToken;

use super::{
    LOG_LINE_BYTES_MAX,
    attempt::{AttemptKey, FencingToken},
    hub::Hub,
    stop::Stop,
};

/// Longest message of a progress report, in bytes; the rest is cut off.
const PROGRESS_MESSAGE_BYTES_MAX: usize = 200;

/// One attempt of one task, for the work that runs it. Clones name the same attempt.
#[derive(Debug, Clone)]
pub struct AttemptContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    hub: Arc<Hub>,
    key: AttemptKey,
    facts: Facts,
    stop: Arc<Stop>,
}

/// What an assignment says besides the work.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) number: u32,
    pub(super) namespace: String,
    pub(super) queue: String,
    pub(super) name: String,
    pub(super) traceparent: String,
}

impl AttemptContext {
    pub(super) fn new(hub: Arc<Hub>, key: AttemptKey, facts: Facts, stop: Arc<Stop>) -> Self {
        Self(Arc::new(Inner { hub, key, facts, stop }))
    }

    /// The task.
    pub fn task_id(&self) -> TaskId {
        self.0.key.task
    }

    /// Which attempt of the task it is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.facts.number
    }

    /// The fencing token. Hand it to whatever the work writes to.
    pub fn token(&self) -> FencingToken {
        self.0.key.token
    }

    /// The task's namespace.
    pub fn namespace(&self) -> &str {
        &self.0.facts.namespace
    }

    /// The task's queue.
    pub fn queue(&self) -> &str {
        &self.0.facts.queue
    }

    /// The task's name for people.
    pub fn name(&self) -> &str {
        &self.0.facts.name
    }

    /// The worker that runs it.
    pub fn worker_id(&self) -> &str {
        &self.0.hub.worker_id
    }

    /// W3C `traceparent` of the submit; empty when there was none. The attempt's own span is the current one:
    /// [`trace::traceparent_of`](crate::trace::traceparent_of).
    pub fn traceparent(&self) -> &str {
        &self.0.facts.traceparent
    }

    /// Writes to the task's log, as standard output.
    ///
    /// Waits while the buffer for lines is full, which happens when they come faster than the scheduler takes them,
    /// or when it is away. Longer lines than [`LOG_LINE_BYTES_MAX`] are split, and so is text at its line ends.
    ///
    /// # Cancellation
    /// What was not kept yet is lost.
    pub async fn log(&self, text: impl Into<String>) {
        self.log_to(LogStream::Stdout, text).await;
    }

    /// Writes to the task's log, as this stream. See [`log`](Self::log).
    pub async fn log_to(&self, stream: LogStream, text: impl Into<String>) {
        let text = text.into();
        let time = SystemTime::now();
        if text.len() <= LOG_LINE_BYTES_MAX && !text.contains('\n') {
            return self.keep(stream, time, text).await;
        }
        for line in text.lines() {
            let mut rest = line;
            while rest.len() > LOG_LINE_BYTES_MAX {
                let (head, tail) = rest.split_at(rest.floor_char_boundary(LOG_LINE_BYTES_MAX));
                self.keep(stream, time, head.to_owned()).await;
                rest = tail;
            }
            self.keep(stream, time, rest.to_owned()).await;
        }
    }

    /// Tells how far the work is: `fraction` from 0 to 1, and what it is doing, in at most 200 bytes. Only the latest
    /// report counts, so call it as often as you like.
    pub fn progress(&self, fraction: f64, message: impl Into<String>) {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(PROGRESS_MESSAGE_BYTES_MAX));
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        self.0.hub.progress(self.0.key, Progress { fraction, message });
    }

    /// Resolves when the attempt must stop: cancelled, out of time, revoked, or the worker ends.
    ///
    /// A handler's future is dropped at that moment; this is for what it started elsewhere, and for executors.
    pub async fn cancelled(&self) {
        self.0.stop.token().cancelled().await;
    }

    /// True once the attempt must stop; for work that cannot await.
    pub fn is_cancelled(&self) -> bool {
        self.0.stop.token().is_cancelled()
    }

    /// The token behind [`cancelled`](Self::cancelled), cancelled when the attempt must stop.
    pub fn cancellation(&self) -> CancellationToken {
        self.0.stop.token().child_token()
    }

    async fn keep(&self, stream: LogStream, time: SystemTime, text: String) {
        let line = AttemptLogLine { time: Some(time.into()), stream: stream.into(), text };
        self.0.hub.log(self.0.key, line).await;
    }
}
