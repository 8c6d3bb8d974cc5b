//! The typed client: tasks and instances through a gateway, or straight from a scheduler.
//!
//! A [`Client`] is a lazily connected channel to one URL; clones share it. Every unary call has a deadline and carries
//! the trace context of the current span. A call is tried again when the other end says that it did nothing (it stops, or
//! the tasks moved to another replica), and one that may be repeated (reads, settings, and submits that carry an
//! idempotency key) also when the other end broke off: a few times, with backoff and jitter, as the other end asks, and
//! never beyond the deadline. Errors are those of the catalogue.

mod call;
mod document;
mod keys;
mod queues;
mod retry;
mod routes;
mod schedules;
mod tasks;
pub(crate) mod tls;
mod wait;
mod workflows;

use std::time::Duration;

use mcp_proto::{
    Error, MESSAGE_BYTES_MAX,
    gateway::v1::{key_service_client::KeyServiceClient, route_service_client::RouteServiceClient},
    registry::v1::registry_service_client::RegistryServiceClient,
    scheduler::v1::{
        queue_service_client::QueueServiceClient, schedule_service_client::ScheduleServiceClient,
        task_service_client::TaskServiceClient, workflow_service_client::WorkflowServiceClient,
    },
};
use tonic::transport::{Channel, Endpoint};

use self::{
    call::{Call, Token},
    retry::Repeat,
};

/// How long a unary call may take, retries included, unless [`Client::with_deadline`] says otherwise.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(30);
/// Largest answer that is decoded: a task of the largest size with its output and what surrounds it.
const ANSWER_BYTES_MAX: usize = 2 * MESSAGE_BYTES_MAX;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is checked while a call is open on it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer to such a check may take.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A client of one gateway or scheduler. Cheap to clone; clones share the connection.
#[derive(Debug, Clone)]
pub struct Client {
    tasks: TaskServiceClient<Channel>,
    queues: QueueServiceClient<Channel>,
    schedules: ScheduleServiceClient<Channel>,
    workflows: WorkflowServiceClient<Channel>,
    registry: RegistryServiceClient<Channel>,
    routes: RouteServiceClient<Channel>,
    keys: KeyServiceClient<Channel>,
    channel: Channel,
    deadline: Duration,
    token: Option<Token>,
}

impl Client {
    /// A client of `http://host:port` or `https://host:port`; with `https` the server's certificate must come from a root
    /// of this machine. Nothing is connected before the first call.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for `url` when it is not of that form; `FAILED_PRECONDITION` when this machine has no roots.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect(url: &str) -> Result<Self, Error> {
        Self::connect_trusting(url, None)
    }

    /// The same, with the roots in this PEM text instead of those of this machine.
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect); `INVALID_ARGUMENT` for `ca` when there is no certificate in it.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn connect_trusting(url: &str, ca: Option<&[u8]>) -> Result<Self, Error> {
        let endpoint = parse(url, &["http", "https"])?;
        let channel = if endpoint.uri().scheme_str() == Some("https") {
            endpoint.connect_with_connector_lazy(tls::connector(ca)?)
        } else {
            endpoint.connect_lazy()
        };
        let tasks = TaskServiceClient::new(channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let queues = QueueServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let schedules = ScheduleServiceClient::new(channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let workflows = WorkflowServiceClient::new(channel.clone())
            .max_decoding_message_size(ANSWER_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let keys = KeyServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let registry = RegistryServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        let routes = RouteServiceClient::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
        Ok(Self {
            tasks,
            queues,
            schedules,
            workflows,
            registry,
            routes,
            keys,
            channel,
            deadline: DEADLINE_DEFAULT,
            token: None,
        })
    }

    /// Shows this API key or token with every call, as `authorization: Bearer`.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for `token` when it cannot be sent in a header.
    pub fn with_token(mut self, token: &str) -> Result<Self, Error> {
        self.token = Some(Token::new(token)?);
        Ok(self)
    }

    /// Checks a URL without making a client of it, for settings.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for `url` when it is not `http://host:port`.
    pub fn check_url(url: &str) -> Result<(), Error> {
        endpoint(url).map(drop)
    }

    /// Gives every unary call this long, retries included.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// A call that changes nothing.
    fn read(&self) -> Call {
        Call { deadline: self.deadline, repeat: Repeat::Allowed, partition: None, token: self.token.clone() }
    }

    /// A call that changes nothing, or the same when it is repeated, at this home.
    fn read_at(&self, partition: &str) -> Call {
        Call { partition: Some(partition.to_owned()), ..self.read() }
    }

    /// A call that may do something twice when it is repeated.
    fn write(&self) -> Call {
        Call { repeat: Repeat::IfNothingDone, ..self.read() }
    }

    /// A call that may do something twice when it is repeated, at this home.
    fn write_at(&self, partition: &str) -> Call {
        Call { repeat: Repeat::IfNothingDone, ..self.read_at(partition) }
    }
}

/// The endpoint behind `http://host:port`.
///
/// # Errors
/// `INVALID_ARGUMENT` for `url` when it is not of that form.
pub(crate) fn endpoint(url: &str) -> Result<Endpoint, Error> {
    parse(url, &["http"])
}

fn parse(url: &str, schemes: &[&str]) -> Result<Endpoint, Error> {
    let refuse = |why: String| Error::invalid("url", format!("must be `http://host:port`, not `{url}`: {why}"));
    let uri: http::Uri = url.parse().map_err(|error: http::uri::InvalidUri| refuse(error.to_string()))?;
    if !uri.scheme_str().is_some_and(|scheme| schemes.contains(&scheme)) {
        return Err(refuse(format!("the scheme must be `{}`", schemes.join("` or `"))));
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(refuse("the host is missing".to_owned()));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(refuse("it must not have a path".to_owned()));
    }
    Ok(Endpoint::from(uri)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .tcp_nodelay(true))
}

#[cfg(test)]
mod tests {
    use mcp_proto::Code;

    use super::{endpoint, parse};

    #[test]
    fn a_gateway_may_be_called_with_tls() {
        assert!(parse("https://gateway:443", &["http", "https"]).is_ok());
        assert!(parse("ftp://gateway:443", &["http", "https"]).is_err());
    }

    #[test]
    fn only_http_urls_without_a_path_are_taken() {
        for url in ["http://127.0.0.1:8080", "http://gateway:8080/", "http://[::1]:80"] {
            assert!(endpoint(url).is_ok(), "{url}");
        }
        for url in ["", "127.0.0.1:8080", "https://host:1", "http://host:1/path", "http://host:1?x=1", "http:// host"] {
            let error = endpoint(url).unwrap_err();
            assert_eq!((error.code(), error.violations()[0].field.as_str()), (Code::InvalidArgument, "url"), "{url}");
        }
    }
}
