//! What runs programs.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use mcp_proto::{Error, scheduler::v1::ProcessWork};

use super::context::AttemptContext;

/// How a program ended.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessOutcome {
    /// Its exit code; negative is the signal that ended it. `None` when it never started.
    pub exit_code: Option<i32>,
    /// Its output (`None`: it gave none), or why the attempt failed.
    pub result: Result<Option<prost_types::Value>, Error>,
}

impl ProcessOutcome {
    /// A program that never ran.
    pub fn not_started(error: Error) -> Self {
        Self { exit_code: None, result: Err(error) }
    }
}

/// Runs the programs of tasks.
#[async_trait]
pub trait ProcessExecutor: Send + Sync + fmt::Debug + 'static {
    /// Runs one program to its end; its lines go to [`AttemptContext::log_to`].
    ///
    /// When [`AttemptContext::cancelled`] resolves, it stops the program and returns within
    /// [`stop_max`](Self::stop_max); what it returns then is of no account, save for the exit code. The run timeout
    /// and the end of a drain come in the same way.
    ///
    /// # Cancellation
    /// Dropping the future must not leave the program running.
    async fn execute(&self, context: &AttemptContext, work: ProcessWork) -> ProcessOutcome;

    /// The longest time from the cancellation to the return of [`execute`](Self::execute); after it the future is
    /// dropped.
    fn stop_max(&self) -> Duration {
        Duration::from_secs(10)
    }
}
