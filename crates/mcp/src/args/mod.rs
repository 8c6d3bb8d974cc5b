//! The command line: what can be typed, and the help for it.

mod help;
mod parse;
mod submit;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use mcp_proto::scheduler::v1::TaskState;

use self::parse::duration;
pub use self::submit::Submit;

/// The microservice control plane: a gateway, a registry, a scheduler and workers that run tasks durably.
#[derive(Debug, Clone, Parser)]
#[command(name = "mcp", version, after_help = help::MCP)]
pub struct Cli {
    /// Flags that every command has.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command has.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Gateway to talk to.
    #[arg(long, global = true, env = "MCP_GATEWAY", default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub gateway: String,
    /// How the answer is printed.
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Longest time the command may take, for instance `90s`. Without it 30 s for each call, and no limit for waits
    /// and for what follows a log.
    #[arg(long, global = true, value_parser = duration, value_name = "TIME")]
    pub timeout: Option<Duration>,
    /// OTLP gRPC receiver for spans, for instance `http://127.0.0.1:4317`.
    #[arg(long, global = true, env = "MCP_OTLP", value_name = "URL")]
    pub otlp: Option<String>,
}

/// How an answer is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people.
    Table,
    /// One JSON document, of the same shape as in the HTTP API; what has no end prints one per line.
    Json,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run all services in this process, with nothing else installed.
    Dev(Dev),
    /// Run one service of a cluster.
    #[command(after_help = help::SERVE)]
    Serve {
        /// Which one.
        #[command(subcommand)]
        service: Service,
    },
    /// Submit a task, or a file of tasks.
    Submit(Box<Submit>),
    /// Show a task.
    #[command(after_help = help::GET)]
    Get {
        /// Id of the task.
        id: String,
    },
    /// List tasks, the newest first.
    List(List),
    /// Wait until tasks are final, and show them.
    #[command(after_help = help::WAIT)]
    Wait {
        /// Ids of the tasks, at most 10,000.
        #[arg(required = true, num_args = 1..=10_000)]
        ids: Vec<String>,
    },
    /// End a task.
    #[command(after_help = help::CANCEL)]
    Cancel {
        /// Id of the task.
        id: String,
        /// Why, for the record.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Show what a task wrote.
    Logs(Logs),
    /// Show the registered instances of all services.
    #[command(after_help = help::SERVICES)]
    Services {
        /// Only instances of this service.
        service: Option<String>,
        /// Go on with every change.
        #[arg(long, short)]
        watch: bool,
    },
    /// Check the gateway and the services behind it.
    #[command(after_help = help::HEALTH)]
    Health,
    /// Print the completion script of a shell.
    #[command(after_help = help::COMPLETION)]
    Completion {
        /// The shell.
        shell: Shell,
    },
}

/// Flags of `mcp dev`.
#[derive(Debug, Clone, Args)]
#[command(after_help = help::DEV)]
pub struct Dev {
    /// Folder for tasks, logs and coordination. Default: `mcp/dev` in $XDG_DATA_HOME or ~/.local/share.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Port of the gateway on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Tasks the worker runs at the same time. Default: two for each core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub slots: Option<u16>,
    /// Keep the data in a temporary folder that is removed at the end.
    #[arg(long, conflicts_with = "data_dir")]
    pub ephemeral: bool,
    /// Which log lines are written to standard error, for instance `info` or `info,scheduler=debug`.
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    pub log: String,
}

/// A service and its own flags.
#[derive(Debug, Clone, Subcommand)]
pub enum Service {
    /// The one port for gRPC and HTTP/JSON in front of every service.
    #[command(disable_help_flag = true)]
    Gateway(ServiceFlags),
    /// Registers and finds instances, for programs without an etcd client.
    #[command(disable_help_flag = true)]
    Registry(ServiceFlags),
    /// Keeps tasks durably and hands them to workers.
    #[command(disable_help_flag = true)]
    Scheduler(ServiceFlags),
    /// Runs tasks.
    #[command(disable_help_flag = true)]
    Worker(ServiceFlags),
}

/// What is passed on to a service as it stands.
#[derive(Debug, Clone, Args)]
pub struct ServiceFlags {
    /// Flags of the service; `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
    pub flags: Vec<OsString>,
}

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

/// A shell that completion exists for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
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

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command, Service};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_examples() {
        let mut command = Cli::command();
        command.build();
        for command in command.get_subcommands().filter(|command| command.get_name() != "help") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "`mcp {}` has none", command.get_name());
        }
    }

    #[test]
    fn flags_of_a_service_pass_through() {
        let cli = Cli::parse_from(["mcp", "serve", "scheduler", "--set", "a.b=1", "--help", "--listen", "0.0.0.0:1"]);
        let Command::Serve { service: Service::Scheduler(flags) } = cli.command else { panic!("{cli:?}") };
        assert_eq!(flags.flags, ["--set", "a.b=1", "--help", "--listen", "0.0.0.0:1"]);
    }
}
