//! `mcp dev` and `mcp serve`.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Subcommand};
use mcp_client::worker::Taint;

use super::{
    help,
    parse::{cpu, memory, pair},
};

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
    /// Port of the wire frame on 127.0.0.1; 0 takes a free one. Default: 7070, or a free one when `--port` is not 8080.
    #[arg(long)]
    pub frame_port: Option<u16>,
    /// Tasks the worker runs at the same time. Default: two for each core.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub slots: Option<u16>,
    /// Keep the data in a temporary folder that is removed at the end.
    #[arg(long, conflicts_with = "data_dir")]
    pub ephemeral: bool,
    /// Keep tasks in this PostgreSQL, `postgres://user:password@host:port/database`, instead of the data folder. Tables are
    /// made when they are missing.
    #[arg(long, env = "MCP_POSTGRES", hide_env_values = true, value_name = "URL")]
    pub postgres: Option<String>,
    /// What the worker is like.
    #[command(flatten)]
    pub worker: WorkerFlags,
    /// Which log lines are written to standard error, for instance `info` or `info,scheduler=debug`.
    #[arg(long, default_value = "warn", value_name = "FILTER")]
    pub log: String,
}

/// Flags that say which tasks the worker is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Worker")]
pub struct WorkerFlags {
    /// Label of the worker, which the label rules of tasks look at; can be given more than once.
    #[arg(id = "worker_label", long = "worker-label", value_parser = label, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Taint of the worker: only tasks that tolerate it run there; can be given more than once.
    #[arg(id = "worker_taint", long = "worker-taint", value_parser = taint, value_name = "KEY[=VALUE]")]
    pub taint: Vec<String>,
    /// CPU that tasks may take in all: cores (`2`, `0.5`) or thousandths of one (`500m`). Without it CPU is not counted.
    #[arg(id = "worker_cpu", long = "worker-cpu", value_parser = cpu, value_name = "CORES")]
    pub cpu: Option<u32>,
    /// Memory that tasks may take in all: `512MiB`, `1.5GiB`. Without it memory is not counted.
    #[arg(id = "worker_memory", long = "worker-memory", value_parser = memory, value_name = "BYTES")]
    pub memory: Option<u64>,
}

fn label(text: &str) -> Result<String, String> {
    pair(text)?;
    taint(text)
}

fn taint(text: &str) -> Result<String, String> {
    match text.parse::<Taint>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Cli, Command, Dev};

    fn dev(args: &[&str]) -> Result<Dev, clap::Error> {
        let cli = Cli::try_parse_from([&["mcp", "dev"], args].concat())?;
        let Command::Dev(dev) = cli.command else { panic!("{cli:?}") };
        Ok(dev)
    }

    #[test]
    fn the_worker_has_marks_and_resources() {
        let args =
            ["--worker-label", "zone=eu-1", "--worker-label", "ssd=", "--worker-taint", "gpu", "--worker-cpu", "1.5"];
        let dev = dev(&[&args[..], &["--worker-memory", "1GiB"]].concat()).unwrap();
        assert_eq!(
            (&*dev.worker.label, &*dev.worker.taint),
            (&["zone=eu-1".into(), "ssd=".into()][..], &["gpu".into()][..])
        );
        assert_eq!((dev.worker.cpu, dev.worker.memory), (Some(1_500), Some(1 << 30)));
    }

    #[test]
    fn a_wrong_mark_says_what_is_wrong() {
        for (args, why) in [(["--worker-label", "zone"], "KEY=VALUE"), (["--worker-taint", "=x"], "1 to 63 bytes")] {
            let error = dev(&args).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
