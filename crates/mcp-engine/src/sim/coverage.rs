//! Which of the things that matter a run came across.

use crate::types::{Applied, Effect, Reason, Record, Refused, RunningAttempt, State, TaskId};

/// Everything that must happen somewhere among the seeds: a simulation that does not get there proves nothing.
pub(super) const WANTED: &[&str] = &[
    "adopted",
    "backoff",
    "because of Behind",
    "because of BackingOff",
    "because of Cancelling",
    "because of Delayed",
    "because of FairShare",
    "because of Grace",
    "because of KeyConcurrency",
    "because of KeyRate",
    "because of MakingRoom",
    "because of NoWorkerMatches",
    "because of NoWorkers",
    "because of QueueConcurrency",
    "because of QueuePaused",
    "because of QueueRate",
    "because of Running",
    "because of WorkersBusy",
    "cancelled while running",
    "cancelled while waiting",
    "deduplicated",
    "fenced",
    "full",
    "handed back or lost",
    "handed over",
    "idempotency conflict",
    "lost too often",
    "merged by its name",
    "not mine",
    "not owned",
    "opened after an orderly close",
    "opened beside another",
    "paused",
    "queue closed",
    "queue full",
    "queue timeout",
    "restored and dispatched anew",
    "restored and reported",
    "result refused",
    "revoked",
    "run timeout",
    "several partitions in one commit",
    "started once",
    "stopped by order",
    "succeeded",
];

/// The task that a record is about.
pub(super) const fn task_of(record: &Record) -> TaskId {
    match record {
        Record::Submitted { task, .. }
        | Record::Merged { task, .. }
        | Record::Retry { task, .. }
        | Record::Started { task, .. }
        | Record::CancelRequested { task }
        | Record::Finished { task, .. } => *task,
    }
}

/// The attempt that a worker is told about.
pub(super) const fn attempt_of(effect: &Effect) -> Option<RunningAttempt> {
    match effect {
        Effect::Assign { attempt, .. }
        | Effect::CancelAttempt { attempt, .. }
        | Effect::Acknowledge { attempt, .. }
        | Effect::Revoke { attempt, .. } => Some(*attempt),
        Effect::Persist(_) | Effect::Changed { .. } => None,
    }
}

/// What an effect shows; `before` is the one before it.
pub(super) fn of_effect(effect: &Effect, before: Option<&Effect>) -> Option<&'static str> {
    match effect {
        Effect::Persist(Record::Retry { state: State::Retrying, failure: Some(failure), .. }) => {
            Some(if failure.code == 3002 { "run timeout" } else { "backoff" })
        }
        Effect::Persist(Record::Retry { void, .. }) => {
            Some(if void.sequence == 0 { "restored and dispatched anew" } else { "handed back or lost" })
        }
        Effect::Persist(Record::Started { .. }) => Some("started once"),
        Effect::Persist(Record::Merged { .. }) => Some("merged by its name"),
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
        Err(Refused::QueueClosed) => Some("queue closed"),
        Err(Refused::QueueFull { .. }) => Some("queue full"),
        Err(Refused::Full) => Some("full"),
        Err(Refused::NotOwned(_)) => Some("not owned"),
        _ => None,
    }
}

/// What a reason shows.
pub(super) const fn of_reason(reason: &Reason) -> &'static str {
    match reason {
        Reason::Delayed { .. } => "because of Delayed",
        Reason::BackingOff { .. } => "because of BackingOff",
        Reason::Grace { .. } => "because of Grace",
        Reason::QueuePaused { .. } => "because of QueuePaused",
        Reason::QueueConcurrency(_) => "because of QueueConcurrency",
        Reason::KeyConcurrency { .. } => "because of KeyConcurrency",
        Reason::QueueRate { .. } => "because of QueueRate",
        Reason::KeyRate { .. } => "because of KeyRate",
        Reason::NoWorkers => "because of NoWorkers",
        Reason::NoWorkerMatches { .. } => "because of NoWorkerMatches",
        Reason::WorkersBusy { .. } => "because of WorkersBusy",
        Reason::MakingRoom { .. } => "because of MakingRoom",
        Reason::Behind { .. } => "because of Behind",
        Reason::FairShare { .. } => "because of FairShare",
        Reason::Ready => "because of Ready",
        Reason::Running { .. } => "because of Running",
        Reason::Cancelling { .. } => "because of Cancelling",
    }
}
