//! Runs one program for each attempt, in a process group of its own.
//!
//! What a program gets: the worker's environment, the task's on top of it, and the variables of [`env`](mod@env); its
//! standard input; a working folder, by default a fresh one. What it gives: lines on standard output and error, an exit
//! code, and, if it writes one, a JSON text in the file named by `MCP_OUTPUT`.
//!
//! Nothing of it survives the attempt: when the program ends, or is told to, whatever is left of its group is killed.
//! A descendant that made itself a session of its own escapes that; it cannot hold the attempt up, though.

mod command;
pub mod env;
mod feed;
mod group;
mod lines;
mod metrics;
mod output;
mod scratch;

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{FusedFuture, maybe_done};
use mcp_client::worker::{AttemptContext, ProcessExecutor, ProcessOutcome};
use mcp_proto::{
    Code, Error,
    scheduler::v1::{LogStream, ProcessWork},
};
use tokio::{
    process::Child,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, field};

use self::{group::Group, metrics::Metrics, scratch::Scratch};

/// How long the last lines may take after a program was stopped.
const LINES_AFTER_STOP_MAX: Duration = Duration::from_secs(1);
/// How long the removal of a folder may take before it goes on in the background.
const REMOVE_MAX: Duration = Duration::from_secs(1);
/// How long the kernel may take to end a program that got SIGKILL.
const KILL_MAX: Duration = Duration::from_secs(3);

/// The executor of the worker service.
#[derive(Debug)]
pub struct ProcessRunner {
    work_dir: PathBuf,
    kill_grace: Duration,
    metrics: Metrics,
}

/// How the program ended.
struct Ended {
    exit_code: i32,
    /// Its last line on standard error.
    last_words: Option<String>,
}

impl Ended {
    fn into_error(self) -> Error {
        let mut message = match self.exit_code {
            signal if signal < 0 => format!("ended by signal {}", -signal),
            code => format!("exit code {code}"),
        };
        if let Some(words) = self.last_words {
            message.push_str(": ");
            message.push_str(&words);
        }
        Error::new(Code::ExitNonZero, message).with_metadata("exit_code", self.exit_code.to_string())
    }
}

impl ProcessRunner {
    /// Attempts get their folders in `work_dir`, which must exist. A program that is stopped gets SIGTERM, and after
    /// `kill_grace` SIGKILL.
    pub fn new(work_dir: impl Into<PathBuf>, kill_grace: Duration) -> Self {
        Self { work_dir: work_dir.into(), kill_grace, metrics: Metrics::new() }
    }

    async fn run(&self, context: &AttemptContext, work: ProcessWork) -> ProcessOutcome {
        let scratch = match Scratch::make(&self.work_dir).await {
            Ok(scratch) => scratch,
            Err(error) => return ProcessOutcome::not_started(error),
        };
        let outcome = self.run_in(&scratch, context, work).await;
        scratch.remove().await;
        outcome
    }

    async fn run_in(&self, scratch: &Scratch, context: &AttemptContext, work: ProcessWork) -> ProcessOutcome {
        let (mut command, stdin) = match command::build(scratch, context, work) {
            Ok(built) => built,
            Err(error) => return ProcessOutcome::not_started(error),
        };
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return ProcessOutcome::not_started(command::spawn_error(command.as_std(), error)),
        };
        drop(command);
        let Some(group) = child.id().and_then(Group::of) else {
            return ProcessOutcome::not_started(Error::new(Code::Internal, "the program has no process id"));
        };
        Span::current().record("process.pid", group.id());
        let ended = match self.attend(context, &mut child, &group, stdin).await {
            Ok(ended) => ended,
            Err(error) => return ProcessOutcome { exit_code: None, result: Err(error) },
        };
        Span::current().record("process.exit.code", ended.exit_code);
        let exit_code = Some(ended.exit_code);
        let result = match ended.exit_code {
            0 => output::read(&scratch.output()).await,
            _ => Err(ended.into_error()),
        };
        ProcessOutcome { exit_code, result }
    }

    /// Feeds the program and reads its lines until it ended by itself or was stopped.
    async fn attend(
        &self,
        context: &AttemptContext,
        child: &mut Child,
        group: &Group,
        stdin: Bytes,
    ) -> Result<Ended, Error> {
        let gone = CancellationToken::new();
        let talk = maybe_done(talk(context, child, stdin, &gone));
        let mut talk = std::pin::pin!(talk);
        let stopped = loop {
            tokio::select! {
                biased;
                () = context.cancelled() => break true,
                // Its status is asked for again below.
                _ = child.wait() => break false,
                () = &mut talk, if !talk.is_terminated() => {}
            }
        };
        if stopped {
            let mut stop = std::pin::pin!(self.stop(child, group));
            loop {
                tokio::select! {
                    () = &mut stop => break,
                    // Lines written while it ends are still wanted.
                    () = &mut talk, if !talk.is_terminated() => {}
                }
            }
        }
        // Before anything else: nothing of the group may outlive the program.
        group.kill();
        gone.cancel();
        let status = timeout(KILL_MAX, child.wait())
            .await
            .map_err(|_| Error::new(Code::Internal, "the program does not die"))?
            .map_err(Error::internal)?;
        group.reaped();
        let too_late = async {
            context.cancelled().await;
            sleep(LINES_AFTER_STOP_MAX).await;
        };
        tokio::select! {
            biased;
            () = &mut talk, if !talk.is_terminated() => {}
            () = too_late, if !talk.is_terminated() => {}
            else => {}
        }
        Ok(Ended { exit_code: command::exit_code(status), last_words: talk.take_output().flatten() })
    }

    /// SIGTERM to the group, SIGKILL after the grace.
    async fn stop(&self, child: &mut Child, group: &Group) {
        group.terminate();
        tokio::select! {
            _ = child.wait() => {}
            () = sleep(self.kill_grace) => {
                tracing::debug!(pid = group.id(), "the program ignores SIGTERM: killed");
                group.kill();
            }
        }
    }
}

/// Writes the program's input and reads its lines; its last words come back.
fn talk<'a>(
    context: &'a AttemptContext,
    child: &mut Child,
    stdin: Bytes,
    gone: &'a CancellationToken,
) -> impl Future<Output = Option<String>> + use<'a> {
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    async move {
        let ((), last_words, _) = tokio::join!(
            async { drop(lines::pump(output, LogStream::Stdout, context, gone).await) },
            lines::pump(errors, LogStream::Stderr, context, gone),
            gone.run_until_cancelled(feed::write_all(input, stdin)),
        );
        last_words
    }
}

#[async_trait]
impl ProcessExecutor for ProcessRunner {
    async fn execute(&self, context: &AttemptContext, work: ProcessWork) -> ProcessOutcome {
        let span = tracing::info_span!(
            "process",
            otel.status_code = field::Empty,
            process.executable.name = work.argv.first().map(String::as_str),
            process.pid = field::Empty,
            process.exit.code = field::Empty,
            mcp.task.id = %context.task_id(),
            mcp.error.name = field::Empty,
        );
        let _running = self.metrics.running();
        let outcome = self.run(context, work).instrument(span.clone()).await;
        if let Err(error) = &outcome.result {
            span.record("otel.status_code", "ERROR");
            span.record("mcp.error.name", error.code().name());
        }
        self.metrics.count(&outcome);
        outcome
    }

    fn stop_max(&self) -> Duration {
        self.kill_grace + KILL_MAX + LINES_AFTER_STOP_MAX + REMOVE_MAX
    }
}
