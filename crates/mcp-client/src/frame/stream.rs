//! What comes over time: the answers of a stream, the events of a topic.

use std::sync::Arc;

use bytes::Bytes;
use mcp_proto::{Error, frame::BodyCodec};
use tokio::sync::Notify;

use super::{inbox::Inbox, request::FrameResponse};

/// A queue that tells the connection when its reader is gone.
#[derive(Debug)]
struct Reader<T> {
    inbox: Arc<Inbox<T>>,
    gone: Arc<Notify>,
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.inbox.abandon();
        self.gone.notify_one();
    }
}

/// The answers of a streaming call. Dropping it ends the call at the server.
#[derive(Debug)]
pub struct FrameStream(Reader<FrameResponse>);

impl FrameStream {
    pub(super) fn new(inbox: Arc<Inbox<FrameResponse>>, gone: Arc<Notify>) -> Self {
        Self(Reader { inbox, gone })
    }

    /// The next answer; `None` at the end.
    ///
    /// # Errors
    /// The server's; `OVERLOADED` when more answers waited here than may; `OUTCOME_UNKNOWN` when the connection broke and
    /// the server did not go on with the session, or has not kept all that was missed; `DEADLINE_EXCEEDED`. The stream has ended then.
    ///
    /// # Cancellation
    /// No answer is lost.
    pub async fn next(&mut self) -> Result<Option<FrameResponse>, Error> {
        self.0.inbox.next().await
    }
}

/// A message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameEvent {
    /// The topic that it was published to.
    pub topic: String,
    /// What form the body has.
    pub codec: BodyCodec,
    /// The body.
    pub body: Bytes,
    /// Events before it that the server dropped, because this client took them too slowly.
    pub missed: u64,
}

/// The events of a topic or of many. It outlives the connection; dropping it ends the subscription.
#[derive(Debug)]
pub struct FrameSubscription(Reader<FrameEvent>);

impl FrameSubscription {
    pub(super) fn new(inbox: Arc<Inbox<FrameEvent>>, gone: Arc<Notify>) -> Self {
        Self(Reader { inbox, gone })
    }

    /// The next event; `None` when the client was closed or the server does not take the subscription any more.
    ///
    /// # Cancellation
    /// No event is lost.
    pub async fn next(&mut self) -> Option<FrameEvent> {
        self.0.inbox.next().await.unwrap_or_default()
    }

    /// Events that were dropped because more waited here than may: the oldest ones.
    pub fn dropped(&self) -> u64 {
        self.0.inbox.dropped()
    }
}
