//! Functions that run tasks.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use mcp_proto::{Code, Error, common};
use serde_json::Value;

use super::context::AttemptContext;

/// The future of a handler's call.
pub(super) type HandlerFuture = Pin<Box<dyn Future<Output = Result<Value, HandlerError>> + Send>>;

/// A registered function.
#[derive(Clone)]
pub(super) struct Handler(Arc<dyn Fn(AttemptContext, Value) -> HandlerFuture + Send + Sync>);

impl Handler {
    pub(super) fn new<F, Fut>(function: F) -> Self
    where
        F: Fn(AttemptContext, Value) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Value, HandlerError>> + Send + 'static,
    {
        Self(Arc::new(move |context, input| Box::pin(function(context, input))))
    }

    pub(super) fn call(&self, context: AttemptContext, input: Value) -> HandlerFuture {
        (self.0)(context, input)
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}

/// Why a handler failed. Any error converts into it by `?` and is then retryable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandlerError {
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
}

impl HandlerError {
    /// A failure after which the task may be tried again.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: true, retry_after: None }
    }

    /// A failure after which a retry would be useless: the task fails at once.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self { message: message.into(), retryable: false, retry_after: None }
    }

    /// Asks for the next attempt after this wait instead of the task's backoff.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the task may be tried again.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }

    /// `HANDLER_FAILED` as it travels in an attempt's result.
    pub(super) fn into_wire(self) -> common::v1::Error {
        let mut error = Error::new(Code::HandlerFailed, self.message);
        if let Some(wait) = self.retry_after {
            error = error.with_retry_after(wait);
        }
        common::v1::Error { retryable: self.retryable, ..error.into() }
    }
}

/// The message holds the error and its sources, `: ` between them.
///
/// `HandlerError` is no [`std::error::Error`] itself, which is what allows this conversion.
impl<E: std::error::Error> From<E> for HandlerError {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            message.push_str(": ");
            message.push_str(&cause.to_string());
            source = cause.source();
        }
        Self::new(message)
    }
}
