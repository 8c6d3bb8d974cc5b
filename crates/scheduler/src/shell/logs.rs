//! The logs of running tasks: numbers their lines and holds their bounds.

use std::collections::HashMap;

use mcp_engine::RunningAttempt;
use mcp_proto::{
    TaskId,
    scheduler::v1::{LogLine, LogStream},
};

use super::{Shell, live::wire_id};
use crate::store::{self, LogChunk, LogEnd, Write};

/// Longest line, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// What the last line of a full log says.
const TRUNCATED: &str = "output truncated";

/// Where the logs of running tasks end.
#[derive(Debug)]
pub(super) struct Logs {
    ends: HashMap<TaskId, LogEnd>,
    lines_max: u64,
    bytes_max: u64,
}

impl Logs {
    /// With the bounds of one log.
    pub(super) fn new(lines_max: u64, bytes_max: u64) -> Self {
        Self { ends: HashMap::new(), lines_max, bytes_max }
    }

    /// Forgets a task that does not run any more.
    pub(super) fn forget(&mut self, id: TaskId) {
        self.ends.remove(&id);
    }

    /// Forgets tasks whose log may be written elsewhere from now on.
    pub(super) fn retain(&mut self, stays: impl Fn(TaskId) -> bool) {
        self.ends.retain(|id, _| stays(*id));
    }

    /// Numbers new lines of a log that ends at `end`. Those that it has no room for are left out, and one line says so.
    fn number(&self, end: &mut LogEnd, lines: Vec<LogLine>, attempt: u32) -> Vec<LogLine> {
        let mut numbered = Vec::with_capacity(lines.len());
        for mut line in lines {
            if end.truncated {
                break;
            }
            if line.text.len() > LINE_BYTES_MAX {
                line.text.truncate(line.text.floor_char_boundary(LINE_BYTES_MAX));
            }
            if end.seq >= self.lines_max || end.bytes + line.text.len() as u64 > self.bytes_max {
                end.truncated = true;
                line = LogLine {
                    text: TRUNCATED.to_owned(),
                    stream: LogStream::System.into(),
                    time: line.time,
                    ..LogLine::default()
                };
            }
            end.seq += 1;
            end.bytes += line.text.len() as u64;
            line.seq = end.seq;
            line.attempt = attempt;
            numbered.push(line);
        }
        numbered
    }
}

impl Shell {
    /// Takes lines of a running attempt.
    pub(super) fn log(&mut self, attempt: RunningAttempt, lines: Vec<LogLine>) -> Result<(), store::Error> {
        let id = wire_id(attempt.task);
        let mut end = match self.logs.ends.get(&id) {
            Some(end) => *end,
            None => self.hosted.store_of(id)?.log_end(id)?,
        };
        let number = self.live.get(&id).map_or(0, |live| live.attempt);
        let lines = self.logs.number(&mut end, lines, number);
        self.logs.ends.insert(id, end);
        if lines.is_empty() {
            return Ok(());
        }
        self.staging.bytes += lines.iter().map(|line| line.text.len()).sum::<usize>();
        let chunk = LogChunk { lines, bytes_total: end.bytes, truncated: end.truncated };
        self.staging.writes.push(self.hosted.partition_of(id), Write::Logs { id, chunk });
        self.staging.logged.push(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mcp_proto::scheduler::v1::{LogLine, LogStream};

    use super::{LINE_BYTES_MAX, Logs, TRUNCATED};
    use crate::store::LogEnd;

    fn lines(texts: &[&str]) -> Vec<LogLine> {
        texts.iter().map(|text| LogLine { text: (*text).to_owned(), ..LogLine::default() }).collect()
    }

    #[test]
    fn a_full_log_ends_with_one_line_that_says_so() {
        for logs in [Logs::new(3, 1_000), Logs::new(100, 7)] {
            let mut end = LogEnd::default();
            let mut all = logs.number(&mut end, lines(&["aa", "bb"]), 1);
            all.extend(logs.number(&mut end, lines(&["cc", "dd", "ee"]), 2));
            all.extend(logs.number(&mut end, lines(&["ff"]), 2));
            assert_eq!(all.iter().map(|line| line.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
            assert_eq!(all[3].text, TRUNCATED);
            assert_eq!((all[3].stream(), all[2].attempt), (LogStream::System, 2));
            assert!(end.truncated);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let logs = Logs::new(3, 1 << 20);
        let text = "é".repeat(LINE_BYTES_MAX);
        let cut = logs.number(&mut LogEnd::default(), lines(&[&format!("a{text}")]), 1);
        assert_eq!(cut[0].text.len(), LINE_BYTES_MAX - 1);
    }
}
