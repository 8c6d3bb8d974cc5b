//! Which of the things that matter a run came across.

use crate::types::{Applied, Effect, Record, Refused, State};

/// Everything that must happen somewhere among the seeds: a simulation that does not get there proves nothing.
pub(super) const WANTED: &[&str] = &[
    "backoff",
    "cancelled while running",
    "cancelled while waiting",
    "deduplicated",
    "fenced",
    "full",
    "handed back or lost",
    "idempotency conflict",
    "lost too often",
    "queue full",
    "queue timeout",
    "restored and dispatched anew",
    "restored and reported",
    "result refused",
    "revoked",
    "run timeout",
    "stopped by order",
    "succeeded",
];

/// What an effect shows; `before` is the one before it.
pub(super) fn of_effect(effect: &Effect, before: Option<&Effect>) -> Option<&'static str> {
    match effect {
        Effect::Persist(Record::Retry { state: State::Retrying, failure: Some(failure), .. }) => {
            Some(if failure.code == 3002 { "run timeout" } else { "backoff" })
        }
        Effect::Persist(Record::Retry { void, .. }) => {
            Some(if void.sequence == 0 { "restored and dispatched anew" } else { "handed back or lost" })
        }
        Effect::Persist(Record::CancelRequested { .. }) => Some("cancelled while running"),
        Effect::Persist(Record::Finished { failure: None, .. }) => Some("succeeded"),
        Effect::Persist(Record::Finished { failure: Some(failure), attempts, .. }) => match failure.code {
            3003 => Some("queue timeout"),
            3008 => Some("lost too often"),
            3009 if attempts.started > 0 => Some("stopped by order"),
            3009 => Some("cancelled while waiting"),
            _ => None,
        },
        Effect::Changed { state: State::Running, .. } => {
            let assigned = matches!(before, Some(Effect::Assign { .. }));
            (!assigned).then_some("restored and reported")
        }
        Effect::Revoke { .. } => Some("revoked"),
        _ => None,
    }
}

/// What an answer shows.
pub(super) const fn of_answer(answer: &Result<Applied, Refused>) -> Option<&'static str> {
    match answer {
        Ok(Applied::Submitted { deduplicated: true, .. }) => Some("deduplicated"),
        Ok(Applied::Finished(false)) => Some("result refused"),
        Err(Refused::IdempotencyConflict(_)) => Some("idempotency conflict"),
        Err(Refused::QueueFull { .. }) => Some("queue full"),
        Err(Refused::Full) => Some("full"),
        _ => None,
    }
}
