//! The span and the metrics of a gRPC call, from its headers to the last byte of its answer.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::{
    KeyValue,
    metrics::{Histogram, UpDownCounter},
};
use tonic::Code;
use tracing::{Span, field::Empty};

use super::methods::Method;
use crate::{metrics, trace};

/// Upper bounds of the duration's buckets, in seconds.
const DURATION_BOUNDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// The instruments that all calls share.
#[derive(Debug)]
pub(super) struct Calls {
    server: Arc<str>,
    duration: Histogram<f64>,
    active: UpDownCounter<i64>,
}

impl Calls {
    /// `server` is the name of the program's service, for spans.
    pub(super) fn new(server: &str) -> Self {
        let meter = metrics::meter("mcp-chassis");
        Self {
            server: server.into(),
            duration: meter
                .f64_histogram("rpc.server.call.duration")
                .with_unit("s")
                .with_description("How long calls take, to the last byte of the answer")
                .with_boundaries(DURATION_BOUNDS.to_vec())
                .build(),
            active: meter
                .i64_up_down_counter("rpc.server.active_calls")
                .with_description("Calls that are running")
                .build(),
        }
    }

    /// Begins a call. Its span is a child of the caller's when the headers name one.
    pub(super) fn begin(self: &Arc<Self>, method: Arc<Method>, headers: &HeaderMap) -> Call {
        let span = if method.is_traced { self.span(&method, headers) } else { Span::none() };
        let labels = [
            KeyValue::new("rpc.service", Arc::clone(&method.service)),
            KeyValue::new("rpc.method", Arc::clone(&method.name)),
        ];
        self.active.add(1, &labels);
        Call { calls: Arc::clone(self), span, labels, started: started_now(), status: None }
    }

    fn span(&self, method: &Method, headers: &HeaderMap) -> Span {
        let span = tracing::info_span!(
            "rpc",
            otel.name = format!("{}/{}", method.service, method.name),
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system = "grpc",
            rpc.service = &*method.service,
            rpc.method = &*method.name,
            rpc.grpc.status_code = Empty,
            mcp.service = &*self.server,
        );
        trace::set_parent(&span, headers);
        span
    }
}

fn started_now() -> Instant {
    Instant::now()
}

/// A running call. When it is dropped without a status, the caller went away: `CANCELLED`.
#[derive(Debug)]
pub(super) struct Call {
    calls: Arc<Calls>,
    span: Span,
    labels: [KeyValue; 2],
    started: Instant,
    status: Option<Code>,
}

impl Call {
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// Follows the answer: its status is in the headers when it has no body, else in the trailers.
    pub(super) fn answer<B>(mut self, response: Response<B>) -> Response<CallBody<B>> {
        self.note_status(response.headers());
        response.map(|body| CallBody { body, call: Some(self) })
    }

    fn note_status(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.status = Some(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let status = self.status.unwrap_or(Code::Cancelled);
        let [service, method] = self.labels.clone();
        let labels = [service, method, KeyValue::new("rpc.response.status_code", metrics::code_name(status))];
        self.calls.duration.record(self.started.elapsed().as_secs_f64(), &labels);
        self.calls.active.add(-1, &self.labels);
        self.span.record("rpc.grpc.status_code", status as i32);
        if is_our_fault(status) {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// The body of an answer; it ends its call.
#[derive(Debug)]
pub(super) struct CallBody<B> {
    body: B,
    call: Option<Call>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for CallBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = {
            let _entered = this.call.as_ref().map(|call| call.span.enter());
            Pin::new(&mut this.body).poll_frame(cx)
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(trailers), Some(call)) = (frame.trailers_ref(), &mut this.call) {
                    call.note_status(trailers);
                    this.call = None;
                }
            }
            Poll::Ready(Some(Err(_)) | None) => {
                if let Some(call) = &mut this.call {
                    // An answer without a status: the caller will read UNKNOWN.
                    call.status.get_or_insert(Code::Unknown);
                    this.call = None;
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The statuses that are errors of the server, by OpenTelemetry's conventions.
fn is_our_fault(status: Code) -> bool {
    matches!(
        status,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
