//! From the command line to the exit code.

use std::{ffi::OsString, future::Future, io, process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser};
use clap_complete::{generate, shells};
use tokio::runtime::{Builder, Runtime};

use crate::{
    args::{Cli, Command, Service, ServiceFlags, Shell},
    commands, dev,
    exit::{Exit, Failure},
    output::print,
};

/// Threads of the runtime for a command; the OTLP exporter needs two.
const COMMAND_THREADS: usize = 2;
/// How long blocking work may go on at the very end: a read of the terminal cannot be stopped.
const RUNTIME_STOP_MAX: Duration = Duration::from_secs(1);

/// Runs the program. `args` begins with the program's name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let Cli { global, command } = Cli::parse_from(args);
    let result = match command {
        Command::Serve { service } => return serve(service),
        Command::Completion { shell } => {
            complete(shell);
            Ok(Exit::Done)
        }
        Command::Dev(args) => run(Builder::new_multi_thread(), dev::command::run(args, global.otlp)),
        command => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(COMMAND_THREADS);
            run(builder, commands::run(&global, command))
        }
    };
    let exit = result.unwrap_or_else(|failure| {
        let text = failure.text();
        if !text.is_empty() {
            print::note(text);
        }
        failure.exit
    });
    exit.into()
}

fn run(mut builder: Builder, command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime: Runtime = builder.enable_all().build().map_err(|error| {
        Failure::new(Exit::Failed, format!("cannot start: {error}"), "free some memory or threads, then try again")
    })?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(RUNTIME_STOP_MAX);
    result
}

fn serve(service: Service) -> ExitCode {
    let args = |program: &str, flags: ServiceFlags| std::iter::once(program.into()).chain(flags.flags);
    match service {
        Service::Gateway(flags) => gateway::main(args("mcp-gateway", flags)),
        Service::Registry(flags) => registry::main(args("mcp-registry", flags)),
        Service::Scheduler(flags) => scheduler::main(args("mcp-scheduler", flags)),
        Service::Worker(flags) => worker::main(args("mcp-worker", flags)),
    }
}

fn complete(shell: Shell) {
    let (mut command, mut script) = (Cli::command(), Vec::new());
    match shell {
        Shell::Bash => generate(shells::Bash, &mut command, "mcp", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut command, "mcp", &mut script),
        Shell::Fish => generate(shells::Fish, &mut command, "mcp", &mut script),
    }
    // A reader that went away is no failure.
    drop(io::Write::write_all(&mut io::stdout(), &script));
}
