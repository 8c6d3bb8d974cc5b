//! Flags of the commands about tasks that are there.

use clap::{Args, ValueEnum};
use mcp_proto::scheduler::v1::TaskState;

use super::{help, parse::pair};

/// Flags of `mcp list`.
#[derive(Debug, Clone, Args)]
#[command(after_help = help::LIST)]
pub struct List {
    /// Only tasks in this state; can be given more than once.
    #[arg(long, value_enum)]
    pub state: Vec<State>,
    /// Only tasks of this queue.
    #[arg(long)]
    pub queue: Option<String>,
    /// Only tasks of this namespace.
    #[arg(long, short)]
    pub namespace: Option<String>,
    /// Only tasks with this label; can be given more than once, and then all must be there.
    #[arg(long, value_parser = pair, value_name = "KEY=VALUE")]
    pub label: Vec<(String, String)>,
    /// Only tasks whose name contains this.
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// Most tasks to show.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Show all tasks, however many.
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
}

/// Flags of `mcp logs`.
#[derive(Debug, Clone, Args)]
#[command(after_help = help::LOGS)]
pub struct Logs {
    /// Id of the task.
    pub id: String,
    /// Go on with new lines until the task is final.
    #[arg(long, short)]
    pub follow: bool,
    /// Only lines after this number.
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    pub after: u64,
    /// Put the time in front of each line.
    #[arg(long, short)]
    pub timestamps: bool,
}

/// A task state, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Due, and waiting for a worker.
    Pending,
    /// Waiting for its delay to pass.
    Scheduled,
    /// Waiting for the tasks it depends on.
    Blocked,
    /// An attempt is with a worker.
    Running,
    /// The next attempt waits for its backoff.
    Retrying,
    /// Done.
    Succeeded,
    /// Given up.
    Failed,
    /// Ended by a caller.
    Cancelled,
}

impl From<State> for TaskState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::Scheduled => Self::Scheduled,
            State::Blocked => Self::Blocked,
            State::Running => Self::Running,
            State::Retrying => Self::Retrying,
            State::Succeeded => Self::Succeeded,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}
