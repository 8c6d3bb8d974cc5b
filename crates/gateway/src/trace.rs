//! Trace context: in from the caller, on to the instance, and the trace id on every answer.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Where a request is in its trace. Source: <https://www.w3.org/TR/trace-context/>.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Digits of a trace id, of a `traceparent`, and where the former begins in the latter.
const TRACE_ID_LEN: usize = 32;
const TRACEPARENT_LEN: usize = 55;
const TRACE_ID_AT: usize = 3;

/// One request's place in its trace.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The span of the request in the gateway.
    pub(crate) span: Span,
    context: SpanContext,
}

impl Identity {
    /// Starts the span of a request: a child of the span that its `traceparent` names, or the root of a new trace.
    ///
    /// It has ids even when no tracer follows it, so that every answer can be looked for in the logs.
    pub(crate) fn begin(method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let span = tracing::info_span!(
            "request",
            otel.name = path,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method.as_str(),
            url.path = path,
            http.response.status_code = Empty,
            rpc.system = Empty,
            rpc.service = Empty,
            rpc.method = Empty,
            rpc.grpc.status_code = Empty,
            server.address = Empty,
        );
        mcp_chassis::trace::set_parent(&span, headers);
        let context = span.context().span().span_context().clone();
        let context = if context.is_valid() { context } else { untraced(headers) };
        Self { span, context }
    }

    /// A request that gets no span, only ids.
    pub(crate) fn quiet(headers: &HeaderMap) -> Self {
        Self { span: Span::none(), context: untraced(headers) }
    }

    /// Says which method the request calls.
    pub(crate) fn calls(&self, service: &str, method: &str) {
        self.span.record("rpc.system", "grpc");
        self.span.record("rpc.service", service);
        self.span.record("rpc.method", method);
    }

    /// The trace id, 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> HeaderValue {
        let mut text = [0; TRACE_ID_LEN];
        hex(&self.context.trace_id().to_bytes(), &mut text);
        HeaderValue::from_bytes(&text).expect("hexadecimal digits are a header value")
    }

    /// Makes the gateway's span the parent of whatever these headers reach. `tracestate` goes through as it came.
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        let mut text = *b"00-________________________________-________________-__";
        hex(&self.context.trace_id().to_bytes(), &mut text[TRACE_ID_AT..TRACE_ID_AT + TRACE_ID_LEN]);
        hex(&self.context.span_id().to_bytes(), &mut text[TRACE_ID_AT + TRACE_ID_LEN + 1..TRACEPARENT_LEN - 3]);
        hex(&[self.context.trace_flags().to_u8()], &mut text[TRACEPARENT_LEN - 2..]);
        let value = HeaderValue::from_bytes(&text).expect("hexadecimal digits and dashes are a header value");
        headers.insert(TRACEPARENT, value);
    }
}

/// The context of a request that no tracer follows: the caller's, so that the trace stays whole, or a new one.
fn untraced(headers: &HeaderMap) -> SpanContext {
    let caller = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).and_then(parse);
    caller.unwrap_or_else(|| {
        let (trace, span) = (rand::random::<u128>().max(1), rand::random::<u64>().max(1));
        let (trace, span) = (TraceId::from(trace), SpanId::from(span));
        SpanContext::new(trace, span, TraceFlags::NOT_SAMPLED, false, TraceState::NONE)
    })
}

/// Reads version 00 of `traceparent`. Source: <https://www.w3.org/TR/trace-context/#traceparent-header>.
fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if (version, trace.len(), span.len(), flags.len()) != ("00", TRACE_ID_LEN, 16, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::NONE)).filter(SpanContext::is_valid)
}

fn hex(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (byte, digits) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(traceparent: &str) -> HeaderMap {
        HeaderMap::from_iter([(TRACEPARENT, traceparent.parse().unwrap())])
    }

    #[test]
    fn without_a_tracer_the_callers_trace_goes_on() {
        let identity = Identity::begin(&Method::GET, "/", &headers(EXAMPLE));
        assert_eq!(identity.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let mut onward = HeaderMap::new();
        identity.inject(&mut onward);
        assert_eq!(onward[TRACEPARENT], EXAMPLE);
    }

    #[test]
    fn a_broken_traceparent_starts_a_new_trace() {
        for text in ["", "00", "00-zz-00-01", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            let identity = Identity::begin(&Method::GET, "/", &headers(text));
            let mut onward = HeaderMap::new();
            identity.inject(&mut onward);
            assert!(parse(onward[TRACEPARENT].to_str().unwrap()).is_some(), "{text}");
            assert_eq!(identity.trace_id().len(), TRACE_ID_LEN);
        }
    }
}
