//! What is kept of a schedule.

use serde::{Deserialize, Serialize};

use crate::{
    id::{Millis, ScheduleId, TaskId},
    ledger::FireKind,
    rules::RawRules,
};

/// Version of the records written here. Fields may be added without a new version.
pub(crate) const VERSION: u32 = 1;

/// A schedule as it is on record: its rules and how far it is. The names of fields are stable; unknown ones are left
/// out, absent ones take their defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRecord {
    /// Version of the record; fields may be added without a new one.
    pub version: u32,
    /// Which schedule.
    pub id: ScheduleId,
    /// When it fires, and how.
    pub rules: RawRules,
    /// When it was created.
    #[serde(default)]
    pub created_at: Millis,
    /// When its rules were last put.
    #[serde(default)]
    pub changed_at: Millis,
    /// Since when it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Millis>,
    /// Why it is paused, in somebody's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Every fire time up to this one has its outcome, or waits in this record; none after it has.
    pub decided_until: Millis,
    /// Moment of the latest trigger.
    #[serde(default)]
    pub triggered_until: Millis,
    /// Number of this save. It only grows, also over a deletion: a new schedule begins at the moment of its creation.
    pub revision: u64,
    /// What it started that is not over, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub running: Vec<Run>,
    /// The fire that waits for the end of what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Fire>,
    /// Fire times to backfill, one range after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backlog: Vec<Backlog>,
}

/// One fire of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fire {
    /// The fire time, which names it in the ledger.
    pub time: Millis,
    /// When it was to start: the fire time and its jitter.
    pub scheduled_for: Millis,
    /// Why there is a fire.
    pub kind: FireKind,
}

impl Fire {
    /// A text that is the same for every attempt to start this fire, and for no other fire.
    pub fn attempt_key(&self, id: &ScheduleId) -> String {
        let class = if self.kind == FireKind::Trigger { "trigger" } else { "fire" };
        format!("{id}/{class}/{}", self.time)
    }
}

/// Something that a schedule started and that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The task.
    pub task: TaskId,
    /// Its fire time.
    pub time: Millis,
    /// Why there was a fire.
    pub kind: FireKind,
    /// It was told to stop.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelled: bool,
}

/// Fire times in a row that are to be backfilled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// The next one.
    pub first: Millis,
    /// The last one.
    pub last: Millis,
    /// How many there are.
    pub left: u64,
}
