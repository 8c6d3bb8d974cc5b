//! What is kept of a run: all that is needed to go on after a crash.
//!
//! A run has one record of its own and one for each step that has started; a step that runs once for each item of a list
//! has one more for each item that was submitted. So the end of one item among ten thousand writes one small record.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{RunId, TaskId};
use crate::time::Millis;
use crate::{definition::RawDefinition, json::Json};

/// Most ids of tasks that are kept of a step.
pub const TASK_IDS_MAX: usize = 100;

/// Where a run stands. The last three are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RunState {
    /// Steps run, or wait to run.
    Running,
    /// Nothing further starts until it is resumed.
    Paused,
    /// A step failed, the time is up or a caller cancelled it; what still runs is waited for.
    Ending,
    /// Every step ended, and none of them made it fail.
    Succeeded,
    /// A step failed, the time was up, or there was no output.
    Failed,
    /// Ended by a caller.
    Cancelled,
}

impl RunState {
    /// Whether nothing changes any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum StepState {
    /// Waits for steps it depends on.
    #[default]
    Blocked,
    /// Its tasks are submitted, or about to be.
    Active,
    /// Done.
    Succeeded,
    /// A task of it failed, or an expression did.
    Failed,
    /// Its condition was false, or it cannot run because of a failure before it.
    Skipped,
    /// Stopped with the workflow.
    Cancelled,
    /// Taken over from an earlier run.
    Reused,
}

impl StepState {
    /// Whether it has ended, whatever the outcome.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        !matches!(self, Self::Blocked | Self::Active)
    }

    /// Its name in expressions and in the wire contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "BLOCKED",
            Self::Active => "ACTIVE",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
            Self::Cancelled => "CANCELLED",
            Self::Reused => "REUSED",
        }
    }
}

/// Why a run is ending. The first cause counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// A step failed, or the expression for the output.
    Failed,
    /// Its timeout has passed.
    TimedOut,
    /// A caller cancelled it.
    Cancelled,
}

/// Which tasks of an ending run are stopped; the others are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Stop {
    /// None.
    #[default]
    Nothing,
    /// All but those of the step for failures.
    Steps,
    /// All, and the step for failures does not start.
    All,
}

/// The record of a run, written whenever its state changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The partition it lives in.
    pub partition: u16,
    /// What runs.
    pub definition: Arc<RawDefinition>,
    /// What expressions see as `input`.
    pub input: Json,
    /// Whatever else the shell wants to keep of the submit: queue, labels, keys.
    #[serde(default)]
    pub extra: Json,
    /// Trace id of the submit.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// The run that this one repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_of: Option<RunId>,
    /// When it was submitted.
    pub created: Millis,
    /// When its time is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_at: Option<Millis>,
    /// When it became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Millis>,
    /// Where it stands.
    pub state: RunState,
    /// Why it is ending, or ended other than by success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What of it is stopped.
    #[serde(default)]
    pub stop: Stop,
    /// Why it failed, in the form of the platform's errors; the step is named in the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Json>,
    /// Result of a succeeded run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
}

/// The record of a step, or of one item of a step with `for_each`. Replaces an earlier one with the same
/// [`key`](Self::key).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The run it belongs to.
    pub run: RunId,
    /// Number of the step; the step for failures comes after all others.
    pub step: u32,
    /// The item, or none for the step as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// How far it got.
    pub progress: Progress,
}

/// Bytes of a [`StepRecord::key`].
pub const STEP_KEY_BYTES: usize = 24;

impl StepRecord {
    /// Its key: run, step, then 0 for the step or 1 and more for its items, big-endian. Keys of a run share their first
    /// 16 bytes.
    #[must_use]
    pub fn key(&self) -> [u8; STEP_KEY_BYTES] {
        Self::key_of(self.run, self.step, self.item)
    }

    /// The key of a record that may or may not be there.
    #[must_use]
    pub fn key_of(run: RunId, step: u32, item: Option<u32>) -> [u8; STEP_KEY_BYTES] {
        let mut key = [0; STEP_KEY_BYTES];
        key[..16].copy_from_slice(&run.0.to_be_bytes());
        key[16..20].copy_from_slice(&step.to_be_bytes());
        key[20..].copy_from_slice(&item.map_or(0, |item| item + 1).to_be_bytes());
        key
    }
}

/// How far a step or an item got.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Where it stands.
    pub state: StepState,
    /// Its tasks, at most the first [`TASK_IDS_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskId>,
    /// When it was due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Millis>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Millis>,
    /// How many items it has; 1 without `for_each`.
    #[serde(default)]
    pub item_count: u32,
    /// How many of them have ended. Kept up to date in memory, on record only at the end.
    #[serde(default)]
    pub items_ended: u32,
    /// The list of a `for_each` that is active. On record, because an expression need not give a map's keys in the same
    /// order twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Json>,
    /// Its output. Not on record for a `for_each`, whose items have theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Json>,
    /// Why it failed or was skipped, in the form of the platform's errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Json>,
    /// Whether it was skipped because of a failure, so that what depends on it is treated as after a failure.
    #[serde(default, skip_serializing_if = "is_false")]
    pub passes_failure: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Progress {
    /// Whether what depends on it, and has no condition of its own, is skipped.
    pub(super) const fn is_failure(&self) -> bool {
        matches!(self.state, StepState::Failed) || self.passes_failure
    }
}
