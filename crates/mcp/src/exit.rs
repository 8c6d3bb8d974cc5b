//! How the command ends: exit codes, and failures that say what to do next.

use std::process::ExitCode;

use mcp_proto::{Code, Error};
use tonic::Code as Grpc;

/// How a command ended. The numbers are part of the interface; `mcp --help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A task failed or was cancelled, or something is not ready.
    Failed = 1,
    /// The command line, or a file it names, is wrong.
    Usage = 2,
    /// The gateway cannot be reached.
    Unreachable = 3,
    /// There is no such thing.
    NotFound = 4,
    /// The server refused.
    Refused = 5,
    /// The time given was over first.
    TimedOut = 124,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What failed, for people.
    pub what: String,
    /// What to do next, when there is something to say.
    pub next: Option<String>,
}

impl Failure {
    /// A failure with the next step.
    pub fn new(exit: Exit, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: Some(next.into()) }
    }

    /// A wrong command line or a wrong file.
    pub fn usage(what: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, next)
    }

    /// `--timeout` passed.
    pub fn timed_out() -> Self {
        Self::new(Exit::TimedOut, "not done within --timeout", "give it more time, or ask with `mcp get ID`")
    }

    /// Nobody reads the output any more (`mcp list | head`): the command is done, and says nothing.
    pub fn reader_gone() -> Self {
        Self { exit: Exit::Done, what: String::new(), next: None }
    }

    /// The failure that an answer of the gateway at `gateway` is.
    pub fn of(error: &Error, gateway: &str) -> Self {
        if is_unreachable(error) {
            return Self::new(
                Exit::Unreachable,
                format!("the gateway at {gateway} cannot be reached"),
                "start one with `mcp dev`, or name one with --gateway URL or MCP_GATEWAY",
            );
        }
        let mut what = error.to_string();
        for violation in error.violations() {
            let line = format!("`{}` {}", violation.field, violation.description);
            if !what.contains(&line) {
                what = format!("{what}\n  {line}");
            }
        }
        let exit = match error.code() {
            Code::DeadlineExceeded => Exit::TimedOut,
            code if code.grpc() == Grpc::NotFound => Exit::NotFound,
            _ => Exit::Refused,
        };
        Self { exit, what, next: Some(next_step(error)) }
    }

    /// The text for standard error; empty when there is nothing to say.
    pub fn text(&self) -> String {
        match (&*self.what, &self.next) {
            ("", _) => String::new(),
            (what, Some(next)) => format!("mcp: {what}\n  next: {next}"),
            (what, None) => format!("mcp: {what}"),
        }
    }
}

/// True when no gateway answered: the error comes from the connection, not from the other end.
fn is_unreachable(error: &Error) -> bool {
    if error.code().grpc() != Grpc::Unavailable {
        return false;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<tonic::transport::Error>() || cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}

fn next_step(error: &Error) -> String {
    let advice = match error.code() {
        Code::TaskNotFound => "check the id; `mcp list` shows the tasks there are",
        Code::InvalidArgument | Code::UnknownField | Code::MalformedBody => "correct the request; see --help",
        Code::DeadlineExceeded => "raise --timeout; `mcp list` shows whether a submit arrived",
        Code::TaskFinished => "nothing is left to do: `mcp get ID` shows how it ended",
        Code::IdempotencyConflict => "use another --idempotency-key",
        Code::Unauthenticated => "show an API key by --token or MCP_TOKEN; an admin makes one by `mcp key create`",
        Code::PermissionDenied => "use a key with that role; an admin makes one by `mcp key create --role`",
        Code::ServiceNotFound | Code::NoInstance => "start the service; `mcp services` shows what is registered",
        code => code.text(),
    };
    match error.retry_after() {
        Some(wait) => format!("{advice} (again in {wait:?})"),
        None => advice.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::{Code, Error};

    use super::{Exit, Failure};

    #[test]
    fn answers_become_exit_codes() {
        for (code, exit) in [
            (Code::TaskNotFound, Exit::NotFound),
            (Code::InstanceNotFound, Exit::NotFound),
            (Code::InvalidArgument, Exit::Refused),
            (Code::Unavailable, Exit::Refused),
            (Code::DeadlineExceeded, Exit::TimedOut),
        ] {
            let failure = Failure::of(&Error::new(code, "no"), "http://x:1");
            assert_eq!(failure.exit, exit, "{code:?}");
            assert!(failure.text().contains("\n  next: "), "{}", failure.text());
        }
    }

    #[test]
    fn a_dead_connection_is_not_a_refusal() {
        let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = Error::new(Code::Unavailable, "tcp connect error").with_source(cause);
        let failure = Failure::of(&error, "http://x:1");
        assert_eq!(failure.exit, Exit::Unreachable);
        assert!(failure.text().contains("http://x:1") && failure.text().contains("mcp dev"), "{}", failure.text());
    }

    #[test]
    fn wrong_fields_are_listed_once() {
        let error = Error::invalid("task.process.argv", "must not be empty").with_violation("task.name", "is too long");
        let text = Failure::of(&error, "http://x:1").text();
        assert_eq!(text.matches("must not be empty").count(), 1, "{text}");
        assert!(text.contains("`task.name` is too long"), "{text}");
    }
}
