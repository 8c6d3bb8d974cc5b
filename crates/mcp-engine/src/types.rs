//! What goes into the engine and what comes out.

mod command;
mod config;
mod effect;
mod explain;
mod queue;
mod task;
mod worker;

pub use self::{
    command::{Applied, Command, Refused},
    config::Config,
    effect::{Effect, Record},
    explain::{Explanation, Holder, Mismatch, Reason, Saturation},
    queue::{Dispatch, Intake, Partition, QueueKey, QueueRules, QueueStats, Rate},
    task::{AttemptCount, Failure, Idempotency, Outcome, RestoredTask, RetryPolicy, State, Submission, TaskId, Token},
    worker::{
        LabelRule, Operator, Placement, Resources, RunningAttempt, Strategy, Taint, Toleration, WorkKind, WorkerId,
        WorkerSpec,
    },
};

/// Time in milliseconds since 1970. The shell makes it from a monotonic clock, so it never goes back while the
/// engine lives; it is used for liveness only, never for safety.
pub type Millis = u64;
