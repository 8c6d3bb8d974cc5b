//! What can go wrong, and its form in the catalogue.

use std::time::Duration;

use mcp_proto::Code;
use tonic::Status;

/// When a call is worth another try.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Fields of the request are wrong; the catalogue error names them.
    #[error("the request is wrong")]
    Invalid(#[source] mcp_proto::Error),
    /// The instance is not registered under this lease, or no longer. Register it again.
    #[error("instance `{instance_id}` of service `{service}` is not registered under this lease")]
    InstanceNotFound {
        /// The service.
        service: String,
        /// The instance.
        instance_id: String,
    },
    /// As many watches are open as there may be. Wait, or ask another replica.
    #[error("{max} watches are open already")]
    WatchesFull {
        /// How many there may be.
        max: usize,
    },
    /// The registry stops. Another replica answers.
    #[error("the registry is shutting down")]
    ShuttingDown,
    /// Coordination failed.
    #[error("coordination failed")]
    Coordination(#[source] mcp_coord::Error),
}

impl From<mcp_coord::Error> for Error {
    fn from(error: mcp_coord::Error) -> Self {
        Self::Coordination(error)
    }
}

#[deny(clippy::wildcard_enum_match_arm, clippy::match_wildcard_for_single_variants)]
impl From<Error> for mcp_proto::Error {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Invalid(error) => error,
            Error::InstanceNotFound { service, instance_id } => Self::new(Code::InstanceNotFound, text)
                .with_metadata("service", service)
                .with_metadata("instance_id", instance_id),
            Error::WatchesFull { .. } => Self::new(Code::Overloaded, text).with_retry_after(RETRY_AFTER),
            Error::ShuttingDown => Self::new(Code::ShuttingDown, text),
            Error::Coordination(source) => match &source {
                mcp_coord::Error::Unavailable { .. } => {
                    Self::new(Code::CoordinationUnavailable, "coordination does not answer")
                        .with_retry_after(RETRY_AFTER)
                        .with_source(source)
                }
                // Two calls for the same instance at once.
                mcp_coord::Error::Conflict { .. } | mcp_coord::Error::LeaseEnded { .. } => {
                    Self::new(Code::Aborted, source.to_string()).with_source(source)
                }
                // Requests are checked before; this is a fault of ours.
                mcp_coord::Error::Invalid { .. } => Self::internal(source),
            },
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let error = mcp_proto::Error::from(error);
        let source = std::error::Error::source(&error);
        match error.code() {
            Code::Internal => tracing::error!(?source, "request failed"),
            Code::CoordinationUnavailable => tracing::warn!(?source, "coordination does not answer"),
            _ => tracing::debug!(%error, "request refused"),
        }
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_its_place_in_the_catalogue() {
        let key = || "k".to_owned();
        for (error, code) in [
            (Error::Invalid(mcp_proto::Error::invalid("ttl", "is wrong")), Code::InvalidArgument),
            (Error::InstanceNotFound { service: key(), instance_id: key() }, Code::InstanceNotFound),
            (Error::WatchesFull { max: 1 }, Code::Overloaded),
            (Error::ShuttingDown, Code::ShuttingDown),
            (mcp_coord::Error::Unavailable { reason: key() }.into(), Code::CoordinationUnavailable),
            (mcp_coord::Error::Conflict { key: key() }.into(), Code::Aborted),
            (mcp_coord::Error::LeaseEnded { lease: mcp_coord::LeaseId(1) }.into(), Code::Aborted),
            (mcp_coord::Error::Invalid { reason: key() }.into(), Code::Internal),
        ] {
            let back = mcp_proto::Error::from(&Status::from(error));
            assert_eq!(back.code(), code, "{back}");
        }
    }
}
