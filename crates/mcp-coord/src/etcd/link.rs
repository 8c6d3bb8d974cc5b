//! The connection to etcd: every call has a deadline, and a client that fails is replaced.

use std::{future::Future, time::Duration};

use etcd_client::{Client, ConnectOptions};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};
use tonic::{Code, Status};

use crate::{
    backoff::jittered,
    model::{Error, LeaseId},
};

/// Longest time of one call, waiting for a connection included.
const CALL_TIME_MAX: Duration = Duration::from_secs(3);
/// Longest wait for a connection.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Pings find a dead connection under a silent watch. etcd closes connections that ping more often than every 5 s,
/// or while nothing is open on them.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A client is replaced at most this often, less jitter.
const CLIENT_AGE_MIN: Duration = Duration::from_secs(4);

/// What etcd says when a lease is not there.
const LEASE_NOT_FOUND: &str = "requested lease not found";
/// What etcd-client says when a keep-alive finds no lease.
const LEASE_LOST: &str = "lease not found";
/// What etcd says when a revision is no longer kept.
const COMPACTED: &str = "required revision has been compacted";

/// Why a call failed, before it is known which key or lease it was about.
#[derive(Debug)]
pub(super) enum Failure {
    LeaseEnded,
    Compacted,
    Invalid(String),
    Unavailable(String),
}

impl Failure {
    /// The error of a call that may name a lease.
    pub(super) fn about(self, lease: Option<LeaseId>) -> Error {
        match (self, lease) {
            (Self::LeaseEnded, Some(lease)) => Error::LeaseEnded { lease },
            (Self::LeaseEnded, None) => Error::Invalid { reason: LEASE_NOT_FOUND.to_owned() },
            (Self::Compacted, _) => Error::Unavailable { reason: COMPACTED.to_owned() },
            (Self::Invalid(reason), _) => Error::Invalid { reason },
            (Self::Unavailable(reason), _) => Error::Unavailable { reason },
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.about(None)
    }
}

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => Self::from(&status),
            etcd_client::Error::LeaseKeepAliveError(text) if text == LEASE_LOST => Self::LeaseEnded,
            etcd_client::Error::InvalidArgs(text) => Self::Invalid(text),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl From<&Status> for Failure {
    fn from(status: &Status) -> Self {
        let text = status.message();
        match status.code() {
            Code::NotFound if text.contains(LEASE_NOT_FOUND) => Self::LeaseEnded,
            Code::OutOfRange if text.contains(COMPACTED) => Self::Compacted,
            Code::InvalidArgument => Self::Invalid(text.to_owned()),
            code => Self::Unavailable(format!("{code:?}: {text}")),
        }
    }
}

/// A client of etcd that comes to life at the first call and is made anew when it fails.
///
/// tonic reconnects by itself in most cases, but a channel whose worker ended, or one that waits on a connection
/// that never comes, stays useless for good.
#[derive(Debug)]
pub(super) struct Link {
    endpoints: Vec<String>,
    built: Mutex<Option<Built>>,
}

struct Built {
    client: Client,
    number: u64,
    replaceable_at: Instant,
    failed: bool,
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Built").field("number", &self.number).field("failed", &self.failed).finish_non_exhaustive()
    }
}

impl Link {
    /// # Errors
    /// [`Error::Invalid`] when there is no endpoint or one is not `http://host:port`.
    pub(super) async fn new(endpoints: &[String]) -> Result<Self, Error> {
        let endpoints: Vec<String> = endpoints.iter().map(|endpoint| endpoint.trim().to_owned()).collect();
        if let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.is_empty() || endpoint.starts_with("https:"))
        {
            let reason = format!("endpoint `{endpoint}` is not of the form `http://host:port`");
            return Err(Error::Invalid { reason });
        }
        let link = Self { endpoints, built: Mutex::new(None) };
        link.client().await.map_err(|failure| match failure {
            Failure::Unavailable(reason) => Error::Invalid { reason: format!("etcd endpoints: {reason}") },
            other => other.into(),
        })?;
        Ok(link)
    }

    /// Makes a call, with a deadline.
    pub(super) async fn call<T, F>(&self, call: impl FnOnce(Client) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let (client, number) = self.client().await?;
        let failure = match timeout(CALL_TIME_MAX, call(client)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => Failure::from(error),
            Err(_) => Failure::Unavailable(format!("etcd did not answer within {CALL_TIME_MAX:?}")),
        };
        if matches!(failure, Failure::Unavailable(_)) {
            self.failed(number).await;
        }
        Err(failure)
    }

    /// Makes the next call use a new connection.
    pub(super) async fn renew(&self) {
        if let Some(built) = self.built.lock().await.as_mut() {
            built.failed = true;
        }
    }

    async fn failed(&self, number: u64) {
        let mut built = self.built.lock().await;
        if let Some(built) = built.as_mut().filter(|built| built.number == number) {
            built.failed = true;
        }
    }

    async fn client(&self) -> Result<(Client, u64), Failure> {
        let mut built = self.built.lock().await;
        if let Some(built) = built.as_ref().filter(|built| !built.failed || Instant::now() < built.replaceable_at) {
            return Ok((built.client.clone(), built.number));
        }
        let number = built.as_ref().map_or(0, |built| built.number + 1);
        // No I/O yet: the connection is made by the first call.
        let client = Client::connect(&self.endpoints, Some(options())).await?;
        let replaceable_at = Instant::now() + jittered(CLIENT_AGE_MIN);
        *built = Some(Built { client: client.clone(), number, replaceable_at, failed: false });
        Ok((client, number))
    }
}

fn options() -> ConnectOptions {
    ConnectOptions::new()
        .with_connect_timeout(CONNECT_TIME_MAX)
        .with_keep_alive(PING_INTERVAL, PING_ANSWER_WITHIN)
        .with_keep_alive_while_idle(false)
        .with_require_leader(true)
}
