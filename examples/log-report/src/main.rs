//! `log-report`: runs the demo job against a gateway and checks its result.
#![expect(clippy::print_stderr, reason = "this program talks to a terminal")]

use std::{
    io::Write,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use clap::Parser;
use log_report::{
    draw::{draw, grouped},
    generate::{Part, write_parts},
    job,
    live::Live,
    reference::Reference,
    report::Report,
};
use mcp_chassis::{
    settings::{LogFormat, TelemetrySettings},
    telemetry::{self, Identity},
};
use mcp_client::{Client, trace};
use tracing::Instrument;

/// How long the last spans may take to be sent.
const FLUSH_LIMIT: Duration = Duration::from_secs(3);

/// Splits an access log into parts, has each parsed by a task and the sums reduced by another, and draws the report.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Gateway to submit to.
    #[arg(long, env = "MCP_GATEWAY", default_value = "http://127.0.0.1:8080")]
    gateway: String,
    /// Lines of the log.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    lines: u64,
    /// Parts, each parsed by a task of its own.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=200))]
    parts: u64,
    /// What the log is made from: the same seed makes the same log.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// OTLP gRPC receiver to which this program sends its own span.
    #[arg(long, env = "MCP_OTLP")]
    otlp: Option<String>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("log-report: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(traced(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("log-report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the job inside the root span of its trace: every submit, attempt and process becomes part of it.
async fn traced(args: Args) -> anyhow::Result<()> {
    let settings = TelemetrySettings {
        log_format: LogFormat::Pretty,
        log_filter: "warn".to_owned(),
        otlp_endpoint: args.otlp.clone(),
        ..TelemetrySettings::default()
    };
    let identity = Identity {
        service: "log-report".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id: std::process::id().to_string(),
    };
    let telemetry = telemetry::init(&identity, &settings)?;
    let span = tracing::info_span!("log-report", lines = args.lines, parts = args.parts, seed = args.seed);
    let result = report(&args).instrument(span).await;
    if !telemetry.shutdown(FLUSH_LIMIT).await {
        eprintln!("log-report: its span could not be sent");
    }
    result
}

async fn report(args: &Args) -> anyhow::Result<()> {
    let started = Instant::now();
    let traceparent = trace::traceparent_of(&tracing::Span::current()).context("the tracer is not in place")?;
    let trace_id = trace::trace_id_of(&traceparent).context("the tracer made no trace id")?;
    // The parts, and the reduction.
    let live = Arc::new(Live::new(started, usize::try_from(args.parts)? + 1));

    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let parts = write_parts(folder.path(), args.seed, args.lines, args.parts).context("cannot write the log")?;
    live.say(&format!("{} lines in {} parts, seed {}", grouped(args.lines), parts.len(), args.seed));
    live.say(&format!("trace {trace_id}"));

    let client = Client::connect(&args.gateway)?;
    let job_started = Instant::now();
    let report = job::run(&client, &trace_id, &parts, &live).await.with_context(|| {
        format!("the job failed at {} (start a gateway with `mcp dev`, or name one with --gateway)", args.gateway)
    })?;
    let took = job_started.elapsed();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{}", draw(&report))?;
    check(&parts, &report)?;
    writeln!(
        out,
        "the same as a single process computes from the log\ntrace  {trace_id}\n\
         time   {:.2} s for the job, {:.2} s with making the log and checking the report",
        took.as_secs_f64(),
        started.elapsed().as_secs_f64()
    )?;
    Ok(())
}

/// Compares the report with what this process computes itself.
fn check(parts: &[Part], report: &Report) -> anyhow::Result<()> {
    let mut reference = Reference::default();
    for part in parts {
        reference.read(&part.path).with_context(|| format!("cannot read {}", part.path.display()))?;
    }
    let expected = reference.report();
    if *report != expected {
        bail!("the report differs from the reference (-):\n{}", Report::diff(&expected, report).join("\n"));
    }
    Ok(())
}
