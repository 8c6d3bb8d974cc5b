//! What every call goes through: metadata, deadline, retries, errors.

use std::{future::Future, time::Duration};

use mcp_proto::{Code, Error};
use tokio::time::{Instant, timeout_at};
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{Ascii, MetadataValue},
};

use super::retry::{self, Repeat};
use crate::trace;

/// Metadata by which a gateway finds the owner without reading the body: `namespace/queue`, or the id of a task or a
/// workflow.
pub(super) const PARTITION_KEY: &str = "mcp-partition-key";
/// Metadata by which a caller shows who they are.
const AUTHORIZATION: &str = "authorization";
/// What an empty namespace or queue means.
const DEFAULT_NAME: &str = "default";

/// How a call is made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Total time, retries included.
    pub(super) deadline: Duration,
    /// Whether it may be repeated.
    pub(super) repeat: Repeat,
    /// Queue, task or workflow that it is about, when the caller knows it; see [`PARTITION_KEY`].
    pub(super) partition: Option<String>,
    /// What the caller shows.
    pub(super) token: Option<Token>,
}

/// An API key or a token, in the form of its header. It is not shown in logs.
#[derive(Debug, Clone)]
pub(super) struct Token(MetadataValue<Ascii>);

impl Token {
    /// A token.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for `token` when it cannot be sent in a header.
    pub(super) fn new(text: &str) -> Result<Self, Error> {
        let value: Result<MetadataValue<Ascii>, _> = format!("Bearer {text}").parse();
        let mut value = value.map_err(|_| Error::invalid("token", "cannot be sent in a header"))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Call {
    /// Sends `message` by `send`, which is called once for each try.
    ///
    /// # Errors
    /// The error of the last try; `DEADLINE_EXCEEDED` when the time was over first.
    pub(super) async fn unary<M, T, Fut>(self, message: M, send: impl Fn(Request<M>) -> Fut) -> Result<T, Error>
    where
        M: Clone,
        Fut: Future<Output = Result<Response<T>, Status>>,
    {
        let end = Instant::now() + self.deadline;
        let call = || {
            let mut request = self.request(message.clone());
            // The other end need not work longer than we wait.
            request.set_timeout(end.saturating_duration_since(Instant::now()));
            // On the heap: tonic's future holds the message several times over, and callers hold this one by value.
            let answer = Box::pin(send(request));
            async move { Ok(answer.await?.into_inner()) }
        };
        self.within(end, retry::run(end, self.repeat, call)).await
    }

    /// Opens a stream of answers by `send`, which is called once for each try. The deadline is that of the opening.
    ///
    /// # Errors
    /// See [`unary`](Self::unary).
    pub(super) async fn open<M, T, Fut>(
        self,
        message: M,
        send: impl Fn(Request<M>) -> Fut,
    ) -> Result<Streaming<T>, Error>
    where
        M: Clone,
        Fut: Future<Output = Result<Response<Streaming<T>>, Status>>,
    {
        let end = Instant::now() + self.deadline;
        let call = || {
            let answer = Box::pin(send(self.request(message.clone())));
            async move { Ok(answer.await?.into_inner()) }
        };
        self.within(end, retry::run(end, self.repeat, call)).await
    }

    async fn within<T>(&self, end: Instant, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout_at(end, answer).await.unwrap_or_else(|_| {
            Err(Error::new(Code::DeadlineExceeded, format!("no answer within {:?}", self.deadline)))
        })
    }

    /// A request with the metadata that every call carries.
    pub(super) fn request<M>(&self, message: M) -> Request<M> {
        let mut request = Request::new(message);
        trace::inject(request.metadata_mut());
        if let Some(key) = self.partition.as_ref().and_then(|key| key.parse().ok()) {
            request.metadata_mut().insert(PARTITION_KEY, key);
        }
        if let Some(Token(token)) = &self.token {
            request.metadata_mut().insert(AUTHORIZATION, token.clone());
        }
        request
    }
}

/// The value of [`PARTITION_KEY`] for a queue; empty names mean `default`.
pub(super) fn partition_key(namespace: &str, queue: &str) -> String {
    let or_default = |name: &str| if name.is_empty() { DEFAULT_NAME.to_owned() } else { name.to_owned() };
    format!("{}/{}", or_default(namespace), or_default(queue))
}

/// What an answer must hold.
///
/// # Errors
/// `INTERNAL` when it does not.
pub(super) fn present<T>(part: Option<T>, name: &str) -> Result<T, Error> {
    part.ok_or_else(|| Error::new(Code::Internal, format!("the answer holds no {name}")))
}
