//! Tasks as callers see them: the record, with what is known of the running attempt laid over it.

use mcp_proto::{
    TaskId,
    scheduler::v1::{AttemptFailure, DeadLetter, Task, TaskSpec, TaskState},
};
use prost::Message as _;

use crate::{
    shell::{Letter, Live, wire_time},
    store::{Error, FailedAttempt, Stored, brief},
    traceparent::trace_id,
};

/// Where a task stands. A running attempt is nowhere on record; nor is that a delay or a backoff is over.
pub(super) fn state(stored: &Stored, live: Option<&Live>, now: u64) -> TaskState {
    let recorded = stored.moving.state();
    if recorded.is_final() {
        return recorded;
    }
    if current(stored, live).is_some() {
        return TaskState::Running;
    }
    match recorded {
        TaskState::Scheduled | TaskState::Retrying if stored.moving.not_before <= now => TaskState::Pending,
        recorded => recorded,
    }
}

/// The running attempt, unless the record is newer: it counts the attempts that are over.
fn current<'a>(stored: &Stored, live: Option<&'a Live>) -> Option<&'a Live> {
    live.filter(|live| !stored.moving.state().is_final() && live.attempt > stored.moving.started)
}

/// How much of a task to show.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Detail {
    /// Without the work's stdin, env and input, and without the output.
    Brief,
    /// With everything; the spec when the record holds only its brief.
    Whole(Option<Box<TaskSpec>>),
}

/// The task for the wire.
///
/// # Errors
/// A record cannot be read.
pub(super) fn task(stored: Stored, live: Option<&Live>, now: u64, detail: Detail) -> Result<Task, Error> {
    let state = state(&stored, live, now);
    let live = current(&stored, live);
    let time = |unix_ms: u64| (unix_ms != 0).then(|| wire_time(unix_ms));
    let whole = matches!(detail, Detail::Whole(_));
    let spec = match detail {
        Detail::Whole(Some(spec)) => *spec,
        Detail::Whole(None) => stored.fixed.decode_spec()?,
        Detail::Brief => brief(stored.fixed.decode_spec()?),
    };
    let output =
        match stored.moving.output.clone().filter(|_| whole) {
            Some(output) => Some(prost_types::Value::decode(output).map_err(|error| Error::Corrupt {
                key: stored.id.to_string(),
                reason: format!("its output: {error}"),
            })?),
            None => None,
        };
    let waits = matches!(state, TaskState::Scheduled | TaskState::Retrying);
    let traceparent = stored.fixed.traceparent();
    let origin = stored.fixed.origin()?.unwrap_or_default();
    let moving = stored.moving;
    Ok(Task {
        id: stored.id.to_string(),
        spec: Some(spec),
        state: state.into(),
        attempt: live.map_or(moving.started, |live| live.attempt),
        create_time: Some(wire_time(stored.id.unix_ms())),
        start_time: time(live.map_or(moving.start_ms, |live| live.start_ms)),
        finish_time: time(moving.finish_ms),
        due_time: time(moving.not_before).filter(|_| waits),
        output,
        error: moving.error,
        worker_id: live.map_or(moving.worker_id, |live| live.worker_id.to_string()),
        progress: live.and_then(|live| live.progress.clone()),
        trace_id: trace_id(&traceparent).unwrap_or_default().to_owned(),
        exit_code: moving.exit_code,
        failures: if whole { moving.failures.into_iter().map(failure).collect() } else { Vec::new() },
        replay_of: origin.replay_of.map(|id| id.to_string()).unwrap_or_default(),
        replayed_as: moving.replayed_as,
        workflow_id: origin.step.as_ref().map(|step| workflow_id(step.workflow)).unwrap_or_default(),
        step: origin.step.map(|step| step.name).unwrap_or_default(),
        schedule: origin.fire.as_ref().map(|fire| fire.schedule.clone()).unwrap_or_default(),
        fire_time: origin.fire.map(|fire| wire_time(fire.fire_ms)),
        cancel_requested: moving.cancel_requested || live.is_some_and(|live| live.cancel_requested),
    })
}

/// A dead letter for the wire: as in lists, and with the errors of its attempts.
///
/// # Errors
/// The record cannot be read.
pub(super) fn letter(letter: Letter, now: u64) -> Result<DeadLetter, Error> {
    let (time, failures) = (letter.time(), letter.task.moving.failures.clone());
    let mut task = task(letter.task, None, now, Detail::Brief)?;
    task.failures = failures.into_iter().map(failure).collect();
    Ok(DeadLetter { task: Some(task), time: Some(wire_time(time)) })
}

fn workflow_id(id: [u8; 16]) -> String {
    TaskId::from_u128(u128::from_be_bytes(id)).to_string()
}

fn failure(failed: FailedAttempt) -> AttemptFailure {
    AttemptFailure {
        attempt: failed.attempt,
        error: failed.error,
        worker_id: failed.worker_id,
        start_time: (failed.start_ms != 0).then(|| wire_time(failed.start_ms)),
        end_time: Some(wire_time(failed.end_ms)),
    }
}

#[cfg(test)]
mod tests {
    use mcp_engine::Token;
    use mcp_proto::{
        TaskId,
        scheduler::v1::{TaskSpec, TaskState},
    };

    use super::state;
    use crate::{
        shell::Live,
        store::{Fixed, Moving, Stored},
    };

    fn stored(state: TaskState, started: u32, not_before: u64) -> Stored {
        let moving = Moving { state: state.into(), started, not_before, ..Moving::default() };
        Stored { id: TaskId::from_u128(1), fixed: Fixed::encode(TaskSpec::default(), 0, 0, "", None).0, moving }
    }

    fn live(attempt: u32) -> Live {
        Live {
            token: Token { epoch: 1, sequence: 1 },
            worker_id: "w".into(),
            attempt,
            start_ms: 5,
            progress: None,
            cancel_requested: false,
            fixed: None,
            queue: None,
            moving: None,
        }
    }

    #[test]
    fn the_newer_of_record_and_running_attempt_counts() {
        use TaskState::{Pending, Retrying, Running, Scheduled, Succeeded};
        let cases = [
            (stored(Pending, 0, 0), None, Pending),
            (stored(Pending, 0, 0), Some(live(1)), Running),
            (stored(Scheduled, 0, 100), None, Scheduled),
            (stored(Scheduled, 0, 50), None, Pending),
            (stored(Scheduled, 0, 50), Some(live(1)), Running),
            (stored(Retrying, 1, 100), None, Retrying),
            (stored(Retrying, 1, 100), Some(live(1)), Retrying),
            (stored(Retrying, 1, 40), Some(live(2)), Running),
            (stored(Succeeded, 1, 0), Some(live(1)), Succeeded),
            (stored(Succeeded, 1, 0), Some(live(2)), Succeeded),
        ];
        for (stored, live, expected) in cases {
            assert_eq!(state(&stored, live.as_ref(), 50), expected, "{stored:?} {live:?}");
        }
    }
}
