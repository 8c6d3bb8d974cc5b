//! The command line: what can be typed, and the help for it.

mod dev;
pub mod frame;
mod help;
pub mod key;
mod moment;
mod parse;
mod placement;
pub mod queue;
pub mod route;
pub mod schedule;
mod submit;
mod task;
mod task_flags;
pub mod workflow;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

use self::parse::duration;
pub use self::{
    dev::{Dev, Service, ServiceFlags, WorkerFlags},
    frame::Frame,
    key::Key,
    moment::Moment,
    placement::{PlacementFlags, Strategy},
    queue::Queue,
    route::RouteCommand,
    schedule::ScheduleCommand,
    submit::Submit,
    task::{List, Logs, State},
    task_flags::TaskFlags,
    workflow::Workflow,
};

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
    /// API key or token to show, as `mcp key create` printed it.
    #[arg(long, global = true, env = "MCP_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// PEM file with the roots that an `https` gateway's certificate must come from. Without it, those of this machine.
    #[arg(long, global = true, env = "MCP_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
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
    /// Say why a task, or a step of a workflow, is not running now, who holds what it waits for, and when that can change.
    #[command(after_help = help::EXPLAIN)]
    Explain {
        /// Id of the task, or of a workflow.
        id: String,
        /// With the id of a workflow: the step. Without it: those that have not ended.
        #[arg(default_value = "")]
        step: String,
    },
    /// Submit a failed or cancelled task again, as a new task.
    #[command(after_help = help::RETRY)]
    Retry {
        /// Id of the task.
        id: String,
    },
    /// Rules, limits and dead letters of queues.
    #[command(subcommand, after_help = help::queue::QUEUE)]
    Queue(Queue),
    /// Routes and policies of the gateway.
    #[command(subcommand, after_help = help::route::ROUTE)]
    Route(RouteCommand),
    /// Tasks and workflows that start by the clock.
    #[command(subcommand, after_help = help::schedule::SCHEDULE)]
    Schedule(ScheduleCommand),
    /// Tasks that depend on each other.
    #[command(subcommand, after_help = help::workflow::WORKFLOW)]
    Workflow(Workflow),
    /// API keys: make them, list them, revoke them.
    #[command(subcommand, after_help = help::key::KEY)]
    Key(Key),
    /// The wire frame: calls, topics, pings.
    #[command(subcommand, after_help = help::frame::FRAME)]
    Frame(Frame),
    /// Show the registered instances of all services.
    #[command(after_help = help::SERVICES)]
    Services {
        /// Only instances of this service.
        service: Option<String>,
        /// Go on with every change.
        #[arg(long, short)]
        watch: bool,
    },
    /// Print the OpenAPI document of everything that is registered.
    #[command(after_help = help::OPENAPI)]
    Openapi,
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
        fn check(command: &clap::Command, path: &str) {
            let is_own = |command: &&clap::Command| command.get_name() != "help" && path != "mcp serve";
            for command in command.get_subcommands().filter(is_own) {
                let path = format!("{path} {}", command.get_name());
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:") && help.contains(&path), "`{path}` has none");
                check(command, &path);
            }
        }
        let mut command = Cli::command();
        command.build();
        check(&command, "mcp");
    }

    #[test]
    fn flags_of_a_service_pass_through() {
        let cli = Cli::parse_from(["mcp", "serve", "scheduler", "--set", "a.b=1", "--help", "--listen", "0.0.0.0:1"]);
        let Command::Serve { service: Service::Scheduler(flags) } = cli.command else { panic!("{cli:?}") };
        assert_eq!(flags.flags, ["--set", "a.b=1", "--help", "--listen", "0.0.0.0:1"]);
    }
}
