//! The command line that every service has.

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser};

use super::{Error, Origin, ServiceConfig, Sources, to_toml};

/// Flags of a service. Everything else is a setting.
#[derive(Debug, Clone, Parser)]
#[command(disable_help_subcommand = true)]
pub struct Flags {
    /// Settings file, TOML or YAML by its extension
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to listen on, for instance 0.0.0.0:7101; short for --set service.listen=ADDRESS
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,

    /// Set one setting, for instance --set service.zone=a; may be repeated, lists are separated by commas
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,

    /// Check the settings and exit: 0 when they are right, 64 when not
    #[arg(long)]
    pub check_config: bool,

    /// Print the settings in effect, as TOML, and exit
    #[arg(long)]
    pub print_config: bool,

    /// Ask the running service with these settings whether it is ready, and exit: 0 when it is, 1 when not
    #[arg(long)]
    pub health: bool,
}

impl Flags {
    /// Parses a command line, the program's name first.
    ///
    /// # Errors
    /// What clap says; `--help` and `--version` count as errors that are printed to standard output.
    pub fn parse_for<C: ServiceConfig>(
        service: &str,
        version: &'static str,
        args: impl Iterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let command = Self::command()
            .name(format!("mcp-{service}"))
            .version(version)
            .about(format!("The {service} service of the microservice control plane"))
            .after_help("--help tells more about settings than -h.")
            .after_long_help(lesson::<C>(service));
        Self::from_arg_matches(&command.try_get_matches_from(args)?)
    }

    /// The layers that these flags name.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a `--set` without `=`.
    pub fn sources(&self, service: &str) -> Result<Sources, Error> {
        let mut sources = Sources::new(service).file(self.config.clone());
        for set in &self.set {
            let flag = format!("--set {set}");
            let Some((key, value)) = set.split_once('=') else {
                return Err(Error::Malformed { origin: Origin::Flag(flag), reason: "it has no `=`".to_owned() });
            };
            sources = sources.flag(key.trim(), value.trim(), flag);
        }
        if let Some(listen) = &self.listen {
            sources = sources.flag("service.listen", listen, format!("--listen {listen}"));
        }
        Ok(sources)
    }
}

/// What a person needs to know about settings, with every key and its default.
fn lesson<C: ServiceConfig>(service: &str) -> String {
    let upper = service.to_uppercase().replace('-', "_");
    let defaults = to_toml(&C::default()).unwrap_or_default();
    format!(
        "\
Settings come from four places; a later one wins:
  1. the defaults below
  2. the file named by --config
  3. the environment: MCP_{upper}__<SECTION>__<KEY>, for instance
       MCP_{upper}__SERVICE__LISTEN=127.0.0.1:9000
       MCP_{upper}__COORD__ENDPOINTS=http://etcd-0:2379,http://etcd-1:2379
  4. the flags: --set service.zone=a --set telemetry.log_format=pretty

A key that does not exist, or a value that does not fit, stops the start with exit code 64.
Durations are written 500ms, 15s, 2m, 1h. Without a value unless set:
  service.advertise, service.instance_id, telemetry.otlp_endpoint, telemetry.service_name

Defaults:
{defaults}
SIGTERM or SIGINT stops the service in order: it becomes not ready, deregisters, finishes its calls
(at most service.shutdown_grace), and sends its telemetry. Exit codes: 0 stopped in order, 1 failed, 64 wrong usage."
    )
}
