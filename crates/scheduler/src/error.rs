//! What goes wrong in the scheduler, and the catalogue entry each becomes.

use std::{sync::Arc, time::Duration};

use mcp_proto::{Code, TaskId};

use crate::store;

/// When to come back after an overload.
const OVERLOAD_RETRY: Duration = Duration::from_millis(200);
/// When to come back to a partition that is being opened.
const OPENING_RETRY: Duration = Duration::from_millis(500);

/// One variant for each thing a caller can do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The request is wrong, or its task is not in the right state; already said in the catalogue's terms.
    #[error("{0}")]
    Refused(#[from] mcp_proto::Error),
    /// No such task.
    #[error("task `{id}` does not exist")]
    TaskNotFound {
        /// The task.
        id: TaskId,
    },
    /// No such workflow.
    #[error("workflow `{id}` does not exist")]
    WorkflowNotFound {
        /// The workflow.
        id: TaskId,
    },
    /// A bound was reached.
    #[error("too many {what}")]
    Overloaded {
        /// Of what there is too much.
        what: &'static str,
    },
    /// The service stops.
    #[error("the scheduler is stopping")]
    ShuttingDown,
    /// The partition is not owned, or not open yet.
    #[error("the partition is not served here now")]
    NotOwner,
    /// The store failed.
    #[error("the store failed")]
    Store(#[source] Arc<store::Error>),
}

impl Error {
    /// A session ends because the worker has a newer one.
    pub(crate) fn replaced() -> Self {
        Self::Refused(mcp_proto::Error::new(Code::Aborted, "a newer session of this worker was opened"))
    }

    /// A session ends because the worker granted more slots than it may.
    pub(crate) fn too_many_slots(slots_max: u32) -> Self {
        Self::Refused(mcp_proto::Error::invalid("credits", format!("make more than {slots_max} free slots")))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Fenced { .. } => Self::NotOwner,
            other => Self::Store(Arc::new(other)),
        }
    }
}

impl From<Error> for mcp_proto::Error {
    #[deny(clippy::wildcard_enum_match_arm, reason = "a new variant must choose")]
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Refused(error) => error,
            Error::TaskNotFound { id } => Self::new(Code::TaskNotFound, text).with_metadata("task_id", id.to_string()),
            Error::WorkflowNotFound { id } => {
                Self::new(Code::WorkflowNotFound, text).with_metadata("workflow_id", id.to_string())
            }
            Error::Overloaded { .. } => Self::new(Code::Overloaded, text).with_retry_after(OVERLOAD_RETRY),
            Error::ShuttingDown => Self::new(Code::ShuttingDown, text),
            Error::NotOwner => Self::new(Code::NotOwner, text).with_retry_after(OPENING_RETRY),
            Error::Store(source) => match *source {
                store::Error::Corrupt { .. } => Self::new(Code::DataLoss, "a stored record cannot be read"),
                store::Error::Unavailable { .. } | store::Error::Fenced { .. } => {
                    Self::new(Code::StoreUnavailable, text).with_retry_after(OPENING_RETRY)
                }
            }
            .with_source(StoreFailure(source)),
        }
    }
}

/// A store error that several callers share.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct StoreFailure(#[source] Arc<store::Error>);

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        let error = mcp_proto::Error::from(error);
        if matches!(error.code(), Code::Internal | Code::DataLoss) {
            tracing::error!(%error, "request failed");
        }
        error.into()
    }
}
