//! What every call goes through: metadata, deadline, retries, errors.

use std::{future::Future, time::Duration};

use mcp_proto::{Code, Error};
use tokio::time::{Instant, timeout_at};
use tonic::{Request, Response, Status};

use super::retry;
use crate::trace;

/// Metadata by which a gateway finds the owner of a queue without reading the body: `namespace/queue`.
pub(super) const PARTITION_KEY: &str = "mcp-partition-key";
/// What an empty namespace or queue means.
const DEFAULT_NAME: &str = "default";

/// Whether a call may be sent more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It changes nothing, or a repeat is recognised.
    Allowed,
    /// A repeat might do the work twice.
    Never,
}

/// How a call is made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Total time, retries included.
    pub(super) deadline: Duration,
    /// Whether it may be repeated.
    pub(super) repeat: Repeat,
    /// Namespace and queue it is about, when the caller knows them.
    pub(super) partition: Option<String>,
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
        let one = async |message: M| {
            let mut request = self.request(message);
            // The other end need not work longer than we wait.
            request.set_timeout(end.saturating_duration_since(Instant::now()));
            send(request).await.map(Response::into_inner).map_err(Error::from)
        };
        let answer = async {
            match self.repeat {
                Repeat::Never => one(message).await,
                Repeat::Allowed => retry::repeatable(end, || one(message.clone())).await,
            }
        };
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
        request
    }
}

/// The value of [`PARTITION_KEY`] for a queue; empty names mean `default`.
pub(super) fn partition_key(namespace: &str, queue: &str) -> String {
    let or_default = |name: &str| if name.is_empty() { DEFAULT_NAME.to_owned() } else { name.to_owned() };
    format!("{}/{}", or_default(namespace), or_default(queue))
}
