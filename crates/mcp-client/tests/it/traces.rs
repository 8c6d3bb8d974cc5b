//! The trace context across the worker and the client.

use std::sync::LazyLock;

use mcp_client::{
    testing::{FakeScheduler, assignment, handler},
    trace::{set_parent, trace_id_of, traceparent_of},
    worker::{AttemptContext, HandlerError},
};
use mcp_proto::worker::v1::Assignment;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::{Value, json};
use tracing::{Dispatch, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::support::{builder, run};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// While there is just one subscriber, a place in the code that another test's thread reaches first is switched off for all
/// threads. So there are always two.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(tracing_subscriber::registry()));

/// A tracer for this thread, on which the runtime of a test runs its tasks.
fn tracer() -> (InMemorySpanExporter, SdkTracerProvider, DefaultGuard) {
    LazyLock::force(&SECOND);
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    (exporter, provider, guard)
}

fn attribute(span: &SpanData, key: &str) -> String {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == key);
    found.map_or_else(String::new, |attribute| attribute.value.to_string())
}

#[tokio::test]
async fn an_attempt_is_part_of_the_trace_of_its_submit() {
    let (exporter, _provider, _guard) = tracer();
    let scheduler = FakeScheduler::start().await;
    let worker = builder(&scheduler).handler("trace", |context: AttemptContext, _: Value| async move {
        let own = traceparent_of(&tracing::Span::current()).ok_or_else(|| HandlerError::new("no context"))?;
        Ok(json!([context.traceparent(), trace_id_of(&own)]))
    });
    let _worker = run(worker);
    let mut session = scheduler.welcomed().await;
    let spec = handler("trace", Value::Null);
    let assignment = Assignment { traceparent: PARENT.to_owned(), ..assignment(1, spec) };
    session.assign(vec![assignment]).await;
    let result = session.result().await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let seen = format!("{:?}", result.outcome);
    assert!(seen.contains(PARENT) && seen.matches(trace_id).count() == 2, "{seen}");

    let spans = exporter.get_finished_spans().unwrap();
    let span = spans.iter().find(|span| span.name == "task.attempt").expect("the attempt has a span");
    assert_eq!(span.span_context.trace_id().to_string(), trace_id);
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(format!("{:?}", span.span_kind), "Consumer");
    assert_eq!(attribute(span, "mcp.task.attempt"), "1");
    assert_eq!(attribute(span, "mcp.queue"), "default");
    assert_eq!(attribute(span, "mcp.worker.id"), session.hello.worker_id);
    assert_eq!(attribute(span, "mcp.task.id"), result.attempt.unwrap().task_id);
}

#[test]
fn the_context_of_a_span_goes_into_a_call() {
    let (_exporter, _provider, _guard) = tracer();
    let span = tracing::info_span!("outer");
    set_parent(&span, PARENT);
    let traceparent = traceparent_of(&span).unwrap();
    assert_eq!(trace_id_of(&traceparent), trace_id_of(PARENT));
    assert_ne!(traceparent, PARENT, "the span's own id, not its parent's");
    let mut metadata = tonic::metadata::MetadataMap::new();
    span.in_scope(|| mcp_client::trace::inject(&mut metadata));
    assert_eq!(metadata.get("traceparent").unwrap().to_str().unwrap(), traceparent);
}
