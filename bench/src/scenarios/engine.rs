//! The engine alone: no store, no network, one thread.

use std::{env, process::Command};

use anyhow::{Context, ensure};

use crate::figure::Figure;

/// What the engine's own example measures with few waiting tasks.
pub(crate) async fn tasks() -> anyhow::Result<Vec<Figure>> {
    let program = env::current_exe()?.with_file_name("examples").join("throughput");
    let output = Command::new(&program).output().with_context(|| {
        format!("{} does not start; build it with `cargo build --release -p mcp-engine --examples`", program.display())
    })?;
    ensure!(output.status.success(), "the engine's example failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let rate = text.lines().find_map(|line| line.strip_prefix("few waiting: ")?.split_whitespace().next());
    let value = rate.context("the example printed no rate")?.parse()?;
    let conditions = "submit + dispatch + finish, one thread, no store".to_owned();
    Ok(vec![Figure { name: "engine_tasks", value, unit: "1/s", conditions }])
}
