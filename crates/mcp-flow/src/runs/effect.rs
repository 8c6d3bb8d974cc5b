//! What the shell is told to do.

use super::{RunId, RunRecord, RunView, StepRecord, TaskId};
use crate::json::Json;

/// An order to the shell.
///
/// All records among the effects of the calls between two commits go into the same durable commit as the tasks that were
/// submitted for them; other effects are carried out after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Put the record of a run, replacing an earlier one.
    SaveRun(Box<RunRecord>),
    /// Put the record of a step or an item, replacing an earlier one.
    SaveStep(Box<StepRecord>),
    /// Submit a task for an item, and answer with [`submitted`](super::Runs::submitted) or
    /// [`refused`](super::Runs::refused) before the commit. Nothing is on record until then.
    Submit {
        /// Which item it is for.
        item: ItemRef,
        /// Its `TaskSpec` as proto3-JSON, expressions filled in.
        task: Json,
    },
    /// Cancel a task; its end is told as usual. May come again after a restart.
    CancelTask {
        /// Which item it is for.
        item: ItemRef,
        /// The task.
        task: TaskId,
    },
    /// A run is final: keep the view, delete the records of the run and of its steps.
    Finished {
        /// The run and its steps as they ended.
        view: Box<RunView>,
        /// Every record of a step that was saved, as step and item; some may never have been.
        records: Vec<(u32, Option<u32>)>,
    },
}

/// One item of one step of one run: what has exactly one task. A step without `for_each` has item 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemRef {
    /// The run.
    pub run: RunId,
    /// Number of the step.
    pub step: u32,
    /// Number of the item.
    pub item: u32,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemEnd {
    /// It succeeded.
    Succeeded {
        /// Its output, if it has one.
        output: Option<Json>,
    },
    /// It failed for good.
    Failed {
        /// Why, in the form of the platform's errors.
        error: Json,
    },
    /// It was cancelled, with its workflow or by itself.
    Cancelled,
}

/// Why a task was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Not now; it is offered again from this moment on.
    Until(crate::time::Millis),
    /// Not ever: the item has failed.
    Invalid {
        /// Why, in the form of the platform's errors.
        error: Json,
    },
}
