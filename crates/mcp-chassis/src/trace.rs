//! W3C trace context on HTTP headers, and which traces are recorded.

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue, global,
    propagation::Extractor,
    trace::{Link, SpanKind, TraceContextExt as _, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};
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

/// In a context: whether to record was decided already, and the answer was yes.
#[derive(Debug)]
struct Chosen;

/// A context whose next span begins a trace that is recorded, whatever `telemetry.sample_ratio` says. For those who draw
/// the lot themselves, so that the many requests that are not recorded cost no span.
pub fn chosen() -> Context {
    Context::new().with_value(Chosen)
}

/// The sampler of traces that begin here: asks `others` unless it was decided already.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    /// Decides when nobody has.
    pub(crate) others: Sampler,
}

impl ShouldSample for Root {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace_id: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        if parent.is_some_and(|context| context.get::<Chosen>().is_some()) {
            return SamplingResult {
                decision: SamplingDecision::RecordAndSample,
                attributes: Vec::new(),
                trace_state: TraceState::NONE,
            };
        }
        self.others.should_sample(parent, trace_id, name, kind, attributes, links)
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
    use opentelemetry_sdk::trace::SdkTracerProvider;

    use super::*;

    #[test]
    fn a_chosen_trace_is_recorded_and_others_by_their_ratio() {
        let root = Root { others: Sampler::TraceIdRatioBased(0.0) };
        let provider = SdkTracerProvider::builder().with_sampler(Sampler::ParentBased(Box::new(root))).build();
        let tracer = provider.tracer("test");
        let is_sampled = |context: &Context| tracer.start_with_context("x", context).span_context().is_sampled();
        assert!(is_sampled(&chosen()));
        assert!(!is_sampled(&Context::new()));
    }
}
