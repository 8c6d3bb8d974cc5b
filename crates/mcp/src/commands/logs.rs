//! `mcp logs`, and the lines that `mcp submit --follow` shows.

use std::time::{Duration, SystemTime};

use mcp_proto::{
    Code, Error,
    scheduler::v1::{LogLine, LogStream},
};
use tokio::time::sleep;
use tonic::Code as Grpc;

use super::context::Context;
use crate::{
    args::Logs,
    exit::{Exit, Failure},
    output::{json, print},
};

/// How often a followed log is opened again without a new line in between.
const REOPENED_MAX: u32 = 5;
/// Wait before it is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(500);

/// How lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// As they are; those of the standard error go there.
    Plain,
    /// With the time in front.
    Timed,
    /// One JSON object per line.
    Json,
    /// All on standard error, because a document goes to standard output.
    Aside,
}

/// Shows the log of a task.
pub(super) async fn run(context: &Context, args: &Logs) -> Result<Exit, Failure> {
    let style = match (context.is_json(), args.timestamps) {
        (true, _) => Style::Json,
        (false, true) => Style::Timed,
        (false, false) => Style::Plain,
    };
    context.within(show(context, &args.id, args.after, args.follow, style)).await?;
    Ok(Exit::Done)
}

/// Shows the lines after line `after`; with `follow`, until the task is final. A followed log that breaks off is opened
/// again where it broke off.
pub(super) async fn show(
    context: &Context,
    id: &str,
    mut after: u64,
    follow: bool,
    style: Style,
) -> Result<(), Failure> {
    let mut reopened = 0;
    loop {
        let before = after;
        let Err(broken) = read(context, id, &mut after, follow, style).await? else { return Ok(()) };
        if after > before {
            reopened = 0;
        }
        if !follow || !may_pass(&broken) || reopened == REOPENED_MAX {
            return Err(context.failure(broken));
        }
        reopened += 1;
        sleep(REOPEN_PAUSE).await;
    }
}

/// Shows lines until the stream ends, or breaks off: that is the inner error.
async fn read(
    context: &Context,
    id: &str,
    after: &mut u64,
    follow: bool,
    style: Style,
) -> Result<Result<(), Error>, Failure> {
    let mut log = match context.client.logs(id, *after, follow).await {
        Ok(log) => log,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        let response = match log.message().await {
            Ok(Some(response)) => response,
            Ok(None) => return Ok(Ok(())),
            Err(status) => return Ok(Err(status.into())),
        };
        for line in &response.lines {
            *after = line.seq;
            match target(line, style) {
                (text, true) => print::line(text)?,
                (text, false) => print::note(text),
            }
        }
    }
}

/// True when the connection or the other end went away, and may come back.
fn may_pass(error: &Error) -> bool {
    error.code().grpc() == Grpc::Unavailable || error.code() == Code::OutcomeUnknown
}

/// The text of a line, and whether it goes to standard output.
fn target(line: &LogLine, style: Style) -> (String, bool) {
    let text = match line.stream() {
        LogStream::System => format!("[mcp] {}", line.text),
        LogStream::Stdout | LogStream::Stderr | LogStream::Unspecified => line.text.clone(),
    };
    let is_output = line.stream() == LogStream::Stdout;
    match style {
        Style::Plain => (text, is_output),
        Style::Timed => (format!("{} {text}", moment(line)), is_output),
        Style::Json => (json::to_json(line).to_string(), true),
        Style::Aside => (text, false),
    }
}

fn moment(line: &LogLine) -> String {
    let time = line.time.and_then(|time| SystemTime::try_from(time).ok());
    time.map(|time| humantime::format_rfc3339_millis(time).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::{LogLine, LogStream};

    use super::{Style, target};

    #[test]
    fn each_stream_goes_where_the_task_wrote_it() {
        let line = |stream: LogStream| LogLine { stream: stream.into(), text: "x".to_owned(), ..LogLine::default() };
        assert_eq!(target(&line(LogStream::Stdout), Style::Plain), ("x".to_owned(), true));
        assert_eq!(target(&line(LogStream::Stderr), Style::Plain), ("x".to_owned(), false));
        assert_eq!(target(&line(LogStream::System), Style::Plain), ("[mcp] x".to_owned(), false));
        assert_eq!(target(&line(LogStream::Stdout), Style::Aside), ("x".to_owned(), false));
        let (text, is_output) = target(&line(LogStream::Stderr), Style::Json);
        assert!(text.contains(r#""text":"x""#) && !text.contains('\n') && is_output, "{text}");
    }
}
