//! From the task's wish to a command, and from its end to an exit code.

use std::{
    io::{self, ErrorKind},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
};

use bytes::Bytes;
use mcp_client::{trace, worker::AttemptContext};
use mcp_proto::{Code, Error, scheduler::v1::ProcessWork};
use nix::errno::Errno;
use tokio::process::Command;
use tracing::Span;

use super::{env, scratch::Scratch};

/// The command and its standard input.
///
/// # Errors
/// `SPAWN_FAILED` when there is no program, or its folder is missing.
pub(super) fn build(scratch: &Scratch, context: &AttemptContext, work: ProcessWork) -> Result<(Command, Bytes), Error> {
    let Some((program, arguments)) = work.argv.split_first() else {
        return Err(Error::new(Code::SpawnFailed, "the task names no program"));
    };
    let folder = if work.cwd.is_empty() { scratch.folder() } else { PathBuf::from(&work.cwd) };
    check_folder(&folder)?;
    let traceparent = trace::traceparent_of(&Span::current()).unwrap_or_else(|| context.traceparent().to_owned());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(&work.env)
        .env(env::TASK_ID, context.task_id().to_string())
        .env(env::ATTEMPT, context.attempt().to_string())
        .env(env::FENCING_TOKEN, context.token().to_string())
        .env(env::OUTPUT, scratch.output())
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if traceparent.is_empty() {
        command.env_remove(env::TRACEPARENT);
    } else {
        command.env(env::TRACEPARENT, traceparent);
    }
    Ok((command, work.stdin))
}

/// Why a program did not start.
pub(super) fn spawn_error(command: &std::process::Command, error: io::Error) -> Error {
    let program = command.get_program().to_string_lossy();
    let is_for_now = error.raw_os_error().is_some_and(|code| {
        matches!(Errno::from_raw(code), Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE)
    });
    if is_for_now {
        let message = format!("the worker has no room to start `{program}`: {error}");
        return Error::new(Code::Unavailable, message).with_source(error);
    }
    let message = match error.kind() {
        ErrorKind::NotFound => format!("program `{program}` does not exist, or its interpreter does not"),
        ErrorKind::PermissionDenied => format!("program `{program}` is not executable"),
        _ => format!("program `{program}` cannot be started: {error}"),
    };
    Error::new(Code::SpawnFailed, message).with_source(error)
}

/// The exit code, or minus the signal that ended the program.
pub(super) fn exit_code(status: ExitStatus) -> i32 {
    // A status of `wait` has one of the two.
    status.code().or_else(|| status.signal().map(|signal| -signal)).unwrap_or(i32::MIN)
}

fn check_folder(folder: &Path) -> Result<(), Error> {
    // Otherwise a missing folder looks like a missing program.
    let why = match folder.metadata() {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => "is not a folder".to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => "does not exist".to_owned(),
        Err(error) => format!("cannot be used: {error}"),
    };
    Err(Error::new(Code::SpawnFailed, format!("working folder `{}` {why}", folder.display())))
}
