//! Base64 bodies, decoded as they come.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use mcp_proto::{Code, Error};

use crate::body::inbound::BoxError;

/// Digits that make whole bytes.
const GROUP: usize = 4;

/// The bytes that a body of base64 stands for. It may be padded in its middle too: each part of it was encoded alone.
#[derive(Debug)]
pub(crate) struct Decoded<B> {
    body: B,
    /// Digits of a group that is not whole yet.
    rest: BytesMut,
}

impl<B> Decoded<B> {
    /// Decodes `body`.
    pub(crate) fn new(body: B) -> Self {
        Self { body, rest: BytesMut::new() }
    }
}

impl<B> Body for Decoded<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let frame = match std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None if this.rest.is_empty() => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(malformed()))),
            };
            let Ok(data) = frame.into_data() else {
                continue; // trailers of a request mean nothing in gRPC
            };
            this.rest.extend_from_slice(&data);
            let whole = this.rest.split_to(this.rest.len() / GROUP * GROUP);
            match decode(&whole) {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => return Poll::Ready(Some(Ok(Frame::data(bytes.into())))),
                None => return Poll::Ready(Some(Err(malformed()))),
            }
        }
    }
}

/// Decodes whole groups; `None` when they are no base64.
fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / GROUP * 3);
    let mut rest = text;
    while !rest.is_empty() {
        // As far as the group that is padded.
        let padded = rest.iter().position(|byte| *byte == b'=').map(|at| at / GROUP * GROUP + GROUP);
        let (part, after) = rest.split_at(padded.unwrap_or(rest.len()).min(rest.len()));
        BASE64_STANDARD.decode_vec(part, &mut bytes).ok()?;
        rest = after;
    }
    Some(bytes)
}

/// A status, so that the answer can say it.
fn malformed() -> BoxError {
    tonic::Status::from(Error::new(Code::MalformedBody, "the body is not base64")).into()
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Full, StreamBody};
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn what_is_no_base64_is_refused() {
        for text in ["abc", "ab!=", "=abc", "a===", "Zm9v Zm9v"] {
            let body = Decoded::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
            assert!(body.collect().await.is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parts_encoded_alone_and_cut_anywhere_come_out_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6),
            cut in 1_usize..7,
        ) {
            let text: String = parts.iter().map(|part| BASE64_STANDARD.encode(part)).collect();
            let chunks: Vec<_> = text.as_bytes().chunks(cut).map(|chunk| Ok::<_, BoxError>(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
            let body = Decoded::new(StreamBody::new(futures_util::stream::iter(chunks)));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let bytes = runtime.block_on(body.collect()).unwrap().to_bytes();
            prop_assert_eq!(bytes.to_vec(), parts.concat());
        }
    }
}
