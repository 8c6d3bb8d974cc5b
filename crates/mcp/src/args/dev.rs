//! `mcp dev` and `mcp serve`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand};

use super::help;

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
    /// Keep the tasks in this PostgreSQL database instead of the folder, for instance `postgres://mcp@localhost/mcp`.
    #[arg(long, env = "MCP_POSTGRES", hide_env_values = true, value_name = "URL")]
    pub postgres: Option<String>,
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
