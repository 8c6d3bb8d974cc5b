//! One session: the stream to one scheduler replica, opened again whenever it breaks.

use std::{sync::Arc, time::Duration};

use mcp_proto::{
    Code, Error, MESSAGE_BYTES_MAX,
    worker::v1::{
        Assignment, AttemptRef, OpenSessionRequest, OpenSessionResponse, SessionWelcome,
        worker_session_service_client::WorkerSessionServiceClient,
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tracing::{debug, info, warn};

use super::{
    abilities::Abilities,
    attempt::AttemptKey,
    book::{Heard, Orders, SessionId, Signals},
    hub::{Hub, OpenSession},
    runner,
};
use crate::client::endpoint;

/// Messages that wait for the transport. Few, so that what is said meanwhile goes into one message.
const MESSAGES_QUEUED_MAX: usize = 2;
/// Largest message that is taken from a scheduler.
const ANSWER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// How long the connection and the welcome may take.
const OPEN_MAX: Duration = Duration::from_secs(10);
/// Ping interval of a welcome that names none.
const PING_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);
/// Shortest ping interval that is believed.
const PING_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// A session that is silent for this many ping intervals is lost.
const SILENT_PINGS_MAX: u32 = 3;
/// A session that lasted for so long makes the next wait a short one again.
const STABLE_AFTER: Duration = Duration::from_secs(5);
/// How long the scheduler may take to end a stream that the worker has ended.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// The part of the scheduler's lease that a wait between two sessions may take.
const LEASE_PART: u32 = 4;

/// What a session needs.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) hub: Arc<Hub>,
    pub(super) abilities: Arc<Abilities>,
    pub(super) id: SessionId,
    pub(super) url: String,
    pub(super) signals: Arc<Signals>,
    /// False when the replica is not registered any more: the stream may live on, but is not opened again.
    pub(super) wanted: watch::Receiver<bool>,
    /// The drain is over: say what is left to say, then end.
    pub(super) finish: CancellationToken,
}

/// A stream on which the scheduler has welcomed the worker.
struct Opened {
    inbound: Streaming<OpenSessionResponse>,
    /// What the hello claimed.
    claimed: Vec<AttemptKey>,
    welcome: SessionWelcome,
    /// What else was in the message of the welcome.
    first: OpenSessionResponse,
}

/// How a stream ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The scheduler ended it.
    Closed,
    /// It must be opened anew at once.
    Reopen,
    /// All is said and the worker ends.
    Finished,
}

impl Session {
    /// Keeps the session open until the drain is over, or the stream broke and the replica is not wanted any more.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        let mut lease = None;
        loop {
            let started = Instant::now();
            let end = self.converse(&mut lease).await;
            match &end {
                Ok(End::Reopen) => self.hub.book().pause(self.id),
                Ok(End::Closed | End::Finished) | Err(_) => self.hub.book().leave(self.id),
            }
            if started.elapsed() >= STABLE_AFTER {
                failures = 0;
            }
            match &end {
                Ok(End::Finished) => break,
                Ok(end) => info!(url = self.url, ?end, "session ended"),
                Err(error) if failures == 0 => warn!(url = self.url, %error, "session lost"),
                Err(error) => debug!(url = self.url, %error, failures, "session not opened"),
            }
            if self.is_over() {
                break;
            }
            if end == Ok(End::Reopen) {
                continue;
            }
            failures += 1;
            self.pause(failures, lease).await;
            if self.is_over() {
                break;
            }
        }
    }

    fn is_over(&self) -> bool {
        let said_all = self.finish.is_cancelled() && self.hub.book().is_flushed(self.id);
        !*self.wanted.borrow() || said_all
    }

    /// Exponential backoff with full jitter: all workers lose a scheduler at the same moment.
    async fn pause(&mut self, failures: u32, lease: Option<Duration>) {
        let options = &self.hub.options;
        let longest = lease.map_or(options.reconnect_max, |lease| options.reconnect_max.min(lease / LEASE_PART));
        let doubled = options.reconnect_min.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
        let wait = doubled.min(longest).mul_f64(rand::random::<f64>());
        let finishing = self.finish.is_cancelled();
        tokio::select! {
            () = sleep(wait) => {}
            changed = self.wanted.changed() => {
                if changed.is_err() {
                    // The supervisor is gone; this future is about to be dropped.
                    sleep(wait).await;
                }
            }
            () = self.finish.cancelled(), if !finishing => {}
        }
    }

    /// One stream from hello to end; `lease` is set to the scheduler's.
    async fn converse(&mut self, lease: &mut Option<Duration>) -> Result<End, Error> {
        let (sender, receiver) = mpsc::channel(MESSAGES_QUEUED_MAX);
        let Opened { mut inbound, claimed, welcome, first } = timeout(OPEN_MAX, self.open(&sender, receiver))
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::Unavailable, format!("no welcome within {OPEN_MAX:?}"))))?;
        let told = welcome.lease.and_then(|lease| Duration::try_from(lease).ok());
        *lease = told.filter(|lease| !lease.is_zero());
        let silence_max = ping_interval(&welcome) * SILENT_PINGS_MAX;
        let (revoked, not_mine) = (keys(&welcome.revoked), keys(&first.not_mine));
        self.hub.book().welcomed(self.id, &claimed, &revoked, &not_mine);
        let _open = OpenSession::new(&self.hub);
        info!(url = self.url, claimed = claimed.len(), revoked = revoked.len(), "session open");
        drop(claimed);

        let mut heard = Instant::now();
        let (mut pong, mut has_news, mut finishing) = (first.ping, true, false);
        self.hear(first);
        loop {
            if finishing && !has_news && self.hub.book().is_flushed(self.id) {
                return Ok(close(sender, inbound).await);
            }
            tokio::select! {
                message = inbound.message() => {
                    let Some(message) = message? else { return Ok(End::Closed) };
                    heard = Instant::now();
                    if message.ping != 0 {
                        (pong, has_news) = (message.ping, true);
                    }
                    self.hear(message);
                }
                permit = sender.reserve(), if has_news => {
                    let Ok(permit) = permit else { return Err(broken()) };
                    has_news = self.say(permit, std::mem::take(&mut pong));
                }
                () = self.signals.wake.notified(), if !has_news => {
                    // Lets the attempts that are ready finish first, so that their results share a message.
                    tokio::task::yield_now().await;
                    has_news = true;
                }
                () = self.signals.reopen.notified() => return Ok(End::Reopen),
                () = self.finish.cancelled(), if !finishing => finishing = true,
                () = sleep_until(heard + silence_max) => {
                    return Err(Error::new(Code::Unavailable, format!("the scheduler was silent for {silence_max:?}")));
                }
            }
        }
    }

    async fn open(
        &self,
        sender: &mpsc::Sender<OpenSessionRequest>,
        receiver: mpsc::Receiver<OpenSessionRequest>,
    ) -> Result<Opened, Error> {
        let unreachable = |error| Error::new(Code::Unavailable, "the scheduler cannot be reached").with_source(error);
        let channel = endpoint(&self.url)?.connect().await.map_err(unreachable)?;
        let mut client = WorkerSessionServiceClient::new(channel)
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let claims = self.hub.book().join(self.id);
        let claimed = claims.running.clone();
        let hello = OpenSessionRequest { hello: Some(self.hub.hello(claims)), ..OpenSessionRequest::default() };
        // The receiver goes into the call below, so the channel is open and empty.
        sender.send(hello).await.map_err(|_| broken())?;
        let mut inbound = client.open_session(ReceiverStream::new(receiver)).await?.into_inner();
        let mut first = inbound.message().await?.unwrap_or_default();
        let welcome = first.welcome.take();
        let welcome = welcome.ok_or_else(|| Error::new(Code::Unavailable, "the scheduler did not welcome us"))?;
        Ok(Opened { inbound, claimed, welcome, first })
    }

    /// Takes a message, and starts what it assigns.
    fn hear(&self, message: OpenSessionResponse) {
        let (orders, assignments) = orders(message);
        let moves = orders.moves();
        if moves {
            debug!(
                url = self.url,
                adopted = orders.adopted.len(),
                revoked = orders.revoked.len(),
                not_mine = orders.not_mine.len(),
                "attempts change hands"
            );
        }
        let Heard { started, forgotten } = self.hub.book().hear(self.id, &orders);
        drop(forgotten);
        if moves {
            self.hub.made_room();
        }
        for (((key, stop), assignment), starts) in orders.assigned.into_iter().zip(assignments).zip(started) {
            if starts {
                runner::start(&self.hub, &self.abilities, key, assignment, stop);
            }
        }
    }

    /// Sends what is there; true when there is more.
    fn say(&self, permit: mpsc::Permit<'_, OpenSessionRequest>, pong: u64) -> bool {
        let batch = self.hub.book().outgoing(self.id);
        let has_more = batch.has_more;
        self.hub.made_room();
        if let Some(request) = batch.into_request(pong) {
            permit.send(request);
        }
        has_more
    }
}

/// Ends our side and waits for the scheduler to end its own: then it has read everything.
async fn close(sender: mpsc::Sender<OpenSessionRequest>, mut inbound: Streaming<OpenSessionResponse>) -> End {
    drop(sender);
    let ended = async { while let Ok(Some(_)) = inbound.message().await {} };
    if timeout(CLOSE_MAX, ended).await.is_err() {
        debug!("the scheduler did not end the session in time");
    }
    End::Finished
}

/// What a message says to the book, and the assignments in the order of `assigned`.
fn orders(message: OpenSessionResponse) -> (Orders, Vec<Assignment>) {
    let mut assigned = Vec::with_capacity(message.assignments.len());
    let mut assignments = message.assignments;
    assignments.retain(|assignment| {
        let key = assignment.attempt.as_ref().and_then(key_of);
        assigned.extend(key.map(|key| (key, Arc::default())));
        key.is_some()
    });
    let cancelled = message.cancellations.iter().filter_map(|cancellation| {
        let key = cancellation.attempt.as_ref().and_then(key_of)?;
        debug!(task = %key.task, token = %key.token, reason = cancellation.reason, "attempt is cancelled");
        Some(key)
    });
    let orders = Orders {
        acknowledged: keys(&message.acknowledged),
        adopted: keys(&message.adopted),
        assigned,
        cancelled: cancelled.collect(),
        revoked: keys(&message.revoked),
        not_mine: keys(&message.not_mine),
        reclaimed: message.reclaimed,
        report: message.report,
        pinged: message.ping != 0,
    };
    (orders, assignments)
}

fn ping_interval(welcome: &SessionWelcome) -> Duration {
    let interval = welcome.ping_interval.and_then(|interval| Duration::try_from(interval).ok());
    interval.filter(|interval| !interval.is_zero()).unwrap_or(PING_INTERVAL_DEFAULT).max(PING_INTERVAL_MIN)
}

fn keys(refs: &[AttemptRef]) -> Vec<AttemptKey> {
    refs.iter().filter_map(key_of).collect()
}

fn key_of(wire: &AttemptRef) -> Option<AttemptKey> {
    AttemptKey::try_from(wire)
        .inspect_err(|error| warn!(task_id = wire.task_id, %error, "the scheduler named an attempt that cannot be"))
        .ok()
}

fn broken() -> Error {
    Error::new(Code::Unavailable, "the session broke")
}
