//! What workers say, checked and turned into the loop's terms.

use std::{fmt, time::Duration};

use mcp_engine::{Failure, Outcome, RunningAttempt, Token};
use mcp_proto::{
    Code, Error, TaskId,
    common::v1::Error as WireError,
    scheduler::v1::LogLine,
    worker::v1::{AttemptLogs, AttemptRef},
};
use prost::Message as _;

use super::wire::{self, AttemptResult, OpenSessionRequest};
use crate::{
    clock::millis,
    shell::{Ended, Input, SessionRef, engine_id},
};

/// Longest name of an error.
const NAME_BYTES_MAX: usize = 200;
/// Longest message of a progress.
const PROGRESS_BYTES_MAX: usize = 200;
/// Longest message of an error; the rest is cut off.
const ERROR_MESSAGE_BYTES_MAX: usize = 4 * 1024;
/// Largest violations and metadata of an error; more of them are left out.
const ERROR_DETAILS_BYTES_MAX: usize = 4 * 1024;
/// Largest output.
const OUTPUT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that a message counts besides its texts and outputs, for each of its parts.
const PART_BYTES: usize = 64;

/// Checks a later message; gives it with the bytes it takes, or `None` when it says nothing for the loop.
///
/// # Errors
/// `INVALID_ARGUMENT` naming the field.
pub(super) fn input(
    session: SessionRef,
    request: OpenSessionRequest,
    slots_max: u32,
) -> Result<Option<(Input, usize)>, Error> {
    if request.hello.is_some() {
        return Err(Error::invalid("hello", "must be set in the first message only"));
    }
    let OpenSessionRequest { credits, results, logs, progress, handed_back, running, reclaim, .. } = request;
    if running.len() > slots_max as usize {
        let fault = format!("has {} elements; at most {slots_max} are allowed", running.len());
        return Err(Error::invalid("running", fault));
    }
    let parts = results.len() + logs.len() + progress.len() + handed_back.len() + running.len();
    if parts == 0 && credits == 0 && reclaim == 0 {
        return Ok(None);
    }
    let mut bytes = parts * PART_BYTES;
    let mut input = Input::empty(session);
    input.slots = credits;
    input.reclaim = reclaim;
    for (index, result) in results.into_iter().enumerate() {
        let ended = ended(result, index)?;
        bytes += ended.output.as_ref().map_or(0, bytes::Bytes::len);
        input.results.push(ended);
    }
    for (index, group) in logs.into_iter().enumerate() {
        let attempt = running_attempt(group.attempt.as_ref(), format_args!("logs[{index}].attempt"))?;
        let lines = log_lines(group);
        bytes += lines.iter().map(|line| line.text.len() + PART_BYTES).sum::<usize>();
        input.logs.push((attempt, lines));
    }
    for (index, report) in progress.into_iter().enumerate() {
        let attempt = running_attempt(report.attempt.as_ref(), format_args!("progress[{index}].attempt"))?;
        let mut progress = report.progress.unwrap_or_default();
        progress.fraction = if progress.fraction.is_finite() { progress.fraction.clamp(0.0, 1.0) } else { 0.0 };
        progress.message.truncate(progress.message.floor_char_boundary(PROGRESS_BYTES_MAX));
        input.progress.push((attempt, progress));
    }
    for (index, attempt) in handed_back.iter().enumerate() {
        input.handed_back.push(running_attempt(Some(attempt), format_args!("handed_back[{index}]"))?);
    }
    for (index, attempt) in running.iter().enumerate() {
        input.running.push(running_attempt(Some(attempt), format_args!("running[{index}]"))?);
    }
    Ok(Some((input, bytes)))
}

fn log_lines(group: AttemptLogs) -> Vec<LogLine> {
    let line = |line: mcp_proto::worker::v1::AttemptLogLine| LogLine {
        seq: 0,
        time: line.time,
        stream: line.stream,
        attempt: 0,
        text: line.text,
    };
    group.lines.into_iter().map(line).collect()
}

fn ended(result: AttemptResult, index: usize) -> Result<Ended, Error> {
    let attempt = running_attempt(result.attempt.as_ref(), format_args!("results[{index}].attempt"))?;
    let exit_code = result.exit_code;
    let (outcome, error, output) = match result.outcome {
        None => return Err(Error::invalid(format!("results[{index}].outcome"), "is missing")),
        Some(wire::Outcome::Cancelled(_)) => (Outcome::Cancelled, None, None),
        Some(wire::Outcome::Failure(error)) => {
            let error = bounded(error);
            (failed(&error), Some(error), None)
        }
        Some(wire::Outcome::Success(success)) => match output_fault(success.output.as_ref()) {
            None => (Outcome::Succeeded, None, success.output),
            Some(fault) => {
                let error = WireError::from(Error::new(Code::OutputInvalid, fault));
                (failed(&error), Some(error), None)
            }
        },
    };
    Ok(Ended { attempt, outcome, error, output, exit_code })
}

/// A worker's error, brought to a size that lists can carry.
fn bounded(mut error: WireError) -> WireError {
    error.message.truncate(error.message.floor_char_boundary(ERROR_MESSAGE_BYTES_MAX));
    // A handler may give its failure a name of its own.
    if let Some(code) = Code::from_number(error.code).filter(|_| error.name.is_empty()) {
        code.name().clone_into(&mut error.name);
    }
    error.name.truncate(error.name.floor_char_boundary(NAME_BYTES_MAX));
    let details: usize = error.violations.iter().map(|violation| violation.encoded_len()).sum::<usize>()
        + error.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if details > ERROR_DETAILS_BYTES_MAX {
        error.violations.clear();
        error.metadata.clear();
    }
    error
}

/// Why an output cannot be kept, if so.
fn output_fault(output: Option<&bytes::Bytes>) -> Option<String> {
    let output = output?;
    if output.len() > OUTPUT_BYTES_MAX {
        return Some(format!("the output takes {} bytes; at most {OUTPUT_BYTES_MAX} are allowed", output.len()));
    }
    prost_types::Value::decode(output.clone()).err().map(|error| format!("the output is not a JSON value: {error}"))
}

fn failed(error: &WireError) -> Outcome {
    let retry_after = error.retry_after.and_then(|wait| Duration::try_from(wait).ok()).map(millis);
    Outcome::Failed(Failure {
        code: error.code,
        name: error.name.clone(),
        message: error.message.clone(),
        retryable: error.retryable,
        retry_after,
    })
}

pub(super) fn running_attempt(wire: Option<&AttemptRef>, field: fmt::Arguments<'_>) -> Result<RunningAttempt, Error> {
    let invalid = |name: &str, fault: &str| Error::invalid(format!("{field}.{name}"), fault);
    let wire = wire.ok_or_else(|| Error::invalid(field.to_string(), "is missing"))?;
    let id: TaskId = wire.task_id.parse().map_err(|_| invalid("task_id", "must be a UUID"))?;
    let token = wire.token.ok_or_else(|| invalid("token", "is missing"))?;
    Ok(RunningAttempt { task: engine_id(id), token: Token { epoch: token.epoch, sequence: token.sequence } })
}
