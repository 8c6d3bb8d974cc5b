//! What the answer of another replica means for the call that was passed on to it.

use std::error::Error as _;

use mcp_proto::{Code, Error as WireError};
use tonic::Status;

/// Whether a call may be sent more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It changes nothing, or a repeat is recognised.
    Allowed,
    /// A repeat might do the work twice.
    Never,
}

/// What to do after an answer.
#[derive(Debug)]
pub(crate) enum Outcome<T> {
    /// The caller gets it.
    Answered(Result<T, Status>),
    /// Nothing was done, or a repeat does no harm: look for the owner again.
    Again,
}

impl<T> Outcome<T> {
    /// Judges an answer.
    pub(crate) fn of(answer: Result<T, Status>, repeat: Repeat) -> Self {
        match answer {
            Ok(answer) => Self::Answered(Ok(answer)),
            Err(status) if is_moved(&status) => Self::Again,
            Err(status) if is_broken_off(&status) => Self::broken_off(repeat),
            Err(status) => Self::Answered(Err(status)),
        }
    }

    /// The answer never came.
    pub(crate) fn broken_off(repeat: Repeat) -> Self {
        match repeat {
            Repeat::Allowed => Self::Again,
            Repeat::Never => {
                let message = "the owner of the partition broke off its answer";
                Self::Answered(Err(WireError::new(Code::UpstreamFailed, message).into()))
            }
        }
    }
}

/// True when the status says that nothing was done because the partition is elsewhere, or its owner is not there.
pub(crate) fn is_moved(status: &Status) -> bool {
    if is_unreachable(status) {
        return true;
    }
    // Only a replica's own word counts: a status that the connection made up says nothing of what was done.
    status.source().is_none() && matches!(WireError::from(status).code(), Code::NotOwner | Code::ShuttingDown)
}

/// True when the connection broke while the answer was awaited.
fn is_broken_off(status: &Status) -> bool {
    status.source().is_some()
}

/// True when there was no connection to send anything on.
fn is_unreachable(status: &Status) -> bool {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}
