//! Logs, traces and metrics of a process, set up once.
//!
//! Log lines go to standard error and carry the ids of the trace and span they belong to. Spans always get ids, so
//! that logs can be joined across processes; they are sent, and so are the lines and the metrics, only when
//! `telemetry.otlp_endpoint` is set.

mod format;
mod otlp;

use std::{
    io::IsTerminal as _,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry::{KeyValue, global, trace::TracerProvider as _};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    metrics::SdkMeterProvider,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    util::{SubscriberInitExt as _, TryInitError},
};

use crate::{
    metrics,
    settings::{LogFormat, TelemetrySettings},
    trace::Root,
};

/// Libraries whose spans and events stay out of what is sent: the exporter uses them, and would tell of itself for ever.
const UNTRACED: [&str; 5] = ["h2", "hyper", "tonic", "tower", "opentelemetry"];
/// Libraries whose own news are no news of ours; `log_filter` can name them and have them back.
const QUIET: &str = "fjall=warn,lsm_tree=warn,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn";

/// Guards against a second [`init`].
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Who the process is, in every log line, span and metric.
#[derive(Debug, Clone)]
pub struct Identity {
    /// `service.name`; `telemetry.service_name` replaces it.
    pub service: String,
    /// `service.version`.
    pub version: String,
    /// `service.instance.id`.
    pub instance_id: String,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// [`init`] has been called before in this process. What it set up goes on working; nothing was changed.
    #[error("telemetry has been set up already in this process")]
    AlreadyInitialised,
    /// Someone else has installed a log subscriber. Nothing was changed.
    #[error("another log subscriber is installed in this process")]
    SubscriberTaken(#[source] TryInitError),
    /// The log filter cannot be parsed.
    #[error("log filter `{filter}` is wrong")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The OTLP exporter cannot be built: the endpoint is not a URL that it can use.
    #[error("OTLP endpoint `{endpoint}` cannot be used")]
    Exporter {
        /// The endpoint.
        endpoint: String,
        /// What is wrong with it.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// The telemetry of this process. Dropping it loses what has not been sent; call [`shutdown`](Self::shutdown).
#[derive(Debug)]
#[must_use = "what is buffered is sent by `shutdown`"]
pub struct Telemetry {
    tracer: SdkTracerProvider,
    logger: Option<SdkLoggerProvider>,
    meter: Option<SdkMeterProvider>,
}

/// Sets up logs, traces and metrics for the whole process.
///
/// With an OTLP endpoint it must be called inside a tokio runtime of at least two worker threads, which has to live
/// until [`Telemetry::shutdown`] has returned.
///
/// # Errors
/// [`Error::AlreadyInitialised`] the second time; the caller may go on, what the first call set up serves it too.
pub fn init(identity: &Identity, settings: &TelemetrySettings) -> Result<Telemetry, Error> {
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(Error::AlreadyInitialised);
    }
    let result = try_init(identity, settings);
    if result.is_err() {
        TAKEN.store(false, Ordering::SeqCst);
    }
    result
}

fn try_init(identity: &Identity, settings: &TelemetrySettings) -> Result<Telemetry, Error> {
    let identity = Identity {
        service: settings.service_name.clone().unwrap_or_else(|| identity.service.clone()),
        ..identity.clone()
    };
    let resource = resource(&identity);
    let tracer = tracer_provider(settings, resource.clone())?;
    let metric_exporter = settings.otlp_endpoint.as_deref().map(otlp::metrics).transpose()?;
    let logger = logger_provider(settings, resource.clone())?;
    subscriber(&identity.service, settings, &tracer, logger.as_ref(), std::io::stderr)?
        .try_init()
        .map_err(Error::SubscriberTaken)?;
    global::set_text_map_propagator(TraceContextPropagator::new());
    global::set_tracer_provider(tracer.clone());
    let meter = metrics::install(resource, metric_exporter);
    if meter.is_none() {
        tracing::warn!("metrics were used before telemetry was set up: they go to /metrics only, not to OTLP");
    }
    metrics::record_build_info(&identity.service, &identity.version);
    Ok(Telemetry { tracer, logger, meter })
}

impl Telemetry {
    /// Sends what is buffered and stops the exporters, within about `limit`. False when something was left behind.
    ///
    /// # Cancellation
    /// Dropping the future lets the exporters finish on their own threads.
    pub async fn shutdown(self, limit: Duration) -> bool {
        // The exporters wait for tasks of this runtime, so they must not block one of its workers.
        let flush = tokio::task::spawn_blocking(move || {
            let traces = self.tracer.shutdown_with_timeout(limit).is_ok();
            let metrics = self.meter.is_none_or(|meter| meter.shutdown_with_timeout(limit).is_ok());
            let lines = self.logger.is_none_or(|logger| logger.shutdown_with_timeout(limit).is_ok());
            traces && metrics && lines
        });
        matches!(tokio::time::timeout(limit, flush).await, Ok(Ok(true)))
    }
}

fn resource(identity: &Identity) -> Resource {
    Resource::builder()
        .with_service_name(identity.service.clone())
        .with_attributes([
            KeyValue::new("service.version", identity.version.clone()),
            KeyValue::new("service.instance.id", identity.instance_id.clone()),
        ])
        .build()
}

fn tracer_provider(settings: &TelemetrySettings, resource: Resource) -> Result<SdkTracerProvider, Error> {
    let root = if settings.sample_ratio >= 1.0 {
        Sampler::AlwaysOn
    } else {
        Sampler::TraceIdRatioBased(settings.sample_ratio)
    };
    let root = Root { others: root };
    let mut builder =
        SdkTracerProvider::builder().with_resource(resource).with_sampler(Sampler::ParentBased(Box::new(root)));
    if let Some(endpoint) = settings.otlp_endpoint.as_deref() {
        builder = builder.with_span_processor(otlp::spans(endpoint)?);
    }
    Ok(builder.build())
}

/// Sends log lines; `None` without an endpoint.
fn logger_provider(settings: &TelemetrySettings, resource: Resource) -> Result<Option<SdkLoggerProvider>, Error> {
    let Some(endpoint) = settings.otlp_endpoint.as_deref() else { return Ok(None) };
    let lines = otlp::log_lines(endpoint)?;
    Ok(Some(SdkLoggerProvider::builder().with_resource(resource).with_log_processor(lines).build()))
}

/// The log layer, the trace layer and the layer that sends log lines, each with its own filter.
fn subscriber<W>(
    service: &str,
    settings: &TelemetrySettings,
    tracer: &SdkTracerProvider,
    logger: Option<&SdkLoggerProvider>,
    writer: W,
) -> Result<impl Subscriber + Send + Sync + use<W>, Error>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(is_terminal);
    let lines = match settings.log_format {
        LogFormat::Json => lines.event_format(format::Json::new(service)).boxed(),
        LogFormat::Pretty => lines.event_format(format::Pretty).boxed(),
    };
    let sent = logger.map(OpenTelemetryTracingBridge::new).map(|lines| -> Result<_, Error> {
        Ok(lines.with_filter(log_filter(settings)?.and(filter_fn(|metadata| !is_transport(metadata)))))
    });
    // Without an exporter nobody sees the events of a span, so they are not even collected.
    let with_events = settings.otlp_endpoint.is_some();
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer.tracer("mcp"))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(
            filter_fn(move |metadata| is_traced(metadata, with_events)).with_max_level_hint(LevelFilter::INFO),
        );
    // The spans come first: entering one is what gives a line its ids.
    Ok(Registry::default().with(lines.with_filter(log_filter(settings)?)).with(spans).with(sent.transpose()?))
}

/// Which lines are written and sent.
fn log_filter(settings: &TelemetrySettings) -> Result<EnvFilter, Error> {
    EnvFilter::try_new(format!("{QUIET},{}", settings.log_filter))
        .map_err(|source| Error::Filter { filter: settings.log_filter.clone(), source })
}

fn is_traced(metadata: &Metadata<'_>, with_events: bool) -> bool {
    (with_events || metadata.is_span()) && *metadata.level() <= LevelFilter::INFO && !is_transport(metadata)
}

/// True for what the exporter's own libraries tell.
fn is_transport(metadata: &Metadata<'_>) -> bool {
    UNTRACED.iter().any(|library| {
        metadata.target().strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_', '-']))
    })
}

#[cfg(test)]
mod tests;
