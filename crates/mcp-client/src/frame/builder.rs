//! Puts a client together.

use std::{sync::Arc, time::Duration};

use mcp_proto::{
    Error, MESSAGE_BYTES_MAX,
    frame::{BodyCodec, hello::Hello},
};
use tokio_rustls::TlsConnector;

use super::{
    address::Address,
    client::{FrameClient, Limits},
    driver::{Conduct, Driver},
    lanes::Backoff,
    link::Plan,
};
use crate::client::{DEADLINE_DEFAULT, tls};

/// Servers of one client, at most.
const ADDRESSES_MAX: usize = 16;
/// How long a connection and its hello may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Wait after the first failure to connect.
const RECONNECT_MIN: Duration = Duration::from_millis(100);
/// Longest wait between two attempts.
const RECONNECT_MAX: Duration = Duration::from_secs(10);
/// How long the answers of a broken connection are awaited on the next one.
const RESUME_MAX: Duration = Duration::from_secs(60);
/// Answers that may be awaited at a time.
const IN_FLIGHT_MAX: usize = 1024;
/// Answers of a stream that may wait for their reader.
const STREAM_ANSWERS_MAX: usize = 1024;
/// Events of a subscription that may wait for their reader.
const EVENTS_MAX: usize = 1024;

impl FrameClient {
    /// Starts to make a client of the gateway at `mcp://host:port`, or `mcps://host:port` with TLS.
    pub fn builder(url: impl Into<String>) -> FrameClientBuilder {
        FrameClientBuilder::new(url.into())
    }
}

/// Makes a [`FrameClient`].
#[derive(Debug, Clone)]
pub struct FrameClientBuilder {
    urls: Vec<String>,
    name: String,
    token: Option<Secret>,
    ca: Option<Vec<u8>>,
    limits: Limits,
    conduct: Conduct,
    ping_interval: Option<Duration>,
    payload_bytes_max: usize,
}

/// A text that is not shown.
#[derive(Clone)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

impl FrameClientBuilder {
    fn new(url: String) -> Self {
        Self {
            urls: vec![url],
            name: concat!("mcp-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            token: None,
            ca: None,
            limits: Limits {
                deadline: DEADLINE_DEFAULT,
                stream_answers_max: STREAM_ANSWERS_MAX,
                events_max: EVENTS_MAX,
            },
            conduct: Conduct {
                lanes: 1,
                backoff: Backoff { min: RECONNECT_MIN, max: RECONNECT_MAX },
                in_flight_max: IN_FLIGHT_MAX,
                resume_max: RESUME_MAX,
                fails_fast: false,
            },
            ping_interval: None,
            payload_bytes_max: MESSAGE_BYTES_MAX,
        }
    }

    /// Another server, for when the ones before it cannot be reached.
    #[must_use]
    pub fn or(mut self, url: impl Into<String>) -> Self {
        self.urls.push(url.into());
        self
    }

    /// Keeps a second connection ready, to the second server if there is one, which takes over at once.
    #[must_use]
    pub fn standby(mut self) -> Self {
        self.conduct.lanes = 2;
        self
    }

    /// Shows this API key or token, as `authorization: Bearer`, when a session is opened.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Secret(token.into()));
        self
    }

    /// Name and version of the program, for the server's logs.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// PEM text with the roots that certificates must come from, instead of those of this machine.
    #[must_use]
    pub fn ca(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(pem.into());
        self
    }

    /// Time of every call that names none; 30 s otherwise.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.limits.deadline = deadline;
        self
    }

    /// Waits between attempts to connect: the first one, which doubles, and the longest. 100 ms and 10 s otherwise.
    #[must_use]
    pub fn reconnect(mut self, min: Duration, max: Duration) -> Self {
        self.conduct.backoff = Backoff { min, max };
        self
    }

    /// How long the answers of a broken connection are awaited on the next one; 60 s otherwise.
    #[must_use]
    pub fn resume_max(mut self, resume_max: Duration) -> Self {
        self.conduct.resume_max = resume_max;
        self
    }

    /// Silence after which the server is pinged; a connection that is silent for three times that is lost. The server's
    /// word otherwise.
    #[must_use]
    pub fn ping_interval(mut self, ping_interval: Duration) -> Self {
        self.ping_interval = Some(ping_interval);
        self
    }

    /// Calls fail as soon as an attempt to connect did; otherwise they wait for a connection until their deadline.
    #[must_use]
    pub fn fail_fast(mut self) -> Self {
        self.conduct.fails_fast = true;
        self
    }

    /// Answers that may be awaited at a time; 1,024 otherwise. More calls wait before they are sent.
    #[must_use]
    pub fn in_flight_max(mut self, max: usize) -> Self {
        self.conduct.in_flight_max = max.max(1);
        self
    }

    /// Events of a subscription, and answers of a stream, that may wait for their reader; 1,024 otherwise. Beyond that the
    /// oldest event is dropped, and a stream ends with `OVERLOADED`.
    #[must_use]
    pub fn unread_max(mut self, max: usize) -> Self {
        (self.limits.events_max, self.limits.stream_answers_max) = (max, max);
        self
    }

    /// Largest payload either way, in bytes; 16 MiB otherwise.
    #[must_use]
    pub fn payload_bytes_max(mut self, max: usize) -> Self {
        self.payload_bytes_max = max;
        self
    }

    /// Starts the client, which begins to connect.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a `url` that is not `mcp://host:port`, or for `ca`; `FAILED_PRECONDITION` when TLS is needed
    /// and this machine has no roots.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn build(self) -> Result<FrameClient, Error> {
        if self.urls.len() > ADDRESSES_MAX {
            return Err(Error::invalid("url", format!("may be given {ADDRESSES_MAX} times at most")));
        }
        let addresses = self.urls.iter().map(|url| url.parse()).collect::<Result<Vec<Address>, _>>()?;
        let tls = match addresses.iter().any(|address| address.is_secure) {
            true => Some(TlsConnector::from(Arc::new(tls::config(self.ca.as_deref())?))),
            false => None,
        };
        let codecs = [BodyCodec::Protobuf, BodyCodec::Json].map(|codec| codec.name().to_owned()).to_vec();
        let plan = Plan {
            addresses,
            tls,
            hello: Hello { client: self.name, codecs, resume: String::new() },
            authorization: self.token.map(|Secret(token)| format!("Bearer {token}")),
            payload_bytes_max: self.payload_bytes_max,
            connect_max: CONNECT_MAX,
            ping_interval: self.ping_interval,
        };
        let conduct = self.conduct;
        Ok(FrameClient::start(self.limits, |orders, closing, gone| Driver::new(plan, conduct, orders, closing, gone)))
    }
}
