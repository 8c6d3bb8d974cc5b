//! The access log: one line of JSON for each request, to standard output or to a file.
//!
//! A thread of its own writes the lines. When it falls behind, lines are lost and counted; no request waits for it. What
//! callers send as secrets is not in it: no headers, no query, no bodies.

use std::{
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use serde::Serialize;

/// Lines that wait to be written.
const LINES_MAX: usize = 8 * 1024;

/// Bytes that are written at a time.
const BUFFER_BYTES: usize = 64 * 1024;

/// Whether, and where to.
#[derive(Debug)]
pub(crate) struct AccessLog {
    is_on: AtomicBool,
    lost: Arc<AtomicU64>,
    /// `None` only while it is dropped.
    lines: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
}

/// What is told of a request. Fields without a value are left out.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Line<'a> {
    /// When its answer ended, RFC 3339, UTC.
    pub(crate) timestamp: String,
    /// Its trace.
    pub(crate) trace_id: String,
    /// `grpc`, `json`, `grpc_web`, `websocket`, `http`.
    pub(crate) protocol: &'a str,
    /// Method of the HTTP request.
    pub(crate) method: &'a str,
    /// Its path without the query, which may hold secrets.
    pub(crate) path: &'a str,
    /// The route that it took.
    pub(crate) route: &'a str,
    /// HTTP status; absent when the caller went before there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// Name of the gRPC status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'a str>,
    /// The method that was called, `package.Service/Method`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rpc: Option<String>,
    /// The service whose instance got it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<String>,
    /// Where that instance listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<String>,
    /// Times that it was sent again.
    pub(crate) retries: u32,
    /// From the head of the request to the end of the answer.
    pub(crate) duration_us: u64,
    /// Bytes of the request's body that were read.
    pub(crate) bytes_received: u64,
    /// Bytes of the answer's body that were sent.
    pub(crate) bytes_sent: u64,
    /// Who called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<&'a str>,
    /// From where.
    pub(crate) peer: String,
}

impl AccessLog {
    /// Starts the thread that writes to the end of `file`, or to standard output.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not be started.
    pub(crate) fn start(is_on: bool, file: Option<&Path>) -> io::Result<Self> {
        let out: Box<dyn Write + Send> = match file {
            Some(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
            None => Box::new(io::stdout()),
        };
        let (sender, lines) = sync_channel(LINES_MAX);
        let lost: Arc<AtomicU64> = Arc::default();
        let failed = Arc::clone(&lost);
        let writer = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || write(&lines, BufWriter::with_capacity(BUFFER_BYTES, out), &failed))?;
        Ok(Self { is_on: AtomicBool::new(is_on), lost, lines: Some(sender), writer: Some(writer) })
    }

    /// True while requests that begin are logged.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Turns it on or off, for requests that begin from now on.
    pub(crate) fn turn(&self, is_on: bool) {
        self.is_on.store(is_on, Ordering::Relaxed);
    }

    /// Lines that could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes a line soon. Never waits.
    pub(crate) fn tell(&self, line: &Line<'_>) {
        let sent = serde_json::to_vec(line).is_ok_and(|mut text| {
            text.push(b'\n');
            self.lines.as_ref().is_some_and(|lines| lines.try_send(text).is_ok())
        });
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What was told is written before it is gone.
impl Drop for AccessLog {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            // It does not panic.
            writer.join().unwrap_or_default();
        }
    }
}

/// Writes until nobody can tell anything any more. Flushes whenever nothing waits.
fn write(lines: &Receiver<Vec<u8>>, mut out: impl Write, lost: &AtomicU64) {
    let mut is_failing = false;
    while let Ok(first) = lines.recv() {
        let mut count = 0;
        let mut result = Ok(());
        for line in std::iter::once(first).chain(lines.try_iter().take(LINES_MAX)) {
            count += 1;
            result = result.and_then(|()| out.write_all(&line));
        }
        match result.and_then(|()| out.flush()) {
            Ok(()) => is_failing = false,
            Err(error) => {
                lost.fetch_add(count, Ordering::Relaxed);
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "the access log cannot be written");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_written_before_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog::start(true, Some(&path)).unwrap();
        for status in 200..210 {
            log.tell(&Line { path: "/a\"b\n", status: Some(status), ..Line::default() });
        }
        drop(log);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 10);
        assert_eq!((&lines[9]["status"], &lines[9]["path"]), (&209.into(), &"/a\"b\n".into()));
        assert!(lines[9].get("principal").is_none());
    }

    #[test]
    fn a_line_that_cannot_be_written_is_counted() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::Error::other("no space"))
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, lines) = sync_channel(1);
        sender.send(b"x".to_vec()).unwrap();
        drop(sender);
        let lost = AtomicU64::new(0);
        write(&lines, Full, &lost);
        assert_eq!(lost.load(Ordering::Relaxed), 1);
    }
}
