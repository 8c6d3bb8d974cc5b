//! Reads of logs. A chunk lies under its first line's number.

use bytes::Bytes;
use mcp_proto::{TaskId, scheduler::v1::LogLine};
use prost::Message as _;

use super::{key, partition::Partition};
use crate::store::{
    Error, LOG_READ_BYTES_MAX, LogChunk, LogEnd,
    error::{corrupt, unavailable},
};

impl Partition {
    pub(super) fn read_logs(&self, id: TaskId, after_seq: u64, lines_max: usize) -> Result<Vec<LogLine>, Error> {
        let wanted = after_seq.saturating_add(1);
        // The chunk that holds the first wanted line begins at it or before it.
        let begin = match self.last_chunk(id, wanted)? {
            Some(chunk) => chunk.lines.first().map_or(wanted, |line| line.seq),
            None => wanted,
        };
        let mut lines = Vec::new();
        let mut bytes = 0;
        for item in
            self.shared.keyspaces.logs.range(key::log(self.number, id, begin)..=key::log(self.number, id, u64::MAX))
        {
            let value = item.value().map_err(|error| unavailable("read", error))?;
            for line in decode(id, &value)?.lines.into_iter().filter(|line| line.seq >= wanted) {
                if lines.len() >= lines_max || bytes > LOG_READ_BYTES_MAX {
                    return Ok(lines);
                }
                bytes += line.text.len();
                lines.push(line);
            }
        }
        Ok(lines)
    }

    pub(super) fn read_log_end(&self, id: TaskId) -> Result<LogEnd, Error> {
        let Some(chunk) = self.last_chunk(id, u64::MAX)? else { return Ok(LogEnd::default()) };
        let seq = chunk.lines.last().map_or(0, |line| line.seq);
        Ok(LogEnd { seq, bytes: chunk.bytes_total, truncated: chunk.truncated })
    }

    /// The last chunk that begins at line `seq` or before it.
    fn last_chunk(&self, id: TaskId, seq: u64) -> Result<Option<LogChunk>, Error> {
        let Some(item) =
            self.shared.keyspaces.logs.range(key::log(self.number, id, 0)..=key::log(self.number, id, seq)).next_back()
        else {
            return Ok(None);
        };
        let value = item.value().map_err(|error| unavailable("read", error))?;
        decode(id, &value).map(Some)
    }
}

fn decode(id: TaskId, value: &[u8]) -> Result<LogChunk, Error> {
    LogChunk::decode(Bytes::copy_from_slice(value)).map_err(|error| corrupt(&format!("log of {id}"), &error))
}
