//! The part of a task that changes.

use bytes::Bytes;
use mcp_proto::{common::v1::Error as WireError, scheduler::v1::TaskState};
use prost::Message;

/// Failed attempts that are kept from the first on.
pub const FAILURES_FIRST_MAX: usize = 8;
/// Failed attempts that are kept from the latest back.
pub const FAILURES_LATEST_MAX: usize = 24;
/// Longest message of a failed attempt that is kept, in bytes.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 500;

/// An attempt that failed or was lost.
#[derive(Clone, PartialEq, Message)]
pub struct FailedAttempt {
    /// Which attempt it was, from 1.
    #[prost(uint32, tag = "1")]
    pub attempt: u32,
    /// Why.
    #[prost(message, optional, tag = "2")]
    pub error: Option<WireError>,
    /// Who ran it.
    #[prost(string, tag = "3")]
    pub worker_id: String,
    /// When it started, milliseconds since 1970; 0 when that is not known.
    #[prost(uint64, tag = "4")]
    pub start_ms: u64,
    /// When it ended, milliseconds since 1970.
    #[prost(uint64, tag = "5")]
    pub end_ms: u64,
}

/// What changes of a task.
#[derive(Clone, PartialEq, Message)]
pub struct Moving {
    /// Where it stands; never RUNNING, because a dispatch is not recorded.
    #[prost(enumeration = "TaskState", tag = "1")]
    pub state: i32,
    /// Attempts started.
    #[prost(uint32, tag = "2")]
    pub started: u32,
    /// Attempts failed by themselves.
    #[prost(uint32, tag = "3")]
    pub failed: u32,
    /// Attempts lost with their worker.
    #[prost(uint32, tag = "4")]
    pub lost: u32,
    /// When the next attempt is due, milliseconds since 1970.
    #[prost(uint64, tag = "5")]
    pub not_before: u64,
    /// Why the latest attempt failed, or the task ended.
    #[prost(message, optional, tag = "6")]
    pub error: Option<WireError>,
    /// Worker of the latest attempt.
    #[prost(string, tag = "7")]
    pub worker_id: String,
    /// When the latest attempt started, milliseconds since 1970; 0 when none has.
    #[prost(uint64, tag = "8")]
    pub start_ms: u64,
    /// When the task became final, milliseconds since 1970; 0 before.
    #[prost(uint64, tag = "9")]
    pub finish_ms: u64,
    /// Exit code of the latest process attempt.
    #[prost(sint32, optional, tag = "10")]
    pub exit_code: Option<i32>,
    /// A cancel was accepted.
    #[prost(bool, tag = "11")]
    pub cancel_requested: bool,
    /// Encoded `google.protobuf.Value`, when the task gave one.
    #[prost(bytes = "bytes", optional, tag = "12")]
    pub output: Option<Bytes>,
    /// The output is stored apart.
    #[prost(bool, tag = "13")]
    pub output_apart: bool,
    /// Epoch of the token up to which attempts are void.
    #[prost(uint64, tag = "14")]
    pub void_epoch: u64,
    /// Sequence of that token; with epoch 0 there is none.
    #[prost(uint64, tag = "15")]
    pub void_sequence: u64,
    /// Why a cancel was asked for.
    #[prost(string, tag = "16")]
    pub cancel_reason: String,
    /// Attempts that failed or were lost, in order; [`note_failure`](Self::note_failure) keeps them few.
    #[prost(message, repeated, tag = "17")]
    pub failures: Vec<FailedAttempt>,
    /// Epoch of the token under which an at-most-once task was dispatched.
    #[prost(uint64, tag = "18")]
    pub started_epoch: u64,
    /// Sequence of that token; with epoch 0 there is none.
    #[prost(uint64, tag = "19")]
    pub started_sequence: u64,
    /// Id of the task that replays this one; empty when none does.
    #[prost(string, tag = "20")]
    pub replayed_as: String,
}

impl Moving {
    /// Keeps from an earlier record what this one says nothing of.
    #[must_use]
    pub fn after(mut self, earlier: &Self) -> Self {
        if self.error.is_none() && self.state() != TaskState::Succeeded {
            self.error.clone_from(&earlier.error);
        }
        if self.worker_id.is_empty() {
            self.worker_id.clone_from(&earlier.worker_id);
        }
        if self.start_ms == 0 {
            self.start_ms = earlier.start_ms;
        }
        self.exit_code = self.exit_code.or(earlier.exit_code);
        self.cancel_requested |= earlier.cancel_requested;
        if self.cancel_reason.is_empty() {
            self.cancel_reason.clone_from(&earlier.cancel_reason);
        }
        if self.void_epoch == 0 {
            (self.void_epoch, self.void_sequence) = (earlier.void_epoch, earlier.void_sequence);
        }
        if self.failures.is_empty() {
            self.failures.clone_from(&earlier.failures);
        }
        if self.started_epoch == 0 {
            (self.started_epoch, self.started_sequence) = (earlier.started_epoch, earlier.started_sequence);
        }
        if self.replayed_as.is_empty() {
            self.replayed_as.clone_from(&earlier.replayed_as);
        }
        self
    }

    /// Without the output, which is stored apart.
    pub(in crate::store) fn without_output(&self) -> Self {
        Self { output: None, output_apart: true, ..self.clone() }
    }

    /// Adds a failed attempt. The first [`FAILURES_FIRST_MAX`] and the latest [`FAILURES_LATEST_MAX`] are kept, each with
    /// its code and a message cut to [`FAILURE_MESSAGE_BYTES_MAX`].
    pub fn note_failure(&mut self, mut failed: FailedAttempt) {
        failed.error = failed.error.map(|error| WireError {
            message: cut(error.message),
            retry_after: None,
            violations: Vec::new(),
            metadata: Default::default(),
            ..error
        });
        if self.failures.len() >= FAILURES_FIRST_MAX + FAILURES_LATEST_MAX {
            self.failures.remove(FAILURES_FIRST_MAX);
        }
        self.failures.push(failed);
    }
}

/// The beginning of a message that is not too long.
fn cut(mut message: String) -> String {
    let end = message.floor_char_boundary(FAILURE_MESSAGE_BYTES_MAX);
    message.truncate(end);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_latest_failures_are_kept() {
        let mut moving = Moving::default();
        for attempt in 1..=100 {
            let error = WireError { message: "é".repeat(FAILURE_MESSAGE_BYTES_MAX), ..WireError::default() };
            moving.note_failure(FailedAttempt { attempt, error: Some(error), ..FailedAttempt::default() });
        }
        let kept: Vec<_> = moving.failures.iter().map(|failed| failed.attempt).collect();
        assert_eq!(kept, (1..=8).chain(77..=100).collect::<Vec<_>>());
        let message = &moving.failures[0].error.as_ref().unwrap().message;
        assert_eq!(message.len(), FAILURE_MESSAGE_BYTES_MAX);
        assert_eq!(Moving::default().after(&moving).failures.len(), kept.len());
    }
}
