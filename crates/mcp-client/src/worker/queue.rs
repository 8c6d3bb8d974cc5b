//! What one session still has to say to its scheduler.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use mcp_proto::{
    scheduler::v1::Progress,
    worker::v1::{AttemptLogLine, AttemptLogs, AttemptProgress, AttemptResult, OpenSessionRequest},
};

use super::attempt::AttemptKey;

/// What a line counts beyond its text.
const LOG_LINE_OVERHEAD: usize = 64;
/// A message is closed when it holds this many bytes; the last part may go over it, by one result at most.
const MESSAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A message is closed when it holds this many lines and results.
const MESSAGE_ITEMS_MAX: usize = 4_096;

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(super) enum End {
    /// With this result, which takes so many bytes.
    Result(Arc<AttemptResult>, usize),
    /// Unfinished.
    HandedBack,
}

impl End {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Result(_, bytes) => *bytes,
            Self::HandedBack => 0,
        }
    }
}

/// Lines and ends in the order in which they came, so that an attempt's end never overtakes its lines.
#[derive(Debug)]
enum Entry {
    Line(AttemptKey, AttemptLogLine),
    End(AttemptKey),
}

/// The outgoing side of a session. It does not know the attempts: how they ended is asked for when it is sent.
#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    progress: HashMap<AttemptKey, Progress>,
    /// Attempts to report as running.
    reports: BTreeSet<AttemptKey>,
    log_bytes: usize,
}

/// What goes into the next message. Made under the lock; turned into a message, which copies, outside of it.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) credits: u32,
    /// Credits to ask for.
    pub(super) reclaim: u32,
    /// True when the message is full and there is more to say.
    pub(super) has_more: bool,
    results: Vec<Arc<AttemptResult>>,
    lines: Vec<(AttemptKey, AttemptLogLine)>,
    progress: Vec<(AttemptKey, Progress)>,
    handed_back: Vec<AttemptKey>,
    running: Vec<AttemptKey>,
}

/// What a line counts.
pub(super) fn line_bytes(line: &AttemptLogLine) -> usize {
    line.text.len() + LOG_LINE_OVERHEAD
}

impl Queue {
    /// Adds a line.
    pub(super) fn push_line(&mut self, key: AttemptKey, line: AttemptLogLine) {
        self.log_bytes += line_bytes(&line);
        self.entries.push_back(Entry::Line(key, line));
    }

    /// Adds the end of an attempt.
    pub(super) fn push_end(&mut self, key: AttemptKey) {
        self.entries.push_back(Entry::End(key));
    }

    /// Puts ends that were sent already back to the front: a new session repeats them.
    pub(super) fn repeat_ends(&mut self, ended: impl Iterator<Item = AttemptKey>) {
        let waiting: HashSet<AttemptKey> = self.entries.iter().filter_map(Entry::ended).collect();
        for key in ended.filter(|key| !waiting.contains(key)) {
            self.entries.push_front(Entry::End(key));
        }
    }

    /// Replaces the progress of an attempt.
    pub(super) fn set_progress(&mut self, key: AttemptKey, progress: Progress) {
        self.progress.insert(key, progress);
    }

    /// Adds attempts to report as running.
    pub(super) fn report(&mut self, keys: impl IntoIterator<Item = AttemptKey>) {
        self.reports.extend(keys);
    }

    /// Forgets the reports: the next hello says it.
    pub(super) fn forget_reports(&mut self) {
        self.reports.clear();
    }

    /// Takes out all that it has to say about these attempts; lines go to `line` in their order.
    pub(super) fn extract(
        &mut self,
        keys: &HashSet<AttemptKey>,
        mut line: impl FnMut(AttemptKey, AttemptLogLine),
    ) -> Vec<(AttemptKey, Progress)> {
        let entries = std::mem::take(&mut self.entries);
        for entry in entries {
            match entry {
                Entry::Line(key, text) if keys.contains(&key) => {
                    self.log_bytes -= line_bytes(&text);
                    line(key, text);
                }
                Entry::End(key) if keys.contains(&key) => {}
                other => self.entries.push_back(other),
            }
        }
        self.progress.extract_if(|key, _| keys.contains(key)).collect()
    }

    /// Bytes of the lines that wait.
    pub(super) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// True when there is nothing to say, reports aside.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next message's content; empty when there is nothing to say. `end` tells how an attempt that is at home here
    /// ended, `is_wanted` whether it is still to be reported.
    pub(super) fn take<'a>(
        &mut self,
        end: impl Fn(AttemptKey) -> Option<&'a End>,
        is_wanted: impl Fn(AttemptKey) -> bool,
    ) -> Batch {
        let mut batch = Batch {
            progress: self.progress.drain().collect(),
            running: std::mem::take(&mut self.reports).into_iter().filter(|key| is_wanted(*key)).collect(),
            ..Batch::default()
        };
        let (mut bytes, mut items) = (0, 0);
        while bytes < MESSAGE_BYTES_MAX && items < MESSAGE_ITEMS_MAX {
            match self.entries.pop_front() {
                None => break,
                Some(Entry::Line(key, line)) => {
                    self.log_bytes -= line_bytes(&line);
                    bytes += line_bytes(&line);
                    batch.lines.push((key, line));
                }
                Some(Entry::End(key)) => match end(key) {
                    Some(End::Result(result, size)) => {
                        bytes += size;
                        batch.results.push(Arc::clone(result));
                    }
                    Some(End::HandedBack) => batch.handed_back.push(key),
                    // Revoked, or acknowledged in the session before.
                    None => continue,
                },
            }
            items += 1;
        }
        batch.has_more = !self.entries.is_empty();
        batch
    }
}

impl Entry {
    fn ended(&self) -> Option<AttemptKey> {
        match self {
            Self::End(key) => Some(*key),
            Self::Line(..) => None,
        }
    }
}

impl Batch {
    /// The message, or `None` when it would say nothing. `pong` 0 means no ping to answer.
    pub(super) fn into_request(self, pong: u64) -> Option<OpenSessionRequest> {
        let request = OpenSessionRequest {
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
            running: self.running.into_iter().map(AttemptKey::to_ref).collect(),
            reclaim: self.reclaim,
        };
        (request != OpenSessionRequest::default()).then_some(request)
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
