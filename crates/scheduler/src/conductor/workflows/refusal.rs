//! What refusals mean: to callers, and to the rules.

use mcp_flow::{Refusal, Refused, RerunRefused};
use mcp_proto::{Code, Error as WireError, TaskId};

use crate::{conductor::stage::NotStarted, error::Error, workflow::json::from_error};

/// When a step is tried again whose queue is being drained, in milliseconds.
const CLOSED_PAUSE: u64 = 2_000;
/// When a step is tried again for which there is no room here, in milliseconds.
const BUSY_PAUSE: u64 = 200;
/// Longest pause before a step is tried again, in milliseconds.
const PAUSE_MAX: u64 = 30_000;

/// What the rules hear of a task that was not started.
pub(super) fn step_refusal(reason: NotStarted, now: u64) -> Refusal {
    match reason {
        NotStarted::QueueFull { retry_after } => Refusal::Until(now + retry_after.clamp(1, PAUSE_MAX)),
        NotStarted::QueueClosed => Refusal::Until(now + CLOSED_PAUSE),
        NotStarted::Busy(_) => Refusal::Until(now + BUSY_PAUSE),
        NotStarted::Invalid(error) => Refusal::Invalid { error: from_error(&error.into()) },
    }
}

/// What a caller hears whose workflow was not started.
pub(super) fn start_refusal(refused: &Refused) -> Error {
    match refused {
        Refused::Full(_) | Refused::Exists => Error::Overloaded { what: "unfinished workflows" },
        Refused::Unknown | Refused::Ending => unreachable!("only a workflow that is there is refused like this"),
    }
}

/// What a caller hears whose workflow was not run again.
pub(super) fn rerun_refusal(refused: RerunRefused) -> Error {
    let text = refused.to_string();
    match refused {
        RerunRefused::Refused(refused) => start_refusal(&refused),
        RerunRefused::NotFinal => Error::Refused(WireError::new(Code::FailedPrecondition, text)),
        RerunRefused::UnknownStep(_) => Error::Refused(WireError::invalid("from_step", text)),
        RerunRefused::Definition(_) => Error::Refused(WireError::invalid("workflow", text)),
    }
}

/// The key belongs to the workflow `id`, which is a different one.
pub(super) fn key_conflict(id: TaskId) -> Error {
    let text = "the idempotency key was used for a different workflow";
    Error::Refused(
        WireError::new(Code::IdempotencyConflict, text)
            .with_violation("workflow.idempotency_key", "belongs to a different workflow")
            .with_metadata("workflow_id", id.to_string()),
    )
}
