//! What a program calls.

use std::{
    sync::Arc,
    time::{Duration, Instant as StdInstant},
};

use bytes::Bytes;
use mcp_proto::{
    Code, Error,
    frame::{BodyCodec, Command, Frame, Kind, Metadata},
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use super::{
    driver::Driver,
    inbox::{Inbox, Overflow},
    request::{FrameRequest, FrameResponse},
    stream::{FrameStream, FrameSubscription},
    topics::subscribe_frame,
    waiter::{Order, Waiter},
};

/// Orders that wait for the client's loop; more wait in their callers.
const ORDERS_QUEUED_MAX: usize = 1024;

/// A client of the wire frame. Cheap to clone; clones share the connection, which ends with the last of them.
#[derive(Debug, Clone)]
pub struct FrameClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    orders: mpsc::Sender<Order>,
    closing: watch::Sender<Option<Instant>>,
    gone: Arc<Notify>,
    limits: Limits,
    _loop: AbortOnDropHandle<()>,
}

/// What the handle itself needs to know.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Time of a call that names none.
    pub(super) deadline: Duration,
    /// Answers of a stream that may wait for their reader.
    pub(super) stream_answers_max: usize,
    /// Events of a subscription that may wait for their reader.
    pub(super) events_max: usize,
}

impl FrameClient {
    /// Starts the loop. It ends with the last handle.
    pub(super) fn start(
        limits: Limits,
        driver: impl FnOnce(mpsc::Receiver<Order>, watch::Receiver<Option<Instant>>, Arc<Notify>) -> Driver,
    ) -> Self {
        let (orders, receiver) = mpsc::channel(ORDERS_QUEUED_MAX);
        let (closing, closed) = watch::channel(None);
        let gone = Arc::new(Notify::new());
        let driver = driver(receiver, closed, Arc::clone(&gone));
        let task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
        Self(Arc::new(Inner { orders, closing, gone, limits, _loop: task }))
    }

    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// The server's; `DEADLINE_EXCEEDED`; `OUTCOME_UNKNOWN` when the connection broke under the call and the server did
    /// not go on with the session; `UNAVAILABLE` when there is no connection and the client does not wait for one;
    /// `CANCELLED` when the client was closed.
    ///
    /// # Cancellation
    /// The call goes on at the server; its answer is dropped.
    pub async fn call(&self, request: FrameRequest) -> Result<FrameResponse, Error> {
        let timeout = request.own_timeout().unwrap_or(self.0.limits.deadline);
        let is_repeatable = request.is_repeatable();
        self.ask(request.into_frame(Kind::Request, Some(timeout)), timeout, is_repeatable).await
    }

    /// Makes a call whose answers come over time. Without a timeout of its own it has none.
    ///
    /// # Errors
    /// As [`Self::call`], while it waits for a connection; later ones come from the stream.
    ///
    /// # Cancellation
    /// The call may have begun; it ends at the server.
    pub async fn stream(&self, request: FrameRequest) -> Result<FrameStream, Error> {
        let timeout = request.own_timeout();
        let frame = request.into_frame(Kind::Request, timeout);
        let inbox = Inbox::new(self.0.limits.stream_answers_max, Overflow::Refuse);
        let stream = FrameStream::new(Arc::clone(&inbox), Arc::clone(&self.0.gone));
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let order = Order::Ask { frame, deadline, is_repeatable: false, waiter: Waiter::Stream(inbox) };
        let wait = timeout.unwrap_or(self.0.limits.deadline);
        self.within(wait, async { self.0.orders.send(order).await.map_err(|_| closed()) }).await?;
        Ok(stream)
    }

    /// Sends a notification: a call without an answer. It returns when the frame is on its way.
    ///
    /// # Errors
    /// As [`Self::call`], but for those of the server.
    pub async fn notify(&self, request: FrameRequest) -> Result<(), Error> {
        let timeout = request.own_timeout().unwrap_or(self.0.limits.deadline);
        let (sent, told) = oneshot::channel();
        let order = Order::Tell { frame: request.into_frame(Kind::Notification, None), sent };
        self.within(timeout, async {
            self.0.orders.send(order).await.map_err(|_| closed())?;
            told.await.unwrap_or_else(|_| Err(closed()))
        })
        .await
    }

    /// Subscribes to a topic: levels parted by `/`, `*` for any one level, `#` at the end for the rest. The subscription
    /// is made again after a reconnect; events in between are missed unless the server went on with the session.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn subscribe(&self, topic: &str) -> Result<FrameSubscription, Error> {
        let inbox = Inbox::new(self.0.limits.events_max, Overflow::DropOldest);
        let subscription = FrameSubscription::new(Arc::clone(&inbox), Arc::clone(&self.0.gone));
        let (made, told) = oneshot::channel();
        let waiter = Waiter::Subscription { pattern: topic.to_owned(), reader: Some((inbox, made)) };
        let timeout = self.0.limits.deadline;
        let deadline = Some(Instant::now() + timeout);
        let order = Order::Ask { frame: subscribe_frame(topic), deadline, is_repeatable: true, waiter };
        self.within(timeout, async {
            self.0.orders.send(order).await.map_err(|_| closed())?;
            told.await.unwrap_or_else(|_| Err(closed()))
        })
        .await?;
        Ok(subscription)
    }

    /// Publishes a message to a topic, and waits until the server took it.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn publish(&self, topic: &str, codec: BodyCodec, body: impl Into<Bytes>) -> Result<(), Error> {
        let request = FrameRequest::command(Command::TOPIC_PUBLISH).metadata(Metadata::TOPIC, topic);
        let timeout = self.0.limits.deadline;
        let frame = request.raw(body).into_frame(Kind::Request, Some(timeout)).with_codec(codec);
        self.ask(frame, timeout, false).await.map(drop)
    }

    /// Asks whether the server is there, and tells how long that took.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        let start = StdInstant::now();
        self.ask(Frame::new(Kind::Ping, 0), self.0.limits.deadline, true).await?;
        Ok(start.elapsed())
    }

    /// Ends streams and subscriptions, waits for the calls under way, at most `grace`, and closes the connection. Calls
    /// that are made from now on, by any clone, are refused.
    pub async fn close(&self, grace: Duration) {
        self.0.closing.send_replace(Some(Instant::now() + grace));
        self.0.orders.closed().await;
    }

    async fn ask(&self, frame: Frame, timeout: Duration, is_repeatable: bool) -> Result<FrameResponse, Error> {
        let (answer, answered) = oneshot::channel();
        let deadline = Some(Instant::now() + timeout);
        let order = Order::Ask { frame, deadline, is_repeatable, waiter: Waiter::Once(answer) };
        self.within(timeout, async {
            self.0.orders.send(order).await.map_err(|_| closed())?;
            answered.await.unwrap_or_else(|_| Err(closed()))
        })
        .await
    }

    async fn within<T>(&self, timeout: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let late = |_| Err(Error::new(Code::DeadlineExceeded, format!("no answer within {timeout:?}")));
        timeout_at(Instant::now() + timeout, work).await.unwrap_or_else(late)
    }
}

fn closed() -> Error {
    Error::new(Code::Cancelled, "the client was closed")
}
