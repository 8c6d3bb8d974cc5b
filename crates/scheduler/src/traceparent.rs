//! The trace of a submit.

use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use tonic::metadata::MetadataMap;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Length of a `traceparent` of version 00.
const LEN: usize = 55;

/// The `traceparent` under which a task's attempts belong: that of the current span, or the caller's own when spans
/// are not recorded; empty when there is neither.
pub(crate) fn current(metadata: &MetadataMap) -> String {
    let context = tracing::Span::current().context();
    let span = context.span();
    if span.span_context().is_valid() {
        return of(span.span_context());
    }
    let given = metadata.get("traceparent").and_then(|value| value.to_str().ok());
    given.filter(|text| trace_id(text.as_bytes()).is_some()).unwrap_or_default().to_owned()
}

fn of(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// The trace id in a `traceparent`.
pub(crate) fn trace_id(traceparent: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(traceparent).ok().filter(|text| text.len() == LEN && text.is_ascii())?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let is_right = version == "00"
        && hex(trace, 32)
        && hex(span, 16)
        && hex(flags, 2)
        && trace.bytes().any(|byte| byte != b'0')
        && span.bytes().any(|byte| byte != b'0');
    is_right.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    #[test]
    fn only_a_right_traceparent_names_a_trace() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(format!("00-{trace}-00f067aa0ba902b7-01").as_bytes()), Some(trace));
        for wrong in [
            String::new(),
            format!("01-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-0"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
        ] {
            assert_eq!(trace_id(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
