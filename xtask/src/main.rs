//! Checks of this repository that are code.
//!
//! `cargo xtask edges`: who may depend on whom, and that every crate takes the workspace's lints.
//! `cargo xtask lines`: that no file grows too long.
//! `cargo xtask versions`: that the crates whose types we pass around are there once.

mod edges;
mod lines;
mod versions;
mod workspace;

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, bail};

/// Exit code for an unknown command.
const EXIT_USAGE: u8 = 64;

const USAGE: &str = "\
usage: cargo xtask <check>
  edges     every dependency between crates is on the list in xtask/src/edges.rs; every manifest takes the lints
  lines     .rs files over 500 lines are listed, over 700 they fail; tests are not counted
  versions  tonic, prost, hyper, http, opentelemetry and the like are in the lock file once";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
fn main() -> ExitCode {
    let checks: Vec<String> = std::env::args().skip(1).collect();
    let [check] = checks.as_slice() else {
        eprintln!("{USAGE}");
        return ExitCode::from(EXIT_USAGE);
    };
    match run(check) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("xtask {check}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a check: what to say when it holds.
fn run(check: &str) -> anyhow::Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    match check {
        "edges" => {
            let packages = workspace::packages(root)?;
            let mut faults = edges::check(&packages);
            faults.extend(
                packages
                    .iter()
                    .filter(|package| !package.takes_lints)
                    .map(|package| format!("`{}` lacks `[lints] workspace = true` in its manifest", package.name)),
            );
            verdict(faults, format!("{} crates, no forbidden edge", packages.len()))
        }
        "lines" => {
            let report = lines::check(&lines::count(root)?);
            let listed = report.long.join("\n");
            verdict(report.too_long, if listed.is_empty() { "no file over 500 lines".to_owned() } else { listed })
        }
        "versions" => {
            let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("the lock file cannot be read")?;
            verdict(versions::check(&lock), "one version of each".to_owned())
        }
        unknown => bail!("unknown check `{unknown}`\n{USAGE}"),
    }
}

fn verdict(faults: Vec<String>, fine: String) -> anyhow::Result<String> {
    if faults.is_empty() { Ok(fine) } else { bail!("{} faults\n{}", faults.len(), faults.join("\n")) }
}
