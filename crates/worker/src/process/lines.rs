//! The program's lines, as they come.

use std::time::Duration;

use bytes::BytesMut;
use mcp_client::worker::{AttemptContext, LOG_LINE_BYTES_MAX};
use mcp_proto::scheduler::v1::LogStream;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How long a pipe is read after the program and its group are gone. What they wrote is in the pipe already; only a
/// descendant in a session of its own can still hold it open.
const SILENCE_AFTER_END_MAX: Duration = Duration::from_secs(1);
/// How many bytes are read from such a pipe after that, far more than a pipe holds.
const BYTES_AFTER_END_MAX: usize = 1024 * 1024;
/// How much is read at once.
const READ_BYTES: usize = 2 * LOG_LINE_BYTES_MAX;
/// How much of the last line is kept for an error's message.
const LAST_LINE_BYTES_MAX: usize = 500;

/// Sends every line to the task's log until the pipe is closed, and returns the last one that is not blank.
///
/// It reads no faster than the log takes the lines, so a program that writes too much waits in its own `write`.
pub(super) async fn pump(
    pipe: Option<impl AsyncRead + Unpin>,
    stream: LogStream,
    context: &AttemptContext,
    gone: &CancellationToken,
) -> Option<String> {
    let mut pipe = pipe?;
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut last = None;
    let mut bytes_after_end = 0;
    let give_up = async {
        gone.cancelled().await;
        sleep(SILENCE_AFTER_END_MAX).await;
    };
    let mut give_up = std::pin::pin!(give_up);
    loop {
        buffer.reserve(READ_BYTES);
        let read = tokio::select! {
            biased;
            read = pipe.read_buf(&mut buffer) => read,
            () = &mut give_up => break,
        };
        match read {
            Ok(0) | Err(_) => break,
            Ok(bytes) if gone.is_cancelled() => bytes_after_end += bytes,
            Ok(_) => {}
        }
        while let Some(line) = next_line(&mut buffer) {
            emit(&line, stream, context, &mut last).await;
        }
        if bytes_after_end > BYTES_AFTER_END_MAX {
            break;
        }
    }
    if !buffer.is_empty() {
        emit(&buffer, stream, context, &mut last).await;
    }
    last
}

async fn emit(line: &[u8], stream: LogStream, context: &AttemptContext, last: &mut Option<String>) {
    let text = String::from_utf8_lossy(line).into_owned();
    if stream == LogStream::Stderr {
        let words = text.trim();
        if !words.is_empty() {
            *last = Some(words[..words.floor_char_boundary(LAST_LINE_BYTES_MAX)].to_owned());
        }
    }
    context.log_to(stream, text).await;
}

/// Takes a whole line off the buffer, without its end, or a part of the largest size of a longer one.
fn next_line(buffer: &mut BytesMut) -> Option<BytesMut> {
    let searched = buffer.len().min(LOG_LINE_BYTES_MAX + 1);
    if let Some(end) = buffer[..searched].iter().position(|byte| *byte == b'\n') {
        let mut line = buffer.split_to(end + 1);
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        return Some(line);
    }
    if buffer.len() <= LOG_LINE_BYTES_MAX {
        return None;
    }
    Some(buffer.split_to(char_boundary(buffer, LOG_LINE_BYTES_MAX)))
}

/// The last place at or before `limit` where no character of UTF-8 is cut; `limit` where the text is not UTF-8.
fn char_boundary(bytes: &[u8], limit: usize) -> usize {
    const CHAR_BYTES_MAX: usize = 4;
    let is_boundary = |at: &usize| bytes[*at] & 0b1100_0000 != 0b1000_0000;
    (limit - (CHAR_BYTES_MAX - 1)..=limit).rev().find(is_boundary).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use mcp_client::worker::LOG_LINE_BYTES_MAX;

    use super::next_line;

    fn lines(bytes: &[u8]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let mut buffer = BytesMut::from(bytes);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut buffer) {
            lines.push(line.to_vec());
        }
        (lines, buffer.to_vec())
    }

    #[test]
    fn lines_are_taken_without_their_ends() {
        let (whole, rest) = lines(b"one\n\r\ntwo\r\n\nrest");
        assert_eq!(whole, [&b"one"[..], b"", b"two", b""]);
        assert_eq!(rest, b"rest");
    }

    #[test]
    fn a_line_of_the_largest_size_is_whole() {
        let mut text = vec![b'x'; LOG_LINE_BYTES_MAX];
        assert_eq!(lines(&text), (vec![], text.clone()));
        text.push(b'\n');
        assert_eq!(lines(&text).0, [vec![b'x'; LOG_LINE_BYTES_MAX]]);
    }

    #[test]
    fn a_longer_line_is_split_between_characters() {
        let text = "ä".repeat(LOG_LINE_BYTES_MAX);
        let text = format!("x{text}\n");
        let (parts, rest) = lines(text.as_bytes());
        assert!(rest.is_empty());
        assert!(parts.iter().all(|part| part.len() <= LOG_LINE_BYTES_MAX && std::str::from_utf8(part).is_ok()));
        assert_eq!(parts.concat(), text.trim_end().as_bytes());
    }

    #[test]
    fn what_is_not_utf_8_is_split_all_the_same() {
        let text = vec![0b1000_0000; 2 * LOG_LINE_BYTES_MAX + 1];
        let (parts, rest) = lines(&text);
        assert_eq!(parts.iter().map(Vec::len).collect::<Vec<_>>(), [LOG_LINE_BYTES_MAX; 2]);
        assert_eq!(rest.len(), 1);
    }
}
