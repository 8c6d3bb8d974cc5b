//! Raw content as a stream of messages: a body of any length to a method that takes a stream of `google.api.HttpBody`.
//!
//! The first message has what the path and the query say and what the content is; every message has a piece of the
//! content. It is read only as fast as the instance takes it, and none of it is held.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Frame;
use mcp_proto::{Code, Error};
use prost_reflect::DynamicMessage;
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use super::{
    convert::Converter,
    frames,
    json::Reader,
    receive,
    request::{self, Parts},
    send::{To, send},
};
use crate::{
    body::{
        Body,
        forward::Forward,
        inbound::{BoxError, Inbound},
        source::Source,
    },
    call::Call,
    core::Core,
    deadline,
    exchange::Context as Known,
    limits::pace::Pace,
};

/// Largest piece of the content in one message, in bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Sends the body of a request on, piece by piece, and waits for the answer.
///
/// # Errors
/// `PERMISSION_DENIED` for a caller whose roles hold in some namespaces only, since nothing of a stream is read here;
/// `INVALID_ARGUMENT` and `UNKNOWN_FIELD` for path and query; `BODY_TOO_SLOW`; what the instance says.
///
/// # Cancellation
/// Dropping the future cancels the call.
pub(super) async fn serve(
    core: &Rc<Core>,
    request: Request<Inbound>,
    (converter, context): (&Converter, &Known),
    segments: &[&str],
    call: &Call,
) -> Result<Response<Body>, Error> {
    if call.narrow().is_some() {
        let text = format!("`{}` needs a role that holds in all namespaces", converter.route.rpc.full_name());
        return Err(Error::new(Code::PermissionDenied, text));
    }
    let now = Instant::now();
    // It lasts as long as the content does, unless its caller says otherwise.
    let deadline = deadline::of_http(request.headers(), now)?;
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_owned();
    let reader = Reader { snapshot: &converter.snapshot, options: converter.options };
    let known = Parts { segments, query: parts.uri.query(), content_type: "", body: &Bytes::new() };
    let head = request::build(&converter.route, known, reader)?;
    let downstream = &core.shared.settings.downstream;
    let upload = Upload {
        body,
        converter: converter.clone(),
        head: Some((head, content_type)),
        rest: Bytes::new(),
        pace: Pace::new(now, downstream.body_grace, downstream.body_rate_min),
        rate_min: downstream.body_rate_min,
        bytes: 0,
        due: None,
    };
    let (messages, link) = Forward::stream(Source::from(Inbound::made(upload)));
    let answered = async {
        let to = To { route: &converter.route, context };
        let sent = send(core, to, parts.headers, messages, deadline, call).await?;
        receive::unary(core, sent, converter).await
    };
    let answered = answered.await;
    link.close();
    answered.map_err(|error| link.fault().unwrap_or(error))
}

/// The messages of an upload, as gRPC frames.
struct Upload {
    body: Inbound,
    converter: Converter,
    /// The first message without content, and the type of the content, until it is sent.
    head: Option<(DynamicMessage, String)>,
    /// What has come and is not sent.
    rest: Bytes,
    pace: Pace,
    rate_min: u32,
    /// What has come in all.
    bytes: usize,
    /// Set while more is waited for.
    due: Option<Pin<Box<Sleep>>>,
}

impl Upload {
    /// The next message, if there is one.
    fn message(&mut self, ended: bool) -> Option<Frame<Bytes>> {
        if self.rest.is_empty() && !(ended && self.head.is_some()) {
            return None;
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES_MAX));
        let route = &self.converter.route;
        let (mut message, content_type) =
            self.head.take().unwrap_or_else(|| (DynamicMessage::new(route.rpc.input()), String::new()));
        request::set_content(route, &mut message, &content_type, piece);
        Some(Frame::data(frames::frame(&message)))
    }

    /// True once the next bytes should have come.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(due) = self.pace.due(self.bytes) else {
            return false;
        };
        let sleep = self.due.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        sleep.as_mut().poll(cx).is_ready()
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            if let Some(message) = this.message(false) {
                return Poll::Ready(Some(Ok(message)));
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        this.bytes = this.bytes.saturating_add(data.len());
                        this.rest = data;
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(this.message(true).map(Ok)),
                Poll::Pending if this.is_late(cx) => {
                    let error = receive::too_slow(this.rate_min);
                    return Poll::Ready(Some(Err(Status::from(error).into())));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
