//! Figures of the whole system: throughput, latency and memory of no-op tasks, and those of the gateway alone.
//!
//! Everything runs on this machine: the services in one process (`mcp dev`), started anew for each figure, and here the
//! load generator and a worker whose handler does nothing. Tasks go in through the gateway, and each is made durable
//! (fsync) before it is acknowledged. The gateway alone is measured by the crate `gateway-bench`, with processes of its
//! own. The figures are printed and written to `target/bench/summary.json`.
#![expect(clippy::print_stdout, reason = "the figures are the program's output")]

mod figure;
mod load;
mod replicas;
mod scenarios;
mod system;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the system on this machine and prints the figures.
#[derive(Debug, Parser)]
struct Args {
    /// Only figures whose name contains this.
    #[arg(default_value = "")]
    filter: String,
    /// Runs of each figure; the median is kept.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// The `mcp` program to measure; by default the one built beside this one.
    #[arg(long)]
    mcp: Option<std::path::PathBuf>,
    // `cargo bench` passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let program = system::program(args.mcp)?;
    let mut summary = figure::Summary::default();
    let is_wanted = |figures: &[&str]| figures.iter().any(|name| name.contains(&args.filter));
    let mut add = |figures: Vec<figure::Figure>| {
        for figure in figures {
            println!("{figure}");
            summary.add(figure);
        }
    };
    for scenario in scenarios::ALL.iter().filter(|scenario| is_wanted(scenario.figures)) {
        add(figure::median_of(args.runs, || scenario.run(&program)).await?);
    }
    for figures in scenarios::gateway::ALL.iter().filter(|figures| is_wanted(figures)) {
        add(figure::median_of(args.runs, || scenarios::gateway::measure(figures, &program)).await?);
    }
    summary.write()
}
