//! The program: a backend, our gateway in front of one, load for any proxy, and single figures.
#![expect(clippy::print_stdout, reason = "what it prints is its result")]

use std::{
    io::{Read as _, Write as _, stdin, stdout},
    net::SocketAddr,
    path::PathBuf,
    process::exit,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use gateway_bench::{
    DESCRIPTORS, backend,
    figures::{self, JSON, PACED, Plan, STREAMS, UNARY},
    load::{self, Target},
    message, routes,
    system::{self, LISTENS, System},
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code after a signal, as shells count it.
const EXIT_STOPPED: i32 = 130;

/// Load for gateways.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The service behind the proxies; prints where it listens.
    Backend {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
        /// The etcd to register in.
        #[arg(long)]
        etcd: Option<String>,
    },
    /// Prints the backend's contract, an encoded `FileDescriptorSet`.
    Descriptors,
    /// Prints the unary request as a gRPC frame.
    Message,
    /// Our gateway as shipped with etcd, a receiver of traces and a backend, until standard input ends; prints a line of
    /// JSON with addresses and process ids.
    System {
        #[command(flatten)]
        program: Program,
        /// Routes to write before the line is printed, as the figures do.
        #[arg(long, default_value_t = 0)]
        routes: usize,
    },
    /// Measures figures of our gateway whose name contains this.
    Figure {
        /// A part of the name.
        name: String,
        #[command(flatten)]
        program: Program,
        #[command(flatten)]
        time: Time,
    },
    /// Sends load to an address and prints a line of JSON with what was seen.
    Load {
        /// What to send.
        kind: Kind,
        /// Where.
        #[arg(long)]
        address: SocketAddr,
        /// The process whose processor time and memory are told.
        #[arg(long)]
        pid: Option<u32>,
        #[command(flatten)]
        time: Time,
    },
}

#[derive(Debug, Args)]
struct Program {
    /// The gateway to measure, `mcp` or `mcp-gateway`; by default the `mcp` built beside this program.
    #[arg(long)]
    program: Option<PathBuf>,
}

impl Program {
    fn path(self) -> anyhow::Result<PathBuf> {
        self.program.map_or_else(|| system::beside("mcp"), Ok)
    }
}

#[derive(Debug, Args)]
struct Time {
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
}

/// The loads of the figures.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Kind {
    /// Unary gRPC, 8 connections x 8 streams.
    Unary,
    /// Unary gRPC at 5,000/s.
    Paced,
    /// Bidirectional gRPC, 64 streams x 1 message.
    Streams,
    /// POST of JSON over HTTP/1.1, 64 connections.
    Json,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let command = Cli::parse().command;
    let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        result = run(command) => result,
        // The command is dropped by now, and with it the processes that it started. What waits for input is left behind.
        _ = terminated.recv() => exit(EXIT_STOPPED),
        _ = interrupted.recv() => exit(EXIT_STOPPED),
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Backend { listen, etcd } => serve(listen, etcd).await,
        Command::Descriptors => Ok(stdout().write_all(DESCRIPTORS)?),
        Command::Message => Ok(stdout().write_all(&message::unary())?),
        Command::System { program, routes } => hold(program, routes).await,
        Command::Figure { name, program, time } => measure(&name, program, &time).await,
        Command::Load { kind, address, pid, time } => {
            let (warm_up, time) = (Duration::from_secs_f64(time.warm_up), Duration::from_secs_f64(time.seconds));
            let target = Target { address, pid, warm_up, time };
            let report = match kind {
                Kind::Unary => load::unary(target, UNARY.0, UNARY.1).await?,
                Kind::Paced => load::paced(target, PACED.0, PACED.1).await?,
                Kind::Streams => load::streams(target, STREAMS.0, STREAMS.1).await?,
                Kind::Json => load::json(target, JSON).await?,
            };
            println!("{}", serde_json::to_string(&report)?);
            Ok(())
        }
    }
}

async fn serve(listen: SocketAddr, etcd: Option<String>) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let registration = match etcd {
        Some(etcd) => Some(backend::register(&etcd, address).await?),
        None => None,
    };
    println!("{LISTENS}{address}");
    let result = backend::serve(listener).await;
    drop(registration);
    result
}

async fn hold(program: Program, routes: usize) -> anyhow::Result<()> {
    let system = System::start(&program.path()?).await?;
    if routes > 0 {
        routes::write(&system.url(), routes).await?;
    }
    let backend = system.backend();
    let line = json!({
        "gateway": system.address().to_string(), "gateway_pid": system.pid(),
        "backend": backend.address.to_string(), "backend_pid": backend.pid(),
    });
    println!("{line}");
    // Who started it ends it by closing its input, also by dying.
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    drop(system);
    Ok(())
}

async fn measure(name: &str, program: Program, time: &Time) -> anyhow::Result<()> {
    let (warm_up, time) = (Duration::from_secs_f64(time.warm_up), Duration::from_secs_f64(time.seconds));
    let path = program.path()?;
    let plan = Plan { program: &path, warm_up, time };
    for entry in figures::ALL.iter().filter(|entry| entry.iter().any(|figure| figure.contains(name))) {
        for figure in figures::measure(entry[0], &plan).await? {
            println!("{figure}");
        }
    }
    Ok(())
}
