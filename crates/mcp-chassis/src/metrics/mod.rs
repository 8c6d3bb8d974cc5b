//! Metrics of the process: one OpenTelemetry meter provider that feeds `/metrics` and, when configured, OTLP.
//!
//! There is one provider in a process however many servers run in it, because a scrape asks a process. Names are
//! `mcp_<service>_<noun>_<unit>[_total]`; labels have a closed set of values.

mod exposition;

use std::sync::OnceLock;

use opentelemetry::{
    KeyValue, global,
    metrics::{Meter, MeterProvider as _},
};
use opentelemetry_otlp::MetricExporter;
use opentelemetry_sdk::{
    Resource,
    metrics::{PeriodicReader, SdkMeterProvider},
};
use prometheus::Registry;

pub use exposition::{Bucket, Exemplar, Exposition, Format, Kind, Labels};

static METRICS: OnceLock<Metrics> = OnceLock::new();

#[derive(Debug)]
struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
}

/// The meter of a part of the program. It works whether or not telemetry has been set up.
pub fn meter(scope: &'static str) -> Meter {
    installed().provider.meter(scope)
}

/// All metrics of the process in Prometheus' text format.
pub fn text() -> String {
    expose(Format::Text, &[], |_| {})
}

/// All metrics of the process, without those named in `except`, and what `more` adds to them.
pub fn expose(format: Format, except: &[&str], more: impl FnOnce(&mut Exposition)) -> String {
    let mut families = installed().registry.gather();
    families.retain(|family| !except.contains(&family.name()));
    let mut page = Exposition::new(format);
    page.gathered(&families);
    more(&mut page);
    page.finish()
}

/// Sets the provider up with what it should say about the process. `None` when there is one already.
pub(crate) fn install(resource: Resource, exporter: Option<MetricExporter>) -> Option<SdkMeterProvider> {
    let mut first = None;
    let metrics = METRICS.get_or_init(|| {
        let metrics = Metrics::new(resource, exporter);
        first = Some(metrics.provider.clone());
        metrics
    });
    global::set_meter_provider(metrics.provider.clone());
    first
}

/// Says which program runs: a gauge that is always 1.
pub(crate) fn record_build_info(service: &str, version: &str) {
    let labels = [KeyValue::new("service", service.to_owned()), KeyValue::new("version", version.to_owned())];
    meter("mcp-chassis")
        .u64_gauge("mcp_build_info")
        .with_description("Always 1; the labels tell")
        .build()
        .record(1, &labels);
}

fn installed() -> &'static Metrics {
    METRICS.get_or_init(|| {
        let metrics = Metrics::new(Resource::builder().build(), None);
        global::set_meter_provider(metrics.provider.clone());
        metrics
    })
}

impl Metrics {
    fn new(resource: Resource, exporter: Option<MetricExporter>) -> Self {
        let registry = Registry::new();
        let scrape = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .expect("a new registry takes its first collector");
        let mut builder = SdkMeterProvider::builder().with_resource(resource).with_reader(scrape);
        if let Some(exporter) = exporter {
            builder = builder.with_reader(PeriodicReader::builder(exporter).build());
        }
        Self { provider: builder.build(), registry }
    }
}

/// Name of a status code as gRPC's documentation writes it: the value of a status label.
pub fn code_name(code: tonic::Code) -> &'static str {
    use tonic::Code;
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
