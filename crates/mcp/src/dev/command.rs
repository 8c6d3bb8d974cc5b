//! `mcp dev`: telemetry, signals, and what people are told.

use std::{error::Error as _, io, time::Duration};

use mcp_chassis::{
    settings::{LogFormat, TelemetrySettings},
    telemetry::{self, Identity},
};
use scheduler::config::DatabaseUrl;
use tokio::signal::unix::{SignalKind, signal};

use super::{Data, DevCluster, Error, Options, WorkerOptions, start};
use crate::{
    args::Dev,
    exit::{Exit, Failure},
    output::print,
};

/// How long the last spans and metrics may take to be sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(5);
/// Port that clients try by themselves.
const DEFAULT_PORT: u16 = 8080;

/// Runs the services until SIGINT or SIGTERM, then stops them in order.
pub(crate) async fn run(args: Dev, otlp: Option<String>) -> Result<Exit, Failure> {
    let settings = TelemetrySettings {
        log_format: LogFormat::Pretty,
        log_filter: args.log.clone(),
        otlp_endpoint: otlp,
        ..TelemetrySettings::default()
    };
    let identity = Identity {
        service: "mcp-dev".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id: std::process::id().to_string(),
    };
    let telemetry = telemetry::init(&identity, &settings)
        .map_err(|error| Failure::usage(format!("{:#}", anyhow::Error::from(error)), "correct --log or --otlp"))?;
    let result = serve(&args).await;
    if !telemetry.shutdown(FLUSH_LIMIT).await {
        print::note("some telemetry could not be sent");
    }
    result
}

async fn serve(args: &Dev) -> Result<Exit, Failure> {
    let data = match (&args.data_dir, args.ephemeral) {
        (_, true) => Data::Ephemeral,
        (Some(folder), false) => Data::Folder(folder.clone()),
        (None, false) => Data::Folder(Data::default_folder()),
    };
    // Listened for from the beginning: a signal during the start shall count too.
    let stopped = stopped().map_err(|error| failure_of(&error, "run again"))?;
    let mut stopped = std::pin::pin!(stopped);
    let postgres = args.postgres.clone().map(DatabaseUrl::from);
    let has_database = postgres.is_some();
    let usual_frame_port = if args.port == DEFAULT_PORT { gateway::config::FRAME_PORT } else { 0 };
    let frame_port = args.frame_port.unwrap_or(usual_frame_port);
    let options = Options { data, port: args.port, frame_port, postgres, worker: worker(args) };
    let cluster = tokio::select! {
        started = start(options) => started.map_err(|error| failure(&error))?,
        () = &mut stopped => return Ok(Exit::Done),
    };
    print::line(banner(&cluster, args.ephemeral, has_database))?;
    tokio::select! {
        () = &mut stopped => print::note("stopping: worker, gateway, scheduler, registry (a second Ctrl-C ends at once)"),
        () = cluster.ended() => {}
    }
    let second = interrupted().map_err(|error| failure_of(&error, "run again"))?;
    tokio::select! {
        result = cluster.stop() => result.map_err(|error| failure(&error))?,
        () = second => return Err(Failure::new(Exit::Failed, "ended by a second Ctrl-C", "acknowledged tasks are safe: start again")),
    }
    print::note("stopped");
    Ok(Exit::Done)
}

fn worker(args: &Dev) -> WorkerOptions {
    WorkerOptions {
        slots: args.slots.map(usize::from),
        labels: args.worker.label.clone(),
        taints: args.worker.taint.clone(),
        cpu_millis: args.worker.cpu.unwrap_or_default(),
        memory_bytes: args.worker.memory.unwrap_or_default(),
    }
}

fn failure(error: &Error) -> Failure {
    let mut what = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        what = format!("{what}: {cause}");
        source = cause.source();
    }
    Failure::new(Exit::Failed, what, error.next_step())
}

fn failure_of(error: &io::Error, next: &str) -> Failure {
    Failure::new(Exit::Failed, format!("cannot listen for signals: {error}"), next)
}

/// Resolves at the first SIGINT or SIGTERM from now on.
fn stopped() -> io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves at the next SIGINT. Another SIGTERM does not count: a terminal's Ctrl-C and the SIGTERM of whoever started
/// this program are one order.
fn interrupted() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        interrupt.recv().await;
    })
}

fn banner(cluster: &DevCluster, is_ephemeral: bool, has_database: bool) -> String {
    let url = &cluster.gateway_url;
    let port = cluster.addresses.iter().find(|(name, _)| *name == "gateway").map(|(_, address)| address.port());
    let flag = if port == Some(DEFAULT_PORT) { String::new() } else { format!("--gateway {url} ") };
    let rest = match (is_ephemeral, has_database) {
        (true, true) => "  (removed at the end; tasks stay in PostgreSQL)",
        (true, false) => "  (removed at the end)",
        (false, true) => "  (tasks are in PostgreSQL)",
        (false, false) => "",
    };
    let services: Vec<String> = cluster
        .addresses
        .iter()
        .filter(|(name, _)| *name != "gateway")
        .map(|(name, address)| format!("{name} {address}"))
        .collect();
    format!(
        "mcp dev is ready

  gateway      {url}  (gRPC and HTTP/JSON)
  wire frame   {frames}
  data         {data}{rest}
  behind it    {services}

  first task   mcp {flag}submit --wait --follow -- echo 'hello, world'
  with curl    curl -s {url}/v1/tasks -H 'content-type: application/json' -d '{{\"process\":{{\"argv\":[\"echo\",\"hello\"]}}}}'
  stop         Ctrl-C",
        frames = cluster.frame_address,
        data = cluster.data_folder.display(),
        services = services.join(", "),
    )
}
