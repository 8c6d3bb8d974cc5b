//! The rules of the scheduler as a pure state machine.
//!
//! [`Engine::apply`] takes a [`Command`] and the time, and gives [`Effect`]s. There is no I/O, no clock, no randomness
//! and no `async` here: the same commands give the same effects, so that a seeded simulation can drive it through
//! crashes, lost, doubled and reordered messages and check every promise after every step. The manifest has no tokio,
//! so the compiler keeps it that way.
//!
//! The engine holds a small header for each unfinished task and nothing of finished ones. It never sees payloads,
//! outputs or logs: the shell around it keeps those in the store and attaches them to the effects.
//!
//! The shell carries out effects only after the records among them are durable.
//!
//! Replaying a simulated run: `SEED=17 cargo test -p mcp-engine one_seed -- --nocapture` prints everything that happens
//! in it; `SEEDS=100000 cargo test -p mcp-engine sim` runs more of them than the usual 1,000.

mod board;
mod buckets;
mod engine;
mod faults;
mod idempotency;
mod index;
mod intern;
mod lanes;
mod limits;
mod parties;
mod placement;
mod pools;
mod queues;
mod rate;
mod retry;
#[cfg(test)]
mod sim;
mod slab;
mod task;
mod timers;
mod types;
mod uniques;
mod waiting;
mod workers;

pub use engine::{Engine, QueuePage, Serving, Stats, TaskView};
pub use types::{
    Applied, AttemptCount, Command, Config, Dispatch, Effect, Explanation, Failure, Holder, Idempotency, Intake,
    LabelRule, Millis, Mismatch, Operator, Outcome, Partition, Placement, QueueKey, QueueRules, QueueStats, Rate,
    Reason, Record, Refused, Resources, RestoredTask, RetryPolicy, RunningAttempt, Saturation, State, Strategy,
    Submission, Taint, TaskId, Token, Toleration, WorkKind, WorkerId, WorkerSpec,
};
