//! The registry as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    registry::main(std::env::args_os())
}
