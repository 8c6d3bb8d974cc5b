//! The commands that talk to a gateway, one file each.

mod batch;
mod cancel;
mod context;
mod explain;
mod file;
mod frame;
mod get;
mod health;
mod key;
mod list;
mod logs;
mod openapi;
mod progress;
mod queue;
mod retry;
mod route;
mod schedule;
mod services;
mod submit;
mod trace;
mod wait;
mod workflow;

use std::time::Duration;

use mcp_chassis::{
    settings::{LogFormat, TelemetrySettings},
    telemetry::{self, Identity},
};
use tracing::Instrument;

use self::context::Context;
use crate::{
    args::{Command, Global},
    exit::{Exit, Failure},
    output::print,
};

/// How long the last spans may take to be sent at the end of a command.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// Runs a command that talks to a gateway, inside the root span of its trace.
///
/// # Errors
/// The command's failure, with the next step.
pub async fn run(global: &Global, command: Command) -> Result<Exit, Failure> {
    let settings = TelemetrySettings {
        log_format: LogFormat::Pretty,
        log_filter: "off".to_owned(),
        otlp_endpoint: global.otlp.clone(),
        ..TelemetrySettings::default()
    };
    let identity = Identity {
        service: "mcp-cli".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id: std::process::id().to_string(),
    };
    let telemetry = telemetry::init(&identity, &settings)
        .map_err(|error| Failure::usage(format!("{:#}", anyhow::Error::from(error)), "correct --otlp or MCP_OTLP"))?;
    let span = tracing::info_span!("mcp", otel.name = format!("mcp {}", name(&command)));
    let result = answer(global, command).instrument(span).await;
    if !telemetry.shutdown(FLUSH_LIMIT).await {
        print::note("the spans of this command could not be sent");
    }
    result
}

async fn answer(global: &Global, command: Command) -> Result<Exit, Failure> {
    let context = Context::new(global)?;
    match command {
        Command::Submit(args) => Box::pin(submit::run(&context, &args)).await,
        Command::Get { id } => get::run(&context, &id).await,
        Command::List(args) => list::run(&context, &args).await,
        Command::Wait { ids } => Box::pin(wait::run(&context, &ids)).await,
        Command::Cancel { id, reason } => cancel::run(&context, &id, &reason).await,
        Command::Logs(args) => logs::run(&context, &args).await,
        Command::Explain { id, step } => explain::run(&context, &id, &step).await,
        Command::Retry { id } => retry::run(&context, &id).await,
        Command::Queue(command) => Box::pin(queue::run(&context, &command)).await,
        Command::Route(command) => Box::pin(route::run(&context, &command)).await,
        Command::Schedule(command) => Box::pin(schedule::run(&context, &command)).await,
        Command::Workflow(command) => Box::pin(workflow::run(&context, &command)).await,
        Command::Frame(command) => Box::pin(frame::run(&context, global, &command)).await,
        Command::Key(command) => key::run(&context, &command).await,
        Command::Services { service, watch } => services::run(&context, service.as_deref(), watch).await,
        Command::Openapi => openapi::run(&context).await,
        Command::Health => health::run(&context).await,
        Command::Dev(_) | Command::Serve { .. } | Command::Completion { .. } => {
            unreachable!("does not talk to a gateway")
        }
    }
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Dev(_) => "dev",
        Command::Serve { .. } => "serve",
        Command::Submit(_) => "submit",
        Command::Get { .. } => "get",
        Command::List(_) => "list",
        Command::Wait { .. } => "wait",
        Command::Cancel { .. } => "cancel",
        Command::Logs(_) => "logs",
        Command::Explain { .. } => "explain",
        Command::Retry { .. } => "retry",
        Command::Queue(command) => command.name(),
        Command::Route(command) => command.name(),
        Command::Schedule(command) => command.name(),
        Command::Workflow(command) => command.name(),
        Command::Frame(command) => command.name(),
        Command::Key(command) => command.name(),
        Command::Services { .. } => "services",
        Command::Openapi => "openapi",
        Command::Health => "health",
        Command::Completion { .. } => "completion",
    }
}
