//! `log-report`: makes the log that the demo's workflow reads, and checks the report that comes out of it.
#![expect(clippy::print_stderr, reason = "this program talks to a terminal")]

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use log_report::{
    draw::{draw, grouped},
    generate::write_log,
    input::Input,
    reference::Reference,
    report::Report,
};

/// Name of the log in the folder.
const LOG: &str = "access.log";
/// Name of the workflow's input in the folder.
const INPUT: &str = "input.json";

/// An access log for the workflow `log-report.yaml`, and the proof of its result.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Example:
  log-report prepare --folder /tmp/log-report
  mcp -o json workflow submit -f examples/log-report/log-report.yaml \\
      --input-file /tmp/log-report/input.json --wait > /tmp/log-report/workflow.json
  log-report check --folder /tmp/log-report --workflow /tmp/log-report/workflow.json"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a log and the workflow's input, `access.log` and `input.json`.
    Prepare {
        /// Folder for both, and for the parts of the log; made when it is missing. Workers must see it too.
        #[arg(long)]
        folder: PathBuf,
        /// Lines of the log.
        #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
        lines: u64,
        /// Parts, each summed up by a task of its own.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=200))]
        parts: u64,
        /// What the log is made from: the same seed makes the same log.
        #[arg(long, default_value_t = 42)]
        seed: u64,
    },
    /// Draw the report of a finished workflow, and compare it with what this process computes from the log by itself.
    Check {
        /// The folder of `prepare`.
        #[arg(long)]
        folder: PathBuf,
        /// The workflow as `mcp -o json workflow get` prints it.
        #[arg(long)]
        workflow: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Prepare { folder, lines, parts, seed } => prepare(&folder, lines, parts, seed),
        Command::Check { folder, workflow } => check(&folder, &workflow),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("log-report: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn prepare(folder: &Path, lines: u64, parts: u64, seed: u64) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // Steps run in folders of their own.
    let folder = folder.canonicalize().with_context(|| format!("cannot find {}", folder.display()))?;
    let log = folder.join(LOG);
    write_log(&log, seed, lines).with_context(|| format!("cannot write {}", log.display()))?;
    let input = serde_json::to_string_pretty(&Input::new(&log, &folder, parts))?;
    fs::write(folder.join(INPUT), input).with_context(|| format!("cannot write {}", folder.join(INPUT).display()))?;
    let bytes = fs::metadata(&log)?.len();
    let (lines, bytes) = (grouped(lines), grouped(bytes));
    writeln!(std::io::stdout(), "{}: {lines} lines, {bytes} bytes, seed {seed}, for {parts} parts", log.display())?;
    Ok(())
}

fn check(folder: &Path, workflow: &Path) -> anyhow::Result<()> {
    let text = fs::read(workflow).with_context(|| format!("cannot read {}", workflow.display()))?;
    let workflow: serde_json::Value = serde_json::from_slice(&text).context("the workflow is not JSON")?;
    let report = workflow.get("output").cloned().context("the workflow has no output")?;
    let report: Report = serde_json::from_value(report).context("the workflow's output is not a report")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", draw(&report))?;

    let log = folder.join(LOG);
    let mut reference = Reference::default();
    reference.read(&log).with_context(|| format!("cannot read {}", log.display()))?;
    let expected = reference.report();
    if report != expected {
        bail!("the report differs from the reference (-):\n{}", Report::diff(&expected, &report).join("\n"));
    }
    writeln!(out, "the same as a single process computes from the log")?;
    Ok(())
}
