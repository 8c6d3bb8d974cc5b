use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use serde_json::Value;
use tracing::Instrument as _;

use super::*;

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Keeps the spans that ended.
#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Spans {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// What `work` logs and which spans it makes, with `settings`.
fn observe(settings: &TelemetrySettings, work: impl FnOnce()) -> (String, Vec<SpanData>) {
    let spans = Spans::default();
    let tracer = SdkTracerProvider::builder().with_span_processor(spans.clone()).build();
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = subscriber("demo", settings, &tracer, None, move || writer.clone()).unwrap();
    tracing::subscriber::with_default(subscriber, work);
    let spans = std::mem::take(&mut *spans.0.lock().unwrap());
    (lines.take(), spans)
}

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] std::io::Error);

#[test]
fn a_json_line_has_its_parts_and_the_ids_of_its_span() {
    let (lines, spans) = observe(&TelemetrySettings::default(), || {
        let error = Outer(std::io::Error::other("inner"));
        tracing::info_span!("work").in_scope(|| {
            tracing::warn!(
                count = 3,
                ok = true,
                name = "x \"y\"",
                error = &error as &dyn std::error::Error,
                "it {}",
                "happened"
            );
        });
    });
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["service"], "demo");
    assert_eq!(line["message"], "it happened");
    assert_eq!(line["span"], "work");
    assert_eq!(line["target"], module_path!());
    let fields = serde_json::json!({"count": 3, "ok": true, "name": "x \"y\"", "error": "outer: inner"});
    assert_eq!(line["fields"], fields);
    assert_eq!(line["trace_id"], spans[0].span_context.trace_id().to_string());
    assert_eq!(line["span_id"], spans[0].span_context.span_id().to_string());
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(timestamp.ends_with('Z') && timestamp.contains('T'), "{timestamp}");
}

#[test]
fn a_line_outside_of_spans_has_no_ids() {
    let (lines, _) = observe(&TelemetrySettings::default(), || tracing::info!("alone"));
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!((line.get("trace_id"), line.get("span")), (None, None));
}

#[test]
fn a_pretty_line_has_the_trace_id_too() {
    let settings = TelemetrySettings { log_format: LogFormat::Pretty, ..TelemetrySettings::default() };
    let (lines, spans) = observe(&settings, || {
        tracing::info_span!("work").in_scope(|| tracing::info!(count = 3, "happened"));
    });
    assert!(lines.contains("happened") && lines.contains("count"), "{lines}");
    assert!(lines.contains(&format!("trace_id={}", spans[0].span_context.trace_id())), "{lines}");
}

#[test]
fn the_log_filter_leaves_spans_alone() {
    let settings = TelemetrySettings { log_filter: "error".to_owned(), ..TelemetrySettings::default() };
    let (lines, spans) = observe(&settings, || {
        tracing::info_span!("work").in_scope(|| tracing::info!("not written"));
    });
    assert_eq!((lines.as_str(), spans.len()), ("", 1));
}

#[test]
fn spans_of_transport_libraries_are_not_traced() {
    let (_, spans) = observe(&TelemetrySettings::default(), || {
        drop(tracing::info_span!(target: "h2::client", "connection").entered());
        drop(tracing::info_span!(target: "opentelemetry_sdk", "export").entered());
        drop(tracing::debug_span!("detail").entered());
        drop(tracing::info_span!(target: "h2o", "ours").entered());
    });
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert_eq!(names, ["ours"]);
}

#[test]
fn events_are_collected_only_for_an_exporter() {
    let work = || tracing::info_span!("work").in_scope(|| tracing::info!("happened"));
    let sent =
        TelemetrySettings { otlp_endpoint: Some("http://127.0.0.1:1".to_owned()), ..TelemetrySettings::default() };
    let events = |settings| observe(settings, work).1[0].events.len();
    assert_eq!((events(&TelemetrySettings::default()), events(&sent)), (0, 1));
}

#[test]
fn a_second_init_says_so() {
    let settings = TelemetrySettings { log_filter: "off".to_owned(), ..TelemetrySettings::default() };
    let identity = Identity { service: "demo".into(), version: "1".into(), instance_id: "demo-1".into() };
    let first = init(&identity, &settings);
    let second = init(&identity, &settings);
    assert!(first.is_ok() && matches!(second, Err(Error::AlreadyInitialised)), "{first:?}, {second:?}");
}

#[tokio::test]
async fn without_an_exporter_a_shutdown_has_nothing_to_send() {
    let tracer = tracer_provider(&TelemetrySettings::default(), Resource::builder().build()).unwrap();
    assert!(
        Telemetry { tracer, logger: None, meter: None }
            .shutdown(Duration::from_secs(5))
            .instrument(tracing::Span::none())
            .await
    );
}

#[test]
fn a_sample_ratio_of_zero_records_nothing_but_ids_exist() {
    use opentelemetry::trace::{Span as _, Tracer as _};
    let settings = TelemetrySettings { sample_ratio: 0.0, ..TelemetrySettings::default() };
    let provider = tracer_provider(&settings, Resource::builder().build()).unwrap();
    let span = provider.tracer("test").start("work");
    assert!(span.span_context().is_valid() && !span.span_context().is_sampled());
}
