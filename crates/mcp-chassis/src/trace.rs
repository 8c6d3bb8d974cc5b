//! W3C trace context on HTTP headers.

use http::HeaderMap;
use opentelemetry::{global, propagation::Extractor, trace::TraceContextExt as _};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Headers as the propagator reads them.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

/// Makes the caller's span, as named by `traceparent` and `tracestate`, the parent of `span`.
///
/// Does nothing when the headers name none, or a malformed one: the call then begins a trace. Must come before the
/// span is entered for the first time.
pub fn set_parent(span: &Span, headers: &HeaderMap) {
    if !headers.contains_key("traceparent") {
        return;
    }
    let context = global::get_text_map_propagator(|propagator| propagator.extract(&Headers(headers)));
    if !context.span().span_context().is_valid() {
        return;
    }
    if let Err(error) = span.set_parent(context) {
        tracing::trace!(%error, "the span takes no parent");
    }
}
