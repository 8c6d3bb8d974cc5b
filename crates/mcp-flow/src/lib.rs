//! The rules of workflows as a pure state machine: tasks that depend on each other.
//!
//! [`Definition::check`] takes a workflow as it was submitted and gives one whose every name is resolved and whose every
//! expression is compiled, or says what is wrong with it. [`Runs`] holds the runs that are not final: it is told what
//! happened to their tasks and gives [`Effect`]s: records to keep, tasks to submit and to cancel. There is no I/O, no
//! clock, no randomness and no `async` here.
//!
//! What it promises, as long as the shell commits the records of a batch together with the tasks submitted in it:
//! - a step starts only after every step it depends on has ended;
//! - an item of a step has at most one task, whatever crashes, is lost, is doubled or comes late;
//! - a run ends exactly once, and as soon as its tasks have ended;
//! - what a call does is bounded, and the end of an item costs a record of its own size, however many items there are.
//!
//! Replaying a simulated run: `SEED=17 cargo test -p mcp-flow one_seed -- --nocapture` prints everything that happens in
//! it; `SEEDS=100000 cargo test -p mcp-flow sim` runs more of them than the usual 1,000.

mod definition;
mod expression;
mod faults;
mod json;
mod runs;
#[cfg(test)]
mod sim;
mod template;
mod time;

pub use definition::{Definition, FAULTS_MAX, FailureMode, Fault, RawDefinition, RawStep, STEPS_MAX};
pub use json::Json;
pub use runs::{
    BLOCKERS_MAX, Blocked, Cause, Effect, ITEMS_MAX, ItemEnd, ItemRef, Limits, Progress, Refusal, Refused, Rerun,
    RerunRefused, RestoreError, RunId, RunRecord, RunState, RunView, Runs, STEP_KEY_BYTES, StepRecord, StepState, Stop,
    Submission, TASK_IDS_MAX, TaskId,
};
pub use time::Millis;
