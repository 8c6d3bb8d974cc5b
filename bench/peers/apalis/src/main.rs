//! Submitter and worker of the comparison with apalis, on Redis and on PostgreSQL.
//!
//! `apalis-peer driver redis|postgres` answers on standard output what it is asked on standard input (`protocol`);
//! `apalis-peer worker redis|postgres` runs a worker whose handler does nothing. `peer.py` says what is configured, and why.

mod postgres;
mod protocol;
mod queue;
mod redis_queue;
mod stamp;
mod steady;

use anyhow::{Context, bail};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads of the runtime: one for each of the two cores that the figures are for.
const THREADS: usize = 2;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["driver", "redis"] => runtime.block_on(async { protocol::serve(redis_queue::Redis::connect().await?).await }),
        ["driver", "postgres"] => {
            runtime.block_on(async { protocol::serve(postgres::Postgres::connect().await?).await })
        }
        ["worker", "redis"] => runtime.block_on(redis_queue::work()),
        ["worker", "postgres"] => runtime.block_on(postgres::work()),
        _ => bail!("usage: apalis-peer driver|worker redis|postgres"),
    }
}

/// A setting from the environment, which the harness makes.
fn setting(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set"))
}
