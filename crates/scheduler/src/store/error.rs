//! Why a store call failed.

/// One variant for each thing a caller can do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The partition has a newer owner. Stop writing.
    #[error("epoch {epoch} of partition {partition} was superseded by epoch {newest}")]
    Fenced {
        /// The partition; of a commit of several parts, the first one that is fenced.
        partition: u32,
        /// Ours.
        epoch: u64,
        /// The newest one.
        newest: u64,
    },
    /// The store does not answer or cannot write. Open again, with backoff.
    #[error("the store failed to {what}")]
    Unavailable {
        /// What it was to do.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A record cannot be read. Needs a person.
    #[error("record `{key}` cannot be decoded: {reason}")]
    Corrupt {
        /// The record.
        key: String,
        /// Why.
        reason: String,
    },
}

pub(super) fn corrupt(key: &str, reason: &impl ToString) -> Error {
    Error::Corrupt { key: key.to_owned(), reason: reason.to_string() }
}

pub(super) fn unavailable(what: &'static str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Unavailable { what, source: source.into() }
}
