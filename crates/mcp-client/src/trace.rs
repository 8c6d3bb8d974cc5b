//! The W3C trace context at the edges of a process: out of the current span, into a call, and back.
//!
//! It works on `traceparent` texts itself instead of going through the global propagator, so that it also works where
//! nothing installed one, and costs nothing where no tracer is: then there is no context to pass on.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tonic::metadata::MetadataMap;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Header and metadata key of the trace context.
pub const TRACEPARENT: &str = "traceparent";

/// Header and metadata key of the vendors' part of the trace context.
pub const TRACESTATE: &str = "tracestate";

/// Adds the context of the current span to a call's metadata; nothing when the span has none.
pub fn inject(metadata: &mut MetadataMap) {
    let context = Span::current().context();
    let span = context.span();
    let span = span.span_context();
    if !span.is_valid() {
        return;
    }
    if let Ok(value) = format_traceparent(span).parse() {
        metadata.insert(TRACEPARENT, value);
    }
    let state = span.trace_state().header();
    if !state.is_empty()
        && let Ok(value) = state.parse()
    {
        metadata.insert(TRACESTATE, value);
    }
}

/// The `traceparent` of a span, or `None` when no tracer follows it.
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let span = span.span_context();
    span.is_valid().then(|| format_traceparent(span))
}

/// Makes `span` a child of the remote span that `traceparent` names. A text that is not a `traceparent` changes
/// nothing: a broken trace is no reason to refuse work.
pub fn set_parent(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = parse_traceparent(traceparent) {
        // Fails only where no tracer follows the span; then there is nothing to set.
        drop(span.set_parent(Context::new().with_remote_span_context(parent)));
    }
}

/// The trace id in a `traceparent`, 32 hexadecimal digits, or `None` when the text is not one.
pub fn trace_id_of(traceparent: &str) -> Option<String> {
    parse_traceparent(traceparent).map(|parent| parent.trace_id().to_string())
}

fn format_traceparent(span: &SpanContext) -> String {
    format!("00-{}-{}-{:02x}", span.trace_id(), span.span_id(), span.trace_flags().to_u8())
}

/// Source: <https://www.w3.org/TR/trace-context/#traceparent-header>; later versions may add parts behind ours.
fn parse_traceparent(text: &str) -> Option<SpanContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lengths_fit = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
    let lower_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !lengths_fit || version == "ff" || ![version, trace, span, flags].into_iter().all(lower_hex) {
        return None;
    }
    if version == "00" && parts.next().is_some() {
        return None;
    }
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use super::{format_traceparent, parse_traceparent, trace_id_of, traceparent_of};

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_survives_parsing_and_formatting() {
        let parsed = parse_traceparent(EXAMPLE).unwrap();
        assert!(parsed.is_remote() && parsed.is_sampled());
        assert_eq!(format_traceparent(&parsed), EXAMPLE);
        assert_eq!(trace_id_of(EXAMPLE).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    }

    #[test]
    fn what_is_not_a_traceparent_is_refused() {
        for text in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert!(parse_traceparent(text).is_none(), "{text}");
        }
        assert!(parse_traceparent(&EXAMPLE.replacen("00", "01", 1).replace("-01", "-01-more")).is_some());
    }

    #[test]
    fn without_a_tracer_there_is_no_context() {
        assert_eq!(traceparent_of(&tracing::info_span!("alone")), None);
    }
}
