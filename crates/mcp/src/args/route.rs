//! `mcp route`: routes and policies of the gateway.

use std::{path::PathBuf, str::FromStr};

use clap::{Args, Subcommand};

use super::help;

/// What `mcp route` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum RouteCommand {
    /// Create or replace the routes and policies of files.
    #[command(after_help = help::route::APPLY)]
    Apply {
        /// Which files.
        #[command(flatten)]
        files: Files,
        /// Only check them; store nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show what applying files would change.
    #[command(after_help = help::route::DIFF)]
    Diff(Files),
    /// List routes and policies, and what in the store cannot be used.
    #[command(after_help = help::route::LIST)]
    List,
    /// Show a route or a policy.
    #[command(after_help = help::route::GET)]
    Get {
        /// `ID` of a route, or `policy/ID`.
        name: RecordName,
    },
    /// Remove routes and policies.
    #[command(after_help = help::route::DELETE)]
    Delete {
        /// `ID` of a route, or `policy/ID`; at most 1,000.
        #[arg(required = true, num_args = 1..=1_000)]
        names: Vec<RecordName>,
    },
}

impl RouteCommand {
    /// The command's name, for its span.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Apply { .. } => "route apply",
            Self::Diff(_) => "route diff",
            Self::List => "route list",
            Self::Get { .. } => "route get",
            Self::Delete { .. } => "route delete",
        }
    }
}

/// Files with routes and policies.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// Routes and policies, as YAML or JSON, any number in one file; `-` is standard input. Can be given more than once.
    #[arg(long = "file", short = 'f', required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// A route or a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordName {
    /// The route of this id.
    Route(String),
    /// The policy of this id.
    Policy(String),
}

impl FromStr for RecordName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None | Some(("route", _)) => Ok(Self::Route(text.trim_start_matches("route/").to_owned())),
            Some(("policy", id)) => Ok(Self::Policy(id.to_owned())),
            Some((kind, _)) => Err(format!("there is no kind `{kind}`; write ID, route/ID or policy/ID")),
        }
    }
}
