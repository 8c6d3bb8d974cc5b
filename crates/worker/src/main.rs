//! The worker service.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker::main(std::env::args_os())
}
