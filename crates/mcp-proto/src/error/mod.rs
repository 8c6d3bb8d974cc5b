//! Errors that callers see: one catalogue, the same on every protocol.
//!
//! Each crate has an error enum of its own and turns it into [`Error`] at its boundary; from there it becomes a
//! [`tonic::Status`], a JSON body or a [`common::v1::Error`](crate::common::v1::Error) and back without loss.

mod catalogue;
mod convert;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

pub use catalogue::Code;

/// The `domain` of `google.rpc.ErrorInfo` in every status of ours.
pub const DOMAIN: &str = "mcp";

/// A wrong field of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field from the request's root, for instance `tasks[3].process.argv`.
    pub field: String,
    /// What is wrong with it and what is expected.
    pub description: String,
}

/// One occurrence of a catalogue entry.
///
/// The source stays in this process, for the log; everything else crosses the wire.
#[derive(Debug, Clone)]
pub struct Error {
    code: Code,
    message: String,
    retry_after: Option<Duration>,
    violations: Vec<FieldViolation>,
    metadata: BTreeMap<String, String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with a message for people: lower case, no full stop, values in backticks.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            violations: Vec::new(),
            metadata: BTreeMap::new(),
            source: None,
        }
    }

    /// `INVALID_ARGUMENT` for one field; the message is made from it.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        let (field, description) = (field.into(), description.into());
        let message = format!("`{field}` {description}");
        Self::new(Code::InvalidArgument, message).with_violation(field, description)
    }

    /// `INTERNAL` whose message tells nothing of the cause, which stays in our log.
    pub fn internal(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::new(Code::Internal, "internal error").with_source(source)
    }

    /// Adds a wrong field.
    #[must_use]
    pub fn with_violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.violations.push(FieldViolation { field: field.into(), description: description.into() });
        self
    }

    /// Adds advice on when to retry.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a value that the message speaks of.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Keeps the cause, for the log of this process.
    #[must_use]
    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// The catalogue entry.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long to wait before a retry, when there is better advice than backoff.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The wrong fields.
    pub fn violations(&self) -> &[FieldViolation] {
        &self.violations
    }

    /// The values that the message speaks of.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }
}

/// Two errors are equal when they look the same from the other end of a wire: the source does not count.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
            && self.message == other.message
            && self.retry_after == other.retry_after
            && self.violations == other.violations
            && self.metadata == other.metadata
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.code.name(), self.code.number(), self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}
