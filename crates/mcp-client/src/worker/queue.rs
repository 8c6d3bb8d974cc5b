//! What one session still has to say to its scheduler.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use mcp_proto::{
    scheduler::v1::Progress,
    worker::v1::{AttemptLogLine, AttemptLogs, AttemptProgress, AttemptResult, OpenSessionRequest},
};
use prost::Message;

use super::attempt::AttemptKey;

/// Lines that wait to be sent, in bytes; when there are more, who writes a line waits.
pub(super) const LOG_BYTES_MAX: usize = 1024 * 1024;
/// What a line counts beyond its text.
const LOG_LINE_OVERHEAD: usize = 64;
/// A message is closed when it holds this many bytes; the last part may go over it, by one result at most.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A message is closed when it holds this many lines and results.
const MESSAGE_ITEMS_MAX: usize = 4_096;
/// Bytes of results that wait for their acknowledgement; when there are more, no credit is granted.
pub(super) const UNACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Lines and results in the order in which they came, so that an attempt's result never overtakes its lines.
#[derive(Debug)]
enum Entry {
    Line(AttemptKey, AttemptLogLine),
    Result(AttemptKey),
}

/// A result that is not known to be durable.
#[derive(Debug)]
struct Unacked {
    result: Arc<AttemptResult>,
    bytes: usize,
    sent: bool,
}

/// The outgoing side of a session. Bounded: lines by [`LOG_BYTES_MAX`], progress to the latest of each running
/// attempt, results and attempts handed back by the credits, which are withheld while too many wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    progress: HashMap<AttemptKey, Progress>,
    handed_back: Vec<AttemptKey>,
    unacked: HashMap<AttemptKey, Unacked>,
    unacked_bytes: usize,
    log_bytes: usize,
}

/// What goes into the next message. Made under the lock; turned into a message, which copies, outside of it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    credits: u32,
    /// True when the message is full and there is more to say.
    pub(super) has_more: bool,
    results: Vec<Arc<AttemptResult>>,
    lines: Vec<(AttemptKey, AttemptLogLine)>,
    progress: Vec<(AttemptKey, Progress)>,
    handed_back: Vec<AttemptKey>,
}

impl Queue {
    /// Adds a line; gives it back when there is no room.
    pub(super) fn push_line(&mut self, key: AttemptKey, line: AttemptLogLine) -> Result<(), AttemptLogLine> {
        if self.log_bytes >= LOG_BYTES_MAX {
            return Err(line);
        }
        self.log_bytes += line.text.len() + LOG_LINE_OVERHEAD;
        self.entries.push_back(Entry::Line(key, line));
        Ok(())
    }

    /// Adds a result, which stays until [`acknowledge`](Self::acknowledge).
    pub(super) fn push_result(&mut self, key: AttemptKey, result: AttemptResult) {
        let bytes = result.encoded_len();
        self.unacked_bytes += bytes;
        self.unacked.insert(key, Unacked { result: Arc::new(result), bytes, sent: false });
        self.entries.push_back(Entry::Result(key));
    }

    /// Replaces the progress of an attempt.
    pub(super) fn set_progress(&mut self, key: AttemptKey, progress: Progress) {
        self.progress.insert(key, progress);
    }

    /// Adds an attempt that goes back unfinished.
    pub(super) fn push_handed_back(&mut self, key: AttemptKey) {
        self.handed_back.push(key);
    }

    /// Forgets a result that is durable, or refused.
    pub(super) fn acknowledge(&mut self, key: AttemptKey) -> Option<Arc<AttemptResult>> {
        let unacked = self.unacked.remove(&key)?;
        self.unacked_bytes -= unacked.bytes;
        Some(unacked.result)
    }

    /// The next message's content, these credits included; empty when there is nothing to say.
    pub(super) fn take(&mut self, credits: u32) -> Batch {
        let mut batch = Batch {
            credits,
            progress: self.progress.drain().collect(),
            handed_back: std::mem::take(&mut self.handed_back),
            ..Batch::default()
        };
        let (mut bytes, mut items) = (0, 0);
        while bytes < MESSAGE_BYTES_MAX && items < MESSAGE_ITEMS_MAX {
            match self.entries.pop_front() {
                None => break,
                Some(Entry::Line(key, line)) => {
                    let line_bytes = line.text.len() + LOG_LINE_OVERHEAD;
                    self.log_bytes -= line_bytes;
                    bytes += line_bytes;
                    batch.lines.push((key, line));
                }
                Some(Entry::Result(key)) => {
                    // Gone when the attempt was revoked, or acknowledged in the session before.
                    let Some(unacked) = self.unacked.get_mut(&key) else { continue };
                    unacked.sent = true;
                    bytes += unacked.bytes;
                    batch.results.push(Arc::clone(&unacked.result));
                }
            }
            items += 1;
        }
        batch.has_more = !self.entries.is_empty();
        batch
    }

    /// Puts every result that was sent but not acknowledged back to the front: a new session repeats them.
    pub(super) fn repeat_unacked(&mut self) {
        for (key, unacked) in &mut self.unacked {
            if std::mem::take(&mut unacked.sent) {
                self.entries.push_front(Entry::Result(*key));
            }
        }
        // The scheduler learns of these from the claims: what is not claimed is not ours.
        self.handed_back.clear();
    }

    /// Takes over all that another session had to say.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        let other = std::mem::take(other);
        self.entries.extend(other.entries);
        self.progress.extend(other.progress);
        self.unacked.extend(other.unacked);
        self.unacked_bytes += other.unacked_bytes;
        self.log_bytes += other.log_bytes;
    }

    /// Results that wait for their acknowledgement.
    pub(super) fn unacked(&self) -> impl Iterator<Item = AttemptKey> {
        self.unacked.keys().copied()
    }

    /// Number and bytes of the results that wait for their acknowledgement.
    pub(super) fn unacked_size(&self) -> (usize, usize) {
        (self.unacked.len(), self.unacked_bytes)
    }

    /// True when all was said and all results are acknowledged.
    pub(super) fn is_flushed(&self) -> bool {
        self.entries.is_empty() && self.handed_back.is_empty() && self.unacked.is_empty()
    }

    /// True when a result waits to be acknowledged under this key.
    pub(super) fn is_unacked(&self, key: AttemptKey) -> bool {
        self.unacked.contains_key(&key)
    }
}

impl Batch {
    /// The message, or `None` when it would say nothing. `pong` 0 means no ping to answer.
    pub(super) fn into_request(self, pong: u64) -> Option<OpenSessionRequest> {
        let is_empty = self.credits == 0
            && self.results.is_empty()
            && self.lines.is_empty()
            && self.progress.is_empty()
            && self.handed_back.is_empty()
            && pong == 0;
        if is_empty {
            return None;
        }
        Some(OpenSessionRequest {
            hello: None,
            credits: self.credits,
            results: self.results.into_iter().map(Arc::unwrap_or_clone).collect(),
            logs: grouped(self.lines),
            progress: self
                .progress
                .into_iter()
                .map(|(key, progress)| AttemptProgress { attempt: Some(key.to_ref()), progress: Some(progress) })
                .collect(),
            handed_back: self.handed_back.into_iter().map(AttemptKey::to_ref).collect(),
            pong,
        })
    }
}

/// Lines of one attempt that follow each other become one group.
fn grouped(lines: Vec<(AttemptKey, AttemptLogLine)>) -> Vec<AttemptLogs> {
    let mut groups: Vec<AttemptLogs> = Vec::new();
    let mut last = None;
    for (key, line) in lines {
        match groups.last_mut() {
            Some(group) if last == Some(key) => group.lines.push(line),
            _ => groups.push(AttemptLogs { attempt: Some(key.to_ref()), lines: vec![line] }),
        }
        last = Some(key);
    }
    groups
}
