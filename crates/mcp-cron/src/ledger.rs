//! The ledger: what became of fire times.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{Millis, ScheduleId, TaskId};

/// Version of the entries written here. Fields may be added without a new version.
const VERSION: u32 = 1;

/// Why there is a fire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FireKind {
    /// Its time came.
    Regular,
    /// Its time had passed while nobody could serve it.
    CatchUp,
    /// Somebody triggered it.
    Trigger,
    /// Somebody asked for a past range.
    Backfill,
}

impl FireKind {
    /// True for what happens because somebody asked for it, also during a pause.
    pub const fn is_asked_for(self) -> bool {
        matches!(self, Self::Trigger | Self::Backfill)
    }
}

/// What became of a fire time, for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It started a task.
    Ran {
        /// Which.
        task: TaskId,
    },
    /// It was left out by the rules, or because somebody wanted so.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// Nobody could serve it in time.
    Missed {
        /// Why.
        reason: MissReason,
    },
}

/// Why a fire time was skipped. `Display` tells people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The schedule was paused.
    Paused,
    /// An earlier run was not over.
    Overlap {
        /// The newest of them; `None` when it was about to start.
        task: Option<TaskId>,
    },
    /// An earlier run was not over, and another fire time waited for its end already.
    WaitingTaken {
        /// The one that waited.
        time: Millis,
    },
    /// It waited for an earlier run to be cancelled, and a later fire time took its place.
    Replaced {
        /// The later one.
        time: Millis,
    },
    /// Too many runs were not over.
    TooManyRunning {
        /// How many there were.
        running: usize,
    },
    /// The rules were changed before it was served.
    RulesChanged,
    /// The schedule was deleted before it was served.
    Deleted,
    /// What it should have started was refused.
    Refused {
        /// Why.
        refusal: Refusal,
    },
}

/// Why a start was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The queue is full.
    QueueFull,
    /// The queue takes nothing.
    QueueClosed,
    /// Anything else, in words.
    Other(String),
}

/// Why a fire time was missed. `Display` tells people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissReason {
    /// It was older than the catch-up window when it could be served again.
    TooLate {
        /// The window, in milliseconds.
        catch_up_ms: Millis,
    },
    /// More fire times were within the catch-up window than are caught up with; the newest were.
    TooMany {
        /// How many are.
        catch_up_max: u32,
    },
}

/// An entry of the ledger: what became of one fire time, or of several in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FireRecord {
    /// Version of the entry; fields may be added without a new one.
    pub version: u32,
    /// The fire time, the first one when there are several. For a trigger the moment of it, moved by milliseconds
    /// where two would be the same.
    pub time: Millis,
    /// The last fire time; the first one when there is one.
    pub last: Millis,
    /// How many fire times of the schedule from the first to the last.
    pub count: u64,
    /// There may be more than `count`: they were too many to count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub at_least: bool,
    /// True when the entry stands for a range, even of one fire time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub range: bool,
    /// Why there was a fire.
    pub kind: FireKind,
    /// When it was to start: the fire time and its jitter. Absent for ranges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_for: Option<Millis>,
    /// What became of it.
    pub outcome: Outcome,
    /// When that was decided.
    pub decided_at: Millis,
}

impl FireRecord {
    pub(crate) const fn single(
        time: Millis,
        scheduled_for: Millis,
        kind: FireKind,
        outcome: Outcome,
        decided_at: Millis,
    ) -> Self {
        let scheduled_for = Some(scheduled_for);
        Self {
            version: VERSION,
            time,
            last: time,
            count: 1,
            at_least: false,
            range: false,
            kind,
            scheduled_for,
            outcome,
            decided_at,
        }
    }

    pub(crate) const fn range(range: Range, kind: FireKind, outcome: Outcome, decided_at: Millis) -> Self {
        let Range { first, last, count, at_least } = range;
        Self {
            version: VERSION,
            time: first,
            last,
            count,
            at_least,
            range: true,
            kind,
            scheduled_for: None,
            outcome,
            decided_at,
        }
    }

    /// Where the store keeps the entry in the ledger of schedule `id`: the key of the schedule, a NUL, eight bytes of
    /// the (first) fire time with the highest first, and one byte that keeps fires, triggers and ranges apart. So a
    /// ledger sorts by time; everything about one fire time comes together, and a backfill's entry takes the place of
    /// the earlier one for the same fire time.
    pub fn key(&self, id: &ScheduleId) -> Vec<u8> {
        fire_key(id, self.time, self.class())
    }

    /// The key of the entry for a fire time by itself, regular or backfilled.
    pub fn key_of_fire(id: &ScheduleId, time: Millis) -> Vec<u8> {
        fire_key(id, time, CLASS_FIRE)
    }

    const fn class(&self) -> u8 {
        match (self.kind, self.range) {
            (FireKind::Trigger, _) => CLASS_TRIGGER,
            (FireKind::Backfill, true) => CLASS_BACKLOG,
            (_, true) => CLASS_RANGE,
            (_, false) => CLASS_FIRE,
        }
    }
}

const CLASS_FIRE: u8 = 0;
const CLASS_RANGE: u8 = 1;
const CLASS_TRIGGER: u8 = 2;
const CLASS_BACKLOG: u8 = 3;

fn fire_key(id: &ScheduleId, time: Millis, class: u8) -> Vec<u8> {
    let mut key = id.key();
    key.push(0);
    key.extend_from_slice(&time.to_be_bytes());
    key.push(class);
    key
}

/// Fire times in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: Millis,
    pub(crate) last: Millis,
    pub(crate) count: u64,
    pub(crate) at_least: bool,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Paused => f.write_str("the schedule was paused"),
            Self::Overlap { task: Some(task) } => write!(f, "an earlier run was not over: task {task}"),
            Self::Overlap { task: None } => f.write_str("an earlier run was about to start"),
            Self::WaitingTaken { time } => {
                write!(f, "an earlier run was not over, and the fire time {time} waited for its end already")
            }
            Self::Replaced { time } => write!(f, "the later fire time {time} took its place while it waited"),
            Self::TooManyRunning { running } => write!(f, "{running} earlier runs were not over, which is the most"),
            Self::RulesChanged => f.write_str("the rules were changed before it was served"),
            Self::Deleted => f.write_str("the schedule was deleted before it was served"),
            Self::Refused { refusal } => write!(f, "what it starts was refused: {refusal}"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::QueueFull => f.write_str("the queue was full"),
            Self::QueueClosed => f.write_str("the queue took nothing"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate { catch_up_ms } => {
                write!(f, "older than the catch-up window of {} s", catch_up_ms / 1_000)
            }
            Self::TooMany { catch_up_max } => write!(f, "only the newest {catch_up_max} are caught up with"),
        }
    }
}
