//! The limit on the size of one gRPC message, enforced before the message is read.

use std::{
    error::Error as StdError,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use mcp_proto::{Code, Error, MESSAGE_BYTES_MAX};
use tonic::Status;

/// What to give tonic's `max_decoding_message_size`, in bytes: a little above the limit, so that the answer to a
/// message that is too large is ours, from the catalogue, and not tonic's.
pub const DECODE_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 4096;

/// Compressed flag and length, before every message.
const HEAD_LEN: usize = 5;

type BoxError = Box<dyn StdError + Send + Sync>;

/// A gRPC request body that ends with the catalogue's `PAYLOAD_TOO_LARGE` at the first message over the limit.
///
/// It reads only the five bytes before each message and passes everything else through untouched, so it costs nothing
/// per byte. Messages before the one that is too large still arrive. The error of the body is a [`tonic::Status`]:
/// a tonic server answers with it; others find it with [`GrpcFrameLimit::status_of`].
#[derive(Debug)]
pub struct GrpcFrameLimit<B> {
    body: B,
    scanner: Scanner,
    limit: usize,
    /// The message over the limit was seen; nothing more is read.
    refused: Option<Status>,
    ended: bool,
}

impl<B> GrpcFrameLimit<B> {
    /// Limits messages to [`MESSAGE_BYTES_MAX`].
    pub fn new(body: B) -> Self {
        Self::with_limit(body, MESSAGE_BYTES_MAX)
    }

    /// Limits messages to `limit` bytes each, as they are on the wire (that is, compressed when they are).
    pub fn with_limit(body: B, limit: usize) -> Self {
        Self { body, scanner: Scanner::default(), limit, refused: None, ended: false }
    }
}

impl GrpcFrameLimit<()> {
    /// The refusal, if that is what `error` or one of its sources is. For proxies, whose HTTP client wraps the error
    /// of a request body.
    pub fn status_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Status> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(status) = error.downcast_ref::<Status>() {
                return Some(status);
            }
            next = error.source();
        }
        None
    }
}

impl<B> Body for GrpcFrameLimit<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(status) = this.refused.take() {
            this.ended = true;
            return Poll::Ready(Some(Err(status.into())));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        let frame = match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return Poll::Ready(Some(Ok(other))),
        };
        let Err(TooLarge { message_len, good_len }) = this.scanner.scan(&data, this.limit) else {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        };
        let status = refusal(message_len, this.limit);
        if good_len == 0 {
            this.ended = true;
            return Poll::Ready(Some(Err(status.into())));
        }
        this.refused = Some(status);
        Poll::Ready(Some(Ok(Frame::data(data.split_to(good_len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || (self.refused.is_none() && self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn refusal(message_len: u64, limit: usize) -> Status {
    let message = format!("a message of {message_len} bytes is over the limit of {limit} bytes");
    Error::new(Code::PayloadTooLarge, message).with_metadata("limit_bytes", limit.to_string()).into()
}

/// A message whose head announces more than the limit.
#[derive(Debug, PartialEq, Eq)]
struct TooLarge {
    message_len: u64,
    /// How much of the data lies before its head.
    good_len: usize,
}

/// Follows the boundaries of messages through chunks that know nothing of them.
#[derive(Debug, Default)]
struct Scanner {
    head: [u8; HEAD_LEN],
    head_len: usize,
    /// Bytes of the current message that are still to come.
    message_left: u64,
}

impl Scanner {
    fn scan(&mut self, data: &[u8], limit: usize) -> Result<(), TooLarge> {
        let mut at = 0;
        while at < data.len() {
            if self.message_left > 0 {
                let take = usize::try_from(self.message_left).unwrap_or(usize::MAX).min(data.len() - at);
                self.message_left -= take as u64;
                at += take;
                continue;
            }
            let head_at = at;
            let take = (HEAD_LEN - self.head_len).min(data.len() - at);
            self.head[self.head_len..self.head_len + take].copy_from_slice(&data[at..at + take]);
            self.head_len += take;
            at += take;
            if self.head_len == HEAD_LEN {
                self.head_len = 0;
                let [_, length @ ..] = self.head;
                self.message_left = u64::from(u32::from_be_bytes(length));
                if self.message_left > limit as u64 {
                    return Err(TooLarge { message_len: self.message_left, good_len: head_at });
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn message(len: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(u32::try_from(len).unwrap().to_be_bytes());
        bytes.extend(std::iter::repeat_n(7, len));
        bytes
    }

    /// Reads `bytes` through the limit in chunks of `chunk_len`: what came through, and how it ended.
    async fn read(bytes: &[u8], chunk_len: usize, limit: usize) -> (Vec<u8>, Option<Code>) {
        let chunks: Vec<Result<_, BoxError>> =
            bytes.chunks(chunk_len).map(|chunk| Ok(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
        let mut body = GrpcFrameLimit::with_limit(StreamBody::new(futures_util::stream::iter(chunks)), limit);
        let mut passed = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => passed.extend(frame.into_data().unwrap()),
                Err(error) => {
                    let status = GrpcFrameLimit::status_of(&*error).expect("a status");
                    let code = Error::from(status).code();
                    assert!(body.frame().await.is_none() && body.is_end_stream());
                    return (passed, Some(code));
                }
            }
        }
        (passed, None)
    }

    #[tokio::test]
    async fn messages_up_to_the_limit_pass_untouched_however_they_are_cut() {
        let bytes = [message(0), message(10), message(1), message(10)].concat();
        for chunk_len in 1..=bytes.len() {
            assert_eq!(read(&bytes, chunk_len, 10).await, (bytes.clone(), None), "chunks of {chunk_len}");
        }
    }

    #[tokio::test]
    async fn a_message_over_the_limit_ends_the_body_and_those_before_it_arrive() {
        let good = [message(3), message(10)].concat();
        let bytes = [good.clone(), message(11), message(1)].concat();
        for chunk_len in 1..=bytes.len() {
            let (passed, code) = read(&bytes, chunk_len, 10).await;
            assert_eq!(code, Some(Code::PayloadTooLarge), "chunks of {chunk_len}");
            assert!(passed.starts_with(&good) && passed.len() < good.len() + HEAD_LEN, "chunks of {chunk_len}");
        }
    }

    #[test]
    fn the_head_of_the_largest_length_does_not_overflow() {
        let mut scanner = Scanner::default();
        let refused = scanner.scan(&[0, 255, 255, 255, 255], 10).unwrap_err();
        assert_eq!(refused, TooLarge { message_len: u64::from(u32::MAX), good_len: 0 });
    }
}
